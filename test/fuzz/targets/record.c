// SPDX-License-Identifier: Apache-2.0
/*
 * Records of any content on their way from the ring to TypeScript (squeezed, queued, batched): what comes out is whole
 * and is what went in; what contradicts itself is refused.
 */
#include <errno.h>

#include "check.h"
#include "record_queue.h"
#include "squeeze.h"

/* Room for one record of the largest size, and some. */
static uint8_t out[2 * IMDS_RECORD_MAX], queued[2 * IMDS_RECORD_MAX];

static void check_batch(const struct imds_batch *batch)
{
	for (uint32_t at = 0; at < batch->used;) {
		uint32_t length = imds_record_length(batch->bytes + at, batch->used - at);

		MUST(length >= sizeof(struct imds_header) && length % 8 == 0);
		at += length;
	}
}

static void through_squeeze(const void *record, size_t size)
{
	static _Alignas(8) uint8_t squeezed[IMDS_SQUEEZED_MAX + 8];
	size_t length = imds_squeeze(record, size, squeezed);

	MUST(length % 8 == 0 && length <= IMDS_SQUEEZED_MAX);
	if (length > 0)
		MUST(imds_record_length(squeezed, length) == length);
}

static void through_queue(struct imds_queue *queue, const void *record, uint32_t length)
{
	struct imds_batch batch = { .bytes = queued, .capacity = sizeof(queued) };
	int result = imds_queue_put(queue, record, false);

	MUST(result == 0);
	result = imds_queue_move(queue, &batch);
	MUST(result == 0 || result == -ENOSPC || result == -EBADMSG);
	if (result == 0 && batch.used > 0)
		MUST(batch.used == length);
	check_batch(&batch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct imds_batch batch = { .bytes = out, .capacity = sizeof(out), .epoch_offset_ns = 77 };
	struct imds_queue *queue = imds_queue_new(1 << 20);

	MUST(queue != NULL);
	while (size >= 2) {
		uint16_t length;
		uint32_t whole;
		void *record;

		memcpy(&length, data, sizeof(length));
		data += sizeof(length);
		size -= sizeof(length);
		if (length > size)
			length = (uint16_t)size;
		record = malloc(length ? length : 1);
		MUST(record != NULL);
		memcpy(record, data, length);
		data += length;
		size -= length;

		whole = imds_record_length(record, length);
		MUST(whole <= length);
		if (whole >= sizeof(struct imds_header)) {
			struct imds_header header;

			memcpy(&header, record, sizeof(header));
			if (header.type == IMDS_RECORD_CONNECT)
				through_squeeze(record, length);
			through_queue(queue, record, whole);
		}
		if (imds_batch_append(&batch, record, length) == -ENOSPC) {
			check_batch(&batch);
			batch.used = 0;
		}
		free(record);
	}
	check_batch(&batch);
	imds_queue_free(queue);
	return 0;
}
