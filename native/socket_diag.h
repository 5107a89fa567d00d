/* SPDX-License-Identifier: Apache-2.0 */
/* How answers of the kernel's netlink families are read; the questions are in capture.h (imds_netns_…). */
#ifndef IMDS_SOCKET_DIAG_H
#define IMDS_SOCKET_DIAG_H

#include <stddef.h>
#include <stdint.h>

#include "capture.h"

/* Of the interfaces that have an address at most so many are told. */
#define IMDS_ADDRESS_INTERFACES 8

/* The interfaces of a network namespace that have an address. */
struct imds_address_interfaces {
	uint8_t address[16]; /* which: network byte order, IPv4 as ::ffff:a.b.c.d */
	uint32_t count;
	uint32_t indices[IMDS_ADDRESS_INTERFACES];
};

/*
 * Reads the datagram that answers the request `sequence` for one socket: 1 and `found` filled, 0 for no such socket,
 * -EAGAIN where the datagram answers another request, -EBADMSG for what is no answer, else -errno as the kernel gave it.
 */
int imds_socket_parse(const void *bytes, size_t length, uint32_t sequence, struct imds_socket *found);

/*
 * Reads a datagram of the dump `sequence` (RTM_GETADDR; of sockets, for its end only): 1 at the dump's end, 0 where more
 * follows; -EAGAIN, -EBADMSG, -errno as above.
 */
int imds_dump_parse(const void *bytes, size_t length, uint32_t sequence, struct imds_address_interfaces *interfaces);

#endif
