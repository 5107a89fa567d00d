/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a BPF ring buffer on a thread of its own, as fast as it fills, into a queue: so that a burst that TypeScript can't
 * keep up with is not lost to a full ring.
 */
#ifndef IMDS_RING_READER_H
#define IMDS_RING_READER_H

#include "source.h"

struct imds_ring_reader;

/* Keeps up to `queue_bytes` of records. NULL with errno. */
struct imds_ring_reader *imds_ring_reader_new(int ring_fd, size_t queue_bytes);
void imds_ring_reader_free(struct imds_ring_reader *reader);

/* As `next` of struct imds_source_kind; -ENODATA when it ended and all was read. */
int imds_ring_reader_next(struct imds_ring_reader *reader, struct imds_batch *batch, int wake_fd, int timeout_ms);

/* Nothing will be written into the ring any more. Again: nothing. */
void imds_ring_reader_end(struct imds_ring_reader *reader);

#endif
