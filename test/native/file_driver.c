// SPDX-License-Identifier: Apache-2.0
/*
 * Reads the packet files whose names come on standard input, under the sanitizers, and checks what every file must
 * keep: records that are whole, counters that add up, an end. Prints how many were refused, damaged and whole.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture.h"

static uint8_t buffer[256 * 1024];

static uint64_t check_batch(int64_t used)
{
	uint64_t count = 0;

	for (int64_t at = 0; at < used; count++) {
		struct imds_packet packet;

		assert(used - at >= (int64_t)sizeof(packet));
		memcpy(&packet, buffer + at, sizeof(packet));
		assert(packet.header.type == IMDS_RECORD_PACKET);
		assert(packet.header.length % 8 == 0 && packet.header.length <= used - at);
		assert(packet.data.offset == sizeof(packet));
		assert(packet.data.length <= packet.header.length - sizeof(packet));
		assert(packet.data.length <= packet.wire_length);
		at += packet.header.length;
	}
	return count;
}

int main(void)
{
	static const uint8_t v4[16] = { [10] = 0xff, [11] = 0xff, [12] = 100, [13] = 100, [14] = 100, [15] = 200 };
	struct imds_endpoint endpoint = { .port = 80 };
	unsigned int refused = 0, damaged = 0, whole = 0;
	char path[1024];

	memcpy(endpoint.address, v4, sizeof(v4));
	while (fgets(path, sizeof(path), stdin)) {
		struct imds_progress progress;
		struct imds_stats stats;
		struct imds_error error;
		struct imds_source *source;
		uint64_t count = 0;
		int64_t used;

		path[strcspn(path, "\n")] = '\0';
		source = imds_open_pcap_file(path, -1, &endpoint, 1, 0, &error);
		if (!source) {
			assert(error.code && error.text[0]);
			refused++;
			continue;
		}
		while ((used = imds_next(source, buffer, sizeof(buffer), 20000)) > 0)
			count += check_batch(used);
		assert(used == -ENODATA);
		imds_stats(source, &stats);
		imds_progress(source, &progress);
		assert(stats.packets_captured == count && stats.ring_dropped == 0);
		assert(stats.packets_seen == stats.packets_captured + stats.packets_passed_over);
		assert(progress.packets >= stats.packets_seen && progress.bytes_read <= progress.bytes_total);
		if (progress.problem[0])
			damaged++;
		else
			whole++;
		imds_close(source);
	}
	printf("%u refused, %u damaged, %u whole\n", refused, damaged, whole);
	return 0;
}
