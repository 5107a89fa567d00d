/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMDS_ROUTE_H
#define IMDS_ROUTE_H

#include <stdint.h>

/*
 * Index of the interface through which this network namespace sends to an address (16 bytes, IPv4 as ::ffff:a.b.c.d);
 * 0 where it has no route. Asks the kernel and sends nothing.
 */
unsigned int imds_route_interface(const uint8_t *address);

#endif
