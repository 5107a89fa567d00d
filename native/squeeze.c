// SPDX-License-Identifier: Apache-2.0
#include "squeeze.h"

#include <stdint.h>
#include <string.h>

size_t imds_squeeze(const struct imds_connect *record, size_t size, void *squeezed)
{
	struct imds_connect *head = squeezed; /* up to the ancestors: what follows is laid out anew */
	struct imds_span *spans[] = { &head->executable, &head->cgroup, &head->cgroup_v1, &head->argv };
	uint8_t *out = squeezed;
	size_t used, padding;

	if (size < sizeof(*record) || record->header.length > size || record->ancestor_count > IMDS_ANCESTORS)
		return 0;
	used = offsetof(struct imds_connect, ancestors) + record->ancestor_count * sizeof(record->ancestors[0]);
	memcpy(out, record, used);
	for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) {
		struct imds_span span = *spans[i];

		if ((size_t)span.offset + span.length > record->header.length || used + span.length > IMDS_SQUEEZED_MAX)
			return 0;
		memcpy(out + used, (const uint8_t *)record + span.offset, span.length);
		spans[i]->offset = (__u16)used;
		used += span.length;
	}
	padding = -used & 7; /* IMDS_SQUEEZED_MAX is a multiple of 8 */
	memset(out + used, 0, padding);
	used += padding;
	head->header.length = (__u32)used;
	return used;
}
