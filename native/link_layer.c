// SPDX-License-Identifier: Apache-2.0
/* The link types, a row each: https://www.tcpdump.org/linktypes.html */
#include "link_layer.h"

#include <stddef.h>

enum { IPV4 = 0x0800, IPV6 = 0x86dd };

/* Tags of IEEE 802.1Q, of 802.1ad, and what devices used for the outer one before that was standardised. */
static bool is_vlan(unsigned int protocol)
{
	return protocol == 0x8100 || protocol == 0x88a8 || protocol == 0x9100;
}

static unsigned int big16(const uint8_t *at)
{
	return (unsigned int)at[0] << 8 | at[1];
}

static bool skip(struct imds_bytes *bytes, uint32_t count)
{
	if (bytes->captured < count || bytes->wire < count)
		return false;
	bytes->at += count;
	bytes->captured -= count;
	bytes->wire -= count;
	return true;
}

/* An IP packet, of the version that the link layer announced (0: of either). */
static bool is_ip(const struct imds_bytes *bytes, unsigned int protocol)
{
	unsigned int version;

	if (bytes->captured == 0)
		return false;
	version = bytes->at[0] >> 4;
	return (version == 4 && protocol != IPV6) || (version == 6 && protocol != IPV4);
}

/* What follows an EtherType: the packet, or tags and then the packet. Each tag is 4 bytes, so this ends. */
static bool after_ethertype(struct imds_bytes *bytes, unsigned int protocol)
{
	while (is_vlan(protocol)) {
		if (bytes->captured < 4)
			return false;
		protocol = big16(bytes->at + 2);
		if (!skip(bytes, 4))
			return false;
	}
	return (protocol == IPV4 || protocol == IPV6) && is_ip(bytes, protocol);
}

static bool strip_ethernet(struct imds_bytes *bytes)
{
	unsigned int protocol;

	if (bytes->captured < 14)
		return false;
	protocol = big16(bytes->at + 12);
	return skip(bytes, 14) && after_ethertype(bytes, protocol);
}

static bool strip_sll(struct imds_bytes *bytes)
{
	unsigned int protocol;

	if (bytes->captured < 16)
		return false;
	protocol = big16(bytes->at + 14);
	return skip(bytes, 16) && after_ethertype(bytes, protocol);
}

static bool strip_sll2(struct imds_bytes *bytes)
{
	unsigned int protocol;

	if (bytes->captured < 20)
		return false;
	protocol = big16(bytes->at);
	return skip(bytes, 20) && after_ethertype(bytes, protocol);
}

static bool strip_raw(struct imds_bytes *bytes)
{
	return is_ip(bytes, 0);
}

/*
 * BSD's loopback: the address family as the machine that captured has it, in its byte order (LOOP: always big-endian).
 * IPv6 is 10 on Linux, 24 on NetBSD and OpenBSD, 28 on FreeBSD, 30 on macOS.
 */
static bool strip_null(struct imds_bytes *bytes)
{
	unsigned int high, low, family;

	if (bytes->captured < 4)
		return false;
	high = big16(bytes->at);
	low = big16(bytes->at + 2);
	family = high == 0 ? low : low == 0 ? (high >> 8 | (high & 0xff) << 8) : 0;
	if (!skip(bytes, 4))
		return false;
	switch (family) {
	case 2:
		return is_ip(bytes, IPV4);
	case 10:
	case 24:
	case 28:
	case 30:
		return is_ip(bytes, IPV6);
	default:
		return false;
	}
}

/* RFC 1661, 1662: address and control may be left out, and so may the protocol's first byte, where it is 0. */
static bool strip_ppp(struct imds_bytes *bytes)
{
	unsigned int protocol;

	if (bytes->captured >= 2 && bytes->at[0] == 0xff && bytes->at[1] == 0x03 && !skip(bytes, 2))
		return false;
	if (bytes->captured < 2)
		return false;
	protocol = bytes->at[0] & 1 ? bytes->at[0] : big16(bytes->at);
	if (!skip(bytes, bytes->at[0] & 1 ? 1 : 2))
		return false;
	return (protocol == 0x0021 && is_ip(bytes, IPV4)) || (protocol == 0x0057 && is_ip(bytes, IPV6));
}

static const struct link_type {
	int number;
	const char *name;
	bool (*strip)(struct imds_bytes *bytes);
	bool cooked;
} link_types[] = {
	{ 1, "Ethernet", strip_ethernet, false },
	{ 113, "Linux cooked", strip_sll, true },
	{ 276, "Linux cooked v2", strip_sll2, true },
	{ 101, "raw IP", strip_raw, false },
	{ 12, "raw IP", strip_raw, false }, /* DLT_RAW on Linux */
	{ 228, "raw IPv4", strip_raw, false },
	{ 229, "raw IPv6", strip_raw, false },
	{ 0, "BSD loopback", strip_null, false },
	{ 108, "OpenBSD loopback", strip_null, false },
	{ 9, "PPP", strip_ppp, false },
	{ 50, "PPP in HDLC framing", strip_ppp, false },
};

static const struct link_type *find(int number)
{
	for (size_t i = 0; i < sizeof(link_types) / sizeof(link_types[0]); i++) {
		if (link_types[i].number == number)
			return &link_types[i];
	}
	return NULL;
}

const char *imds_link_name(int link_type)
{
	const struct link_type *found = find(link_type);

	return found ? found->name : NULL;
}

bool imds_link_is_cooked(int link_type)
{
	const struct link_type *found = find(link_type);

	return found && found->cooked;
}

bool imds_link_strip(const struct imds_frame *frame, struct imds_bytes *ip)
{
	const struct link_type *found = find(frame->link_type);

	*ip = frame->bytes;
	return found && found->strip(ip);
}
