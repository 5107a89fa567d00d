/* SPDX-License-Identifier: Apache-2.0 */
/* From frames to packet records: whose packets, which of them matter, and the counters. */
#ifndef IMDS_PACKET_TAP_H
#define IMDS_PACKET_TAP_H

#include "capture.h"
#include "link_layer.h"
#include "tcp_packet.h"

struct imds_duplicates;

/* Used by one thread at a time, but for imds_tap_stats(). */
struct imds_tap {
	struct imds_endpoint *endpoints; /* sorted */
	uint32_t count;
	struct imds_packet *record; /* room for the largest */
	struct imds_tcp_packet packet; /* what the last record was made from, as long as its frame is there */
	struct imds_duplicates *duplicates;
	uint64_t copies_until_ns; /* packets that were captured until then may come twice, whatever the link */
	uint64_t captured, dropped, passed_over, truncated;
};

/* 0, or the negative code of `error` with nothing left to free. */
int imds_tap_init(struct imds_tap *tap, const struct imds_endpoint *endpoints, uint32_t count, struct imds_error *error);
void imds_tap_free(struct imds_tap *tap);

/* A copy of endpoints as imds_tap_watch() takes it; NULL with `error` filled. */
struct imds_endpoint *imds_tap_endpoints(const struct imds_endpoint *endpoints, uint32_t count, struct imds_error *error);
/* From now on these; takes what imds_tap_endpoints() gave. */
void imds_tap_watch(struct imds_tap *tap, struct imds_endpoint *endpoints, uint32_t count);

/*
 * The record of a frame, valid until the next call; NULL for what is no packet of an endpoint or was passed over. The
 * caller says what became of it by imds_tap_captured() or imds_tap_dropped().
 */
const struct imds_packet *imds_tap_frame(struct imds_tap *tap, const struct imds_frame *frame);

void imds_tap_captured(struct imds_tap *tap, const struct imds_packet *record);
void imds_tap_dropped(struct imds_tap *tap);
/* The same for many. */
void imds_tap_count(struct imds_tap *tap, uint32_t captured, uint32_t truncated, uint32_t dropped);

/* At any time, from any thread; `kernel_dropped` is counted as lost, too. */
void imds_tap_stats(const struct imds_tap *tap, uint64_t kernel_dropped, struct imds_stats *stats);

#endif
