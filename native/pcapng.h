/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads pcapng: https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/
 *
 * Not through libpcap, which (1.10) refuses a file whose interfaces differ in link type or snap length, and one whose
 * sections differ in byte order; mergecap and Wireshark write the first, whoever concatenates files the second.
 */
#ifndef IMDS_PCAPNG_H
#define IMDS_PCAPNG_H

#include "file_input.h"
#include "link_layer.h"

#define IMDS_PCAPNG_MAGIC UINT32_C(0x0a0d0d0a)

struct imds_pcapng;

/* Reads the header of the first section; the input stays the caller's. NULL with `error` (of `size` bytes) filled. */
struct imds_pcapng *imds_pcapng_open(struct imds_input *input, char *error, size_t size);
void imds_pcapng_free(struct imds_pcapng *reader);

/*
 * The next packet, whose bytes are valid until the next call: 1; 0 at the end of the file; -1 with `error` filled where the
 * file is damaged or cut.
 */
int imds_pcapng_next(struct imds_pcapng *reader, struct imds_frame *frame, char *error, size_t size);

#endif
