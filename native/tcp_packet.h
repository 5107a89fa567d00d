/* SPDX-License-Identifier: Apache-2.0 */
/* As much of an IP packet's headers as it takes to see whose connection it belongs to, and whether it matters. */
#ifndef IMDS_TCP_PACKET_H
#define IMDS_TCP_PACKET_H

#include "capture.h"
#include "link_layer.h"

enum { IMDS_TCP_FIN = 0x01, IMDS_TCP_SYN = 0x02, IMDS_TCP_RST = 0x04 };

struct imds_tcp_packet {
	struct imds_bytes ip; /* without link-layer padding */
	struct imds_endpoint source, destination;
	bool whole_header; /* it was captured as far as what follows, and is no fragment: otherwise that is 0 */
	uint32_t seq, ack;
	uint8_t flags;
	uint16_t id; /* of the IPv4 header */
	uint32_t payload_length; /* on the wire */
	struct imds_bytes payload;
};

/* False where it is no TCP over IP, or where the ports were not captured. */
bool imds_tcp_read(const struct imds_bytes *ip, struct imds_tcp_packet *packet);

#endif
