// SPDX-License-Identifier: Apache-2.0
/* Frames of any bytes on any link type: records that are whole, counters that add up, no byte read that is not there. */
#include "check.h"
#include "packet_tap.h"

/* An input: frames, each of a head as this and as many bytes as it says (or as there are). */
struct head {
	uint8_t link_type;
	uint8_t more_on_wire; /* bytes that the capture has cut off */
	uint16_t length;
};

/* Every link type that is read, and two that are not: Bluetooth and 802.11. */
static const int LINK_TYPES[] = { 1, 113, 276, 101, 12, 228, 229, 0, 108, 9, 50, 105, 187 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct imds_tap tap;
	struct imds_error error;
	struct imds_stats stats;
	uint64_t captured = 0, dropped = 0, time_ns = 1000000000;

	MUST(imds_tap_init(&tap, ENDPOINTS, ENDPOINT_COUNT, &error) == 0);
	while (size >= sizeof(struct head)) {
		struct head head;
		const struct imds_packet *record;
		struct imds_frame frame = { .time_ns = time_ns += 1000 };
		uint8_t *bytes;

		memcpy(&head, data, sizeof(head));
		data += sizeof(head);
		size -= sizeof(head);
		if (head.length > size)
			head.length = (uint16_t)size;
		/* Memory of just this size, so that a byte read too much is seen. */
		bytes = malloc(head.length ? head.length : 1);
		MUST(bytes != NULL);
		memcpy(bytes, data, head.length);
		frame.link_type = LINK_TYPES[head.link_type % (sizeof(LINK_TYPES) / sizeof(*LINK_TYPES))];
		frame.bytes.at = bytes;
		frame.bytes.captured = head.length;
		frame.bytes.wire = (uint32_t)head.length + head.more_on_wire;
		record = imds_tap_frame(&tap, &frame);
		if (record) {
			check_packet(record, IMDS_RECORD_MAX);
			MUST(record->data.length <= head.length);
			if (head.more_on_wire == 7) {
				imds_tap_dropped(&tap);
				dropped++;
			} else {
				imds_tap_captured(&tap, record);
				captured++;
			}
		}
		free(bytes);
		data += head.length;
		size -= head.length;
	}
	imds_tap_stats(&tap, 0, &stats);
	MUST(stats.packets_captured == captured && stats.ring_dropped == dropped);
	MUST(stats.packets_seen == captured + dropped + stats.packets_passed_over && stats.truncated <= captured);
	imds_tap_free(&tap);
	return 0;
}
