// SPDX-License-Identifier: Apache-2.0
#include "tcp_packet.h"

#include <string.h>

enum { PROTOCOL_TCP = 6, FRAGMENT = 44 };

static uint32_t big16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

static uint32_t big32(const uint8_t *at)
{
	return big16(at) << 16 | big16(at + 2);
}

/* Takes away what follows the IP packet in its frame. A packet longer than its frame announces bytes that are missing. */
static void set_length(struct imds_bytes *ip, uint32_t length)
{
	ip->wire = length;
	if (ip->captured > length)
		ip->captured = length;
}

static void set_mapped(struct imds_endpoint *end, const uint8_t *v4)
{
	static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };

	memcpy(end->address, prefix, sizeof(prefix));
	memcpy(end->address + 12, v4, 4);
}

/* Reads the TCP header at `at`; of a fragment only the ports. */
static bool read_tcp(struct imds_tcp_packet *packet, uint32_t at, bool fragment)
{
	const uint8_t *tcp = packet->ip.at + at;
	uint32_t header, start;

	if (packet->ip.captured < at + 4)
		return false;
	packet->source.port = (uint16_t)big16(tcp);
	packet->destination.port = (uint16_t)big16(tcp + 2);
	if (fragment || packet->ip.captured < at + 20)
		return true;
	header = (uint32_t)(tcp[12] >> 4) * 4;
	start = at + header;
	if (header < 20 || start > packet->ip.wire)
		return false;
	packet->whole_header = true;
	packet->seq = big32(tcp + 4);
	packet->ack = big32(tcp + 8);
	packet->flags = tcp[13];
	packet->payload_length = packet->ip.wire - start;
	packet->payload = packet->ip;
	if (start > packet->payload.captured)
		start = packet->payload.captured;
	packet->payload.at += start;
	packet->payload.captured -= start;
	packet->payload.wire = packet->payload_length;
	return true;
}

static bool read_ipv4(struct imds_tcp_packet *packet)
{
	const uint8_t *ip = packet->ip.at;
	uint32_t header, total, fragment;

	if (packet->ip.captured < 20)
		return false;
	header = (uint32_t)(ip[0] & 0x0f) * 4;
	total = big16(ip + 2);
	fragment = big16(ip + 6);
	if (header < 20 || ip[9] != PROTOCOL_TCP || (fragment & 0x1fff))
		return false;
	/* 0: segmentation offload beyond 64 KiB, which the field can't express. */
	if (total) {
		if (total < header)
			return false;
		set_length(&packet->ip, total);
	}
	packet->id = (uint16_t)big16(ip + 4);
	set_mapped(&packet->source, ip + 12);
	set_mapped(&packet->destination, ip + 16);
	return read_tcp(packet, header, fragment & 0x2000);
}

/* Walks the extension headers that may stand before TCP (RFC 8200 section 4). Each takes at least 8 bytes, so this ends. */
static bool read_ipv6(struct imds_tcp_packet *packet)
{
	const uint8_t *ip = packet->ip.at;
	uint32_t payload, at = 40;
	bool fragment = false;
	uint8_t next;

	if (packet->ip.captured < 40)
		return false;
	payload = big16(ip + 4);
	if (payload) /* 0: a jumbogram (RFC 2675), or segmentation offload */
		set_length(&packet->ip, 40 + payload);
	memcpy(packet->source.address, ip + 8, 16);
	memcpy(packet->destination.address, ip + 24, 16);
	for (next = ip[6]; next != PROTOCOL_TCP;) {
		uint32_t length;

		if (packet->ip.captured < at + 8)
			return false;
		switch (next) {
		case 0: /* hop-by-hop options */
		case 43: /* routing */
		case 60: /* destination options */
		case 135: /* mobility */
			length = ((uint32_t)ip[at + 1] + 1) * 8;
			break;
		case 51: /* authentication (RFC 4302 section 2.2) */
			length = ((uint32_t)ip[at + 1] + 2) * 4;
			break;
		case FRAGMENT:
			if (big16(ip + at + 2) & 0xfff8)
				return false;
			fragment |= ip[at + 3] & 1;
			length = 8;
			break;
		default:
			return false;
		}
		next = ip[at];
		at += length;
	}
	return read_tcp(packet, at, fragment);
}

bool imds_tcp_read(const struct imds_bytes *ip, struct imds_tcp_packet *packet)
{
	memset(packet, 0, sizeof(*packet));
	packet->ip = *ip;
	if (ip->captured == 0)
		return false;
	switch (ip->at[0] >> 4) {
	case 4:
		return read_ipv4(packet);
	case 6:
		return read_ipv6(packet);
	default:
		return false;
	}
}
