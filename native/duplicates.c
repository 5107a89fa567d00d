// SPDX-License-Identifier: Apache-2.0
/*
 * A packet passes a container's veth, a bridge and a network card within microseconds, and `any` shows it on each. It is
 * the same one where sequence numbers, flags, identification and payload are the same; addresses are left out, as
 * the host may translate the client's on the way (masquerading). A retransmission that comes so soon and is dropped
 * with the copies says nothing new: its bytes are the same.
 *
 * Of a translated connection the packets before the translation are kept, whose address is that of the client's own
 * socket. What the service answers is first captured under the translated address: `translated` knows these.
 */
#include "duplicates.h"

#include <stdlib.h>
#include <string.h>

/* Far above what a packet takes through a host, and below TCP's shortest retransmission time-out (200 ms on Linux). */
#define WINDOW_NS UINT64_C(100000000)
/* Powers of two. An entry that is overwritten too early lets a copy through, which the reassembly then drops. */
#define RECENT 4096
#define TRANSLATED 4096

struct packet_key {
	uint64_t payload_hash;
	uint32_t seq, ack;
	uint32_t payload_length;
	uint16_t id, remote_port;
	uint8_t remote_address[16];
	uint8_t flags;
	uint8_t egress;
	uint8_t zero[6];
};

struct flow_key {
	uint8_t local_address[16], remote_address[16];
	uint16_t local_port, remote_port;
};

struct imds_duplicates {
	struct {
		struct packet_key key;
		struct flow_key flow;
		uint64_t time_ns;
	} recent[RECENT];
	struct flow_key translated[TRANSLATED];
};

struct imds_duplicates *imds_duplicates_new(void)
{
	return calloc(1, sizeof(struct imds_duplicates));
}

void imds_duplicates_free(struct imds_duplicates *duplicates)
{
	free(duplicates);
}

/* FNV-1a. Keys are compared as well, so an equal hash of another payload needs equal sequence numbers of both ends, too. */
static uint64_t hash(const void *bytes, size_t length)
{
	uint64_t value = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < length; i++)
		value = (value ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
	return value;
}

/* The low bits of FNV-1a know only the low bits of what went in. */
static size_t slot(uint64_t hashed, size_t slots)
{
	return (hashed ^ hashed >> 32) & (slots - 1);
}

static bool within(uint64_t a, uint64_t b)
{
	return (a > b ? a - b : b - a) <= WINDOW_NS;
}

bool imds_duplicates_seen(struct imds_duplicates *duplicates, const struct imds_tcp_packet *packet, bool egress,
			  uint64_t time_ns)
{
	const struct imds_endpoint *local = egress ? &packet->source : &packet->destination;
	const struct imds_endpoint *remote = egress ? &packet->destination : &packet->source;
	struct packet_key key = {
		.payload_hash = hash(packet->payload.at, packet->payload.captured),
		.seq = packet->seq,
		.ack = packet->ack,
		.payload_length = packet->payload_length,
		.id = packet->id,
		.remote_port = remote->port,
		.flags = packet->flags,
		.egress = egress,
	};
	struct flow_key flow = { .local_port = local->port, .remote_port = remote->port };
	struct flow_key *translated;
	size_t at;
	bool copy;

	if (!packet->whole_header)
		return false;
	memcpy(key.remote_address, remote->address, sizeof(key.remote_address));
	memcpy(flow.local_address, local->address, sizeof(flow.local_address));
	memcpy(flow.remote_address, remote->address, sizeof(flow.remote_address));

	translated = &duplicates->translated[slot(hash(&flow, sizeof(flow)), TRANSLATED)];
	if (!egress && memcmp(translated, &flow, sizeof(flow)) == 0)
		return true;

	at = slot(hash(&key, sizeof(key)), RECENT);
	copy = memcmp(&duplicates->recent[at].key, &key, sizeof(key)) == 0 &&
	       within(duplicates->recent[at].time_ns, time_ns);
	if (copy) {
		if (egress && memcmp(&duplicates->recent[at].flow, &flow, sizeof(flow)) != 0)
			*translated = flow;
		return true;
	}
	/* Sent, and nothing like it before: a connection of this host from a port that was a translated one's. */
	if (egress && memcmp(translated, &flow, sizeof(flow)) == 0)
		memset(translated, 0, sizeof(*translated));
	duplicates->recent[at].key = key;
	duplicates->recent[at].flow = flow;
	duplicates->recent[at].time_ns = time_ns;
	return false;
}
