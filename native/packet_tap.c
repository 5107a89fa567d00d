// SPDX-License-Identifier: Apache-2.0
#include "packet_tap.h"

#include <stdlib.h>
#include <string.h>

#include "duplicates.h"
#include "source.h"
#include "tcp_packet.h"

/* One thread counts, others may read. */
#define ADD_SOME(counter, some) __atomic_store_n(&(counter), (counter) + (some), __ATOMIC_RELAXED)
#define ADD(counter) ADD_SOME(counter, 1)
#define READ(counter) __atomic_load_n(&(counter), __ATOMIC_RELAXED)

static int compare(const void *a, const void *b)
{
	const struct imds_endpoint *x = a, *y = b;
	int order = memcmp(x->address, y->address, sizeof(x->address));

	return order ? order : (x->port > y->port) - (x->port < y->port);
}

struct imds_endpoint *imds_tap_endpoints(const struct imds_endpoint *endpoints, uint32_t count, struct imds_error *error)
{
	struct imds_endpoint *copy;

	if (!endpoints || count == 0 || count >= IMDS_MAX_ENDPOINTS) {
		imds_fail(error, IMDS_ERROR_ARGUMENT, "%u endpoints: between 1 and %d can be watched", count,
			  IMDS_MAX_ENDPOINTS - 1);
		return NULL;
	}
	copy = malloc(count * sizeof(*copy));
	if (!copy) {
		imds_fail(error, IMDS_ERROR_SYSTEM, "out of memory");
		return NULL;
	}
	memcpy(copy, endpoints, count * sizeof(*copy));
	qsort(copy, count, sizeof(*copy), compare);
	return copy;
}

void imds_tap_watch(struct imds_tap *tap, struct imds_endpoint *endpoints, uint32_t count)
{
	free(tap->endpoints);
	tap->endpoints = endpoints;
	tap->count = count;
}

int imds_tap_init(struct imds_tap *tap, const struct imds_endpoint *endpoints, uint32_t count, struct imds_error *error)
{
	memset(tap, 0, sizeof(*tap));
	tap->endpoints = imds_tap_endpoints(endpoints, count, error);
	if (!tap->endpoints)
		return -error->code;
	tap->count = count;
	tap->record = calloc(1, IMDS_RECORD_MAX);
	tap->duplicates = imds_duplicates_new();
	if (!tap->record || !tap->duplicates) {
		imds_tap_free(tap);
		return imds_fail(error, IMDS_ERROR_SYSTEM, "out of memory");
	}
	return 0;
}

void imds_tap_free(struct imds_tap *tap)
{
	free(tap->endpoints);
	free(tap->record);
	imds_duplicates_free(tap->duplicates);
	memset(tap, 0, sizeof(*tap));
}

static bool is_endpoint(const struct imds_tap *tap, const struct imds_endpoint *end)
{
	/* Mostly there is one. */
	if (tap->count == 1)
		return end->port == tap->endpoints[0].port &&
		       memcmp(end->address, tap->endpoints[0].address, sizeof(end->address)) == 0;
	return bsearch(end, tap->endpoints, tap->count, sizeof(*end), compare) != NULL;
}

/*
 * What matters is payload, and what begins and ends connections. Of a header that was cut nobody can tell: the pipeline
 * counts such packets as refused, so that the loss is said. The same goes for the first of several fragments; the
 * others have no ports.
 */
static bool matters(const struct imds_tcp_packet *packet)
{
	return !packet->whole_header || packet->payload_length > 0 ||
	       (packet->flags & (IMDS_TCP_SYN | IMDS_TCP_FIN | IMDS_TCP_RST));
}

const struct imds_packet *imds_tap_frame(struct imds_tap *tap, const struct imds_frame *frame)
{
	struct imds_packet *record = tap->record;
	struct imds_tcp_packet *packet = &tap->packet;
	struct imds_bytes ip;
	uint32_t length, size;
	bool egress;

	if (!imds_link_strip(frame, &ip) || !imds_tcp_read(&ip, packet))
		return NULL;
	egress = is_endpoint(tap, &packet->destination);
	if (!egress && !is_endpoint(tap, &packet->source))
		return NULL;
	if ((imds_link_is_cooked(frame->link_type) || frame->time_ns <= tap->copies_until_ns) &&
	    imds_duplicates_seen(tap->duplicates, packet, egress, frame->time_ns))
		return NULL;
	if (!matters(packet)) {
		ADD(tap->passed_over);
		return NULL;
	}
	length = packet->ip.captured < IMDS_PACKET_MAX ? packet->ip.captured : IMDS_PACKET_MAX;
	size = (uint32_t)(sizeof(*record) + length + 7) & ~7u;
	record->header.length = size;
	record->header.type = IMDS_RECORD_PACKET;
	record->header.flags = egress ? IMDS_FLAG_EGRESS : 0;
	record->header.time_ns = frame->time_ns;
	memcpy(record->local_address, (egress ? &packet->source : &packet->destination)->address, 16);
	memcpy(record->remote_address, (egress ? &packet->destination : &packet->source)->address, 16);
	record->local_port = (egress ? &packet->source : &packet->destination)->port;
	record->remote_port = (egress ? &packet->destination : &packet->source)->port;
	record->wire_length = packet->ip.wire;
	record->data.offset = sizeof(*record);
	record->data.length = length;
	memcpy(record->bytes, packet->ip.at, length);
	memset(record->bytes + length, 0, size - sizeof(*record) - length);
	return record;
}

void imds_tap_captured(struct imds_tap *tap, const struct imds_packet *record)
{
	ADD(tap->captured);
	if (record->data.length < record->wire_length)
		ADD(tap->truncated);
}

void imds_tap_dropped(struct imds_tap *tap)
{
	ADD(tap->dropped);
}

void imds_tap_count(struct imds_tap *tap, uint32_t captured, uint32_t truncated, uint32_t dropped)
{
	ADD_SOME(tap->captured, captured);
	ADD_SOME(tap->truncated, truncated);
	ADD_SOME(tap->dropped, dropped);
}

void imds_tap_stats(const struct imds_tap *tap, uint64_t kernel_dropped, struct imds_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	stats->packets_captured = READ(tap->captured);
	stats->ring_dropped = READ(tap->dropped) + kernel_dropped;
	stats->packets_passed_over = READ(tap->passed_over);
	stats->packets_seen = stats->packets_captured + stats->ring_dropped + stats->packets_passed_over;
	stats->truncated = READ(tap->truncated);
}
