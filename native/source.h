/* SPDX-License-Identifier: Apache-2.0 */
/* What a kind of source gives to capture.c, which adds the locking and the ABI. */
#ifndef IMDS_SOURCE_H
#define IMDS_SOURCE_H

#include "capture.h"

/* Where records go: the caller's buffer of one imds_next(). */
struct imds_batch {
	uint8_t *bytes;
	uint32_t capacity;
	uint32_t used;
	int64_t epoch_offset_ns; /* to add to a record's time */
};

/* Length of a record of which `size` bytes are there, as its header has it; 0 for one that contradicts itself. */
uint32_t imds_record_length(const void *record, size_t size);

/*
 * Appends a record of `size` bytes (its own header may claim less) unless it is of the self-test. Returns 0, -ENOSPC when
 * no further record of the largest size would surely fit after this one (this one is in), -EBADMSG for one that
 * contradicts itself (it is not in).
 */
int imds_batch_append(struct imds_batch *batch, const void *record, size_t size);

struct imds_source_kind {
	/* Fills the batch; waits for something to fill it with, or for wake_fd to be readable, for timeout_ms. 0 or -errno; -ENODATA at the end. */
	int (*next)(void *state, struct imds_batch *batch, int wake_fd, int timeout_ms);
	void (*stats)(void *state, struct imds_stats *stats);
	/* Fills what it knows of `progress`, which is all zeros. NULL: nothing. */
	void (*progress)(void *state, struct imds_progress *progress);
	/* As imds_set_endpoints(). NULL: a source that can't. Neither while another thread is in it, nor in stop or free. */
	int (*set_endpoints)(void *state, const struct imds_endpoint *endpoints, uint32_t count, struct imds_error *error);
	/* Stops capturing, so that the counters stand: `next` gives what is there, then -ENODATA. May be called again. */
	void (*stop)(void *state);
	void (*free)(void *state);
};

/* Takes `state`, and a copy of `description`. NULL (and `state` is not taken) without memory or file descriptors. */
struct imds_source *imds_source_new(const struct imds_source_kind *kind, void *state, const char *description);

/* Writes a printf-style text to the error and returns its code, negative, as the functions of an opening source do. */
int imds_fail(struct imds_error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
