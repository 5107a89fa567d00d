/* SPDX-License-Identifier: Apache-2.0 */
/* What must be true of every packet record, whatever it was made from. */
#ifndef IMDS_FUZZ_CHECK_H
#define IMDS_FUZZ_CHECK_H

#include <stdlib.h>
#include <string.h>

#include "capture.h"

/* Not assert(): it must hold with NDEBUG, too. A failed one stops the fuzzer with the input. */
#define MUST(condition) \
	do { \
		if (!(condition)) \
			abort(); \
	} while (0)

static const struct imds_endpoint ENDPOINTS[] = {
	{ .address = { [10] = 0xff, [11] = 0xff, [12] = 100, [13] = 100, [14] = 100, [15] = 200 }, .port = 80 },
	{ .address = { 0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54 }, .port = 80 },
};
#define ENDPOINT_COUNT 2

static inline void check_packet(const struct imds_packet *record, size_t room)
{
	struct imds_packet packet;

	MUST(room >= sizeof(packet));
	memcpy(&packet, record, sizeof(packet));
	MUST(packet.header.type == IMDS_RECORD_PACKET);
	MUST(packet.header.length % 8 == 0 && packet.header.length <= room && packet.header.length <= IMDS_RECORD_MAX);
	MUST(packet.data.offset == sizeof(packet));
	MUST(packet.data.length <= packet.header.length - sizeof(packet));
	MUST(packet.data.length <= packet.wire_length);
}

/* Checks a batch of packet records; returns how many there are. */
static inline uint64_t check_packets(const uint8_t *bytes, size_t used)
{
	uint64_t count = 0;

	for (size_t at = 0; at < used; count++) {
		struct imds_header header;

		MUST(used - at >= sizeof(header));
		memcpy(&header, bytes + at, sizeof(header));
		check_packet((const struct imds_packet *)(bytes + at), used - at);
		at += header.length;
	}
	return count;
}

#endif
