/* SPDX-License-Identifier: Apache-2.0 */
/* Between the thread that reads packets and imds_next(): bounded, first in first out. */
#ifndef IMDS_RECORD_QUEUE_H
#define IMDS_RECORD_QUEUE_H

#include <stdbool.h>

#include "source.h"

struct imds_queue;

/* Holds up to `bytes`, twice for a moment. NULL without memory or file descriptors. */
struct imds_queue *imds_queue_new(size_t bytes);
void imds_queue_free(struct imds_queue *queue);

/*
 * Adds a copy. Where there is no room: waits for some if `wait`, else -ENOBUFS. -ECANCELED once cancelled, -ENOMEM.
 */
int imds_queue_put(struct imds_queue *queue, const struct imds_packet *record, bool wait);

/* Nothing will be put any more: takers get what is there, then -ENODATA. */
void imds_queue_end(struct imds_queue *queue);

/* Nothing will be taken any more: a put that waits ends. */
void imds_queue_cancel(struct imds_queue *queue);

/* As `next` of struct imds_source_kind; -ENODATA when it ended and is empty. */
int imds_queue_take(struct imds_queue *queue, struct imds_batch *batch, int wake_fd, int timeout_ms);

#endif
