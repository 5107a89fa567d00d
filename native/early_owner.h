/* SPDX-License-Identifier: Apache-2.0 */
/* Looks for the process behind a connection on the thread that captures, for who is gone a moment later. */
#ifndef IMDS_EARLY_OWNER_H
#define IMDS_EARLY_OWNER_H

#include "capture.h"

struct imds_early_owners;

/* NULL without memory. One thread at a time. */
struct imds_early_owners *imds_early_owners_new(void);
void imds_early_owners_free(struct imds_early_owners *owners);

/*
 * A packet was captured: where it opens a connection, its process is looked for among the newest of this host, and what
 * /proc shows of it is kept for imds_owner_take(). Bounded in time and memory.
 */
void imds_early_owners_packet(struct imds_early_owners *owners, const struct imds_packet *record);

/* Lets go of the network namespaces that may be without processes: call it every second or so. */
void imds_early_owners_sweep(struct imds_early_owners *owners);

#endif
