/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMDS_ADDRESS_H
#define IMDS_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Whether 16 bytes are an IPv4 address, ::ffff:a.b.c.d; its own bytes are then the last four. */
static inline bool imds_is_v4(const uint8_t *address)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(address, mapped, sizeof(mapped)) == 0;
}

#endif
