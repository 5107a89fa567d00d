/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a packet file: of a plain or a compressed one, of a file or a pipe. */
#ifndef IMDS_FILE_INPUT_H
#define IMDS_FILE_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct imds_input;

/* Takes fd. cancel_fd: once readable, reads end. NULL without memory. */
struct imds_input *imds_input_new(int fd, int cancel_fd);
void imds_input_free(struct imds_input *input);

/* Called by a read before it waits for a pipe that has nothing. */
void imds_input_on_wait(struct imds_input *input, void (*on_wait)(void *argument), void *argument);

/* Up to `count` bytes, without taking them; fewer only at the end. -1 on errors. count: at most 64. */
int64_t imds_input_peek(struct imds_input *input, uint8_t *to, size_t count);

/* Exactly `count` bytes, or fewer at the end (or -1 on errors), as read(2) otherwise. `to` may be NULL: skips them. */
int64_t imds_input_read(struct imds_input *input, uint8_t *to, uint64_t count);

/* A stream over the input, for libraries that take one. To be closed before imds_input_free(). */
FILE *imds_input_stream(struct imds_input *input);

/* Bytes read of the file as it lies there; from any thread. */
uint64_t imds_input_bytes(const struct imds_input *input);

/* "gzip", "zstd" or NULL. */
const char *imds_input_compression(const struct imds_input *input);

/* What went wrong in a read, or NULL. A compressed file that ends too early is an error. */
const char *imds_input_error(const struct imds_input *input);

#endif
