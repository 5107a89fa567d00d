/* SPDX-License-Identifier: Apache-2.0 */
/* From a captured frame of any link type to the IP packet in it. */
#ifndef IMDS_LINK_LAYER_H
#define IMDS_LINK_LAYER_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes of which only the first `captured` of `wire` are there. */
struct imds_bytes {
	const uint8_t *at;
	uint32_t captured;
	uint32_t wire;
};

struct imds_frame {
	int link_type; /* as pcap_datalink() or a file says; the two differ for raw IP only */
	struct imds_bytes bytes;
	uint64_t time_ns; /* since the epoch */
};

/* How people call the link type; NULL for one that can't be read. */
const char *imds_link_name(int link_type);

/* Whether frames of one packet may come from several interfaces, as from the pseudo-device `any`. */
bool imds_link_is_cooked(int link_type);

/* The IP packet of a frame, link-layer padding included; false where it holds none. */
bool imds_link_strip(const struct imds_frame *frame, struct imds_bytes *ip);

#endif
