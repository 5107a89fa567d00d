/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Of most connections in a packet file every packet is as expected: SYN, SYN and ACK, a segment that is a request, one that is its
 * response, and the ends. This stage gives each of them on as one record, and all other packets as they are.
 *
 * It keeps a stretch of the file, and gives on its older half when that is full: all of a connection or nothing is told of as a
 * whole. What takes longer than half a stretch or 0.9 s, and what is in any way unusual (an order, a number, a flag, a second
 * request, a packet that was cut), stays as it is. What src/ makes of the records is what it makes of the packets, in the same
 * order: hence the times of packets at which it would do something, and what is left of connections of which late packets come.
 */
#ifndef IMDS_PLAIN_EXCHANGE_H
#define IMDS_PLAIN_EXCHANGE_H

#include <stdbool.h>

#include "record.h"
#include "tcp_packet.h"

struct imds_fold;

/* Where records go, one after the other in `records`, that stand for `packets` packets, of which `cut` are not whole. False: no further. */
typedef bool imds_fold_put(void *argument, const void *records, uint32_t length, uint32_t packets, uint32_t cut);

/* on: where false, everything is given on as it is. NULL without memory. Takes 2 MiB, and no more. */
struct imds_fold *imds_fold_new(bool on, imds_fold_put *put, void *argument);
void imds_fold_free(struct imds_fold *fold);

/* Takes a copy of a packet's record. False once `put` was. */
bool imds_fold_add(struct imds_fold *fold, const struct imds_packet *record, const struct imds_tcp_packet *packet);

/* Gives on all that it has. */
bool imds_fold_flush(struct imds_fold *fold);

#endif
