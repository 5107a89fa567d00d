/* SPDX-License-Identifier: Apache-2.0 */
/* Between the thread that captures records and imds_next(): bounded, first in first out. One thread puts, one takes. */
#ifndef IMDS_RECORD_QUEUE_H
#define IMDS_RECORD_QUEUE_H

#include <stdbool.h>

#include "source.h"

struct imds_queue;

/*
 * Takes up to `bytes` of memory, only while there are records to keep. NULL without memory or file descriptors.
 */
struct imds_queue *imds_queue_new(size_t bytes);
void imds_queue_free(struct imds_queue *queue);

/* Whether the next put will find room for a record of any size; takes the memory for it. */
bool imds_queue_reserve(struct imds_queue *queue);

/*
 * Adds a copy of a record, which is as long as its header says. Where there is no room: waits for some if `wait`, else
 * -ENOBUFS. -ECANCELED once cancelled, -ENOMEM.
 */
int imds_queue_put(struct imds_queue *queue, const void *record, bool wait);

/* The same for records that follow one another, IMDS_PUT_MAX bytes at most: one turn of the lock and one signal for all. */
#define IMDS_PUT_MAX (128 * 1024 - 64)
int imds_queue_put_all(struct imds_queue *queue, const void *records, size_t length, bool wait);

/* Nothing will be put any more: takers get what is there, then -ENODATA. */
void imds_queue_end(struct imds_queue *queue);

/* Nothing will be taken any more: a put that waits ends. */
void imds_queue_cancel(struct imds_queue *queue);

/* Waits for something to take, or the end: 1. 0 after the time-out, or when wake_fd is readable; -errno. */
int imds_queue_wait(struct imds_queue *queue, int wake_fd, int timeout_ms);

/*
 * Moves records into the batch without waiting. 0; -ENOSPC as imds_batch_append(); -ENODATA when it ended and is empty,
 * and nothing was moved.
 */
int imds_queue_move(struct imds_queue *queue, struct imds_batch *batch);

/* Both, as `next` of struct imds_source_kind; -ENODATA when it ended and is empty. */
int imds_queue_take(struct imds_queue *queue, struct imds_batch *batch, int wake_fd, int timeout_ms);

#endif
