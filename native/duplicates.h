/* SPDX-License-Identifier: Apache-2.0 */
/* Tells a packet that was captured on several interfaces, where all of them are captured at once (the device `any`). */
#ifndef IMDS_DUPLICATES_H
#define IMDS_DUPLICATES_H

#include <stdbool.h>
#include <stdint.h>

#include "tcp_packet.h"

struct imds_duplicates;

struct imds_duplicates *imds_duplicates_new(void);
void imds_duplicates_free(struct imds_duplicates *duplicates);

/* Whether this packet was captured on another interface just before. `egress`: sent to the endpoint. */
bool imds_duplicates_seen(struct imds_duplicates *duplicates, const struct imds_tcp_packet *packet, bool egress,
			  uint64_t time_ns);

#endif
