/* SPDX-License-Identifier: Apache-2.0 */
/* Connect records as short as what they hold: in the ring their paths have rooms for the longest that is kept. */
#ifndef IMDS_SQUEEZE_H
#define IMDS_SQUEEZE_H

#include <stddef.h>

#include "record.h"

/* The longest that imds_squeeze() writes. */
#define IMDS_SQUEEZED_MAX \
	(offsetof(struct imds_connect, executable_room) + IMDS_EXECUTABLE_ROOM + 2 * IMDS_CGROUP_ROOM + IMDS_ARGV_MAX)

/*
 * Writes the connect record of `size` bytes (its own header may claim less) to `squeezed`: without the ancestors that it
 * does not have, its paths and argv one after the other. Returns its length, a multiple of 8; 0 for a record that
 * contradicts itself.
 */
size_t imds_squeeze(const struct imds_connect *record, size_t size, void *squeezed);

#endif
