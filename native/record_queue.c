// SPDX-License-Identifier: Apache-2.0
/*
 * Two buffers: one is filled while the other is emptied, and they change places when the latter is empty. So records lie
 * one after the other without wrapping around, and the lock is held for a copy of one record at most.
 */
#include "record_queue.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define FIRST_BYTES (128 * 1024)

struct buffer {
	uint8_t *bytes;
	size_t capacity, used;
};

struct imds_queue {
	pthread_mutex_t lock;
	pthread_cond_t room;
	size_t limit;
	struct buffer filling;
	struct buffer emptying; /* the taker's alone */
	size_t taken;
	int filled_fd; /* readable while a taker should look */
	bool taker_waits;
	bool ended;
	bool cancelled;
};

struct imds_queue *imds_queue_new(size_t bytes)
{
	struct imds_queue *queue = calloc(1, sizeof(*queue));

	if (!queue)
		return NULL;
	queue->limit = bytes;
	queue->filled_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (queue->filled_fd < 0) {
		free(queue);
		return NULL;
	}
	pthread_mutex_init(&queue->lock, NULL);
	pthread_cond_init(&queue->room, NULL);
	return queue;
}

void imds_queue_free(struct imds_queue *queue)
{
	if (!queue)
		return;
	close(queue->filled_fd);
	pthread_cond_destroy(&queue->room);
	pthread_mutex_destroy(&queue->lock);
	free(queue->filling.bytes);
	free(queue->emptying.bytes);
	free(queue);
}

/* Fails only when 2^64-2 signals are unread, and then it is readable. */
static void signal_taker(struct imds_queue *queue)
{
	static const uint64_t one = 1;

	if (write(queue->filled_fd, &one, sizeof(one)) < 0) {
	}
}

static bool grow(struct buffer *buffer, size_t needed)
{
	size_t capacity = buffer->capacity ? buffer->capacity : FIRST_BYTES;
	uint8_t *bytes;

	while (capacity < needed)
		capacity *= 2;
	if (capacity == buffer->capacity)
		return true;
	bytes = realloc(buffer->bytes, capacity);
	if (!bytes)
		return false;
	buffer->bytes = bytes;
	buffer->capacity = capacity;
	return true;
}

int imds_queue_put(struct imds_queue *queue, const struct imds_packet *record, bool wait)
{
	size_t length = record->header.length;
	int result = 0;

	pthread_mutex_lock(&queue->lock);
	while (wait && !queue->cancelled && queue->filling.used + length > queue->limit)
		pthread_cond_wait(&queue->room, &queue->lock);
	if (queue->cancelled)
		result = -ECANCELED;
	else if (queue->filling.used + length > queue->limit)
		result = -ENOBUFS;
	else if (!grow(&queue->filling, queue->filling.used + length))
		result = -ENOMEM;
	if (!result) {
		memcpy(queue->filling.bytes + queue->filling.used, record, length);
		queue->filling.used += length;
		if (queue->taker_waits) {
			queue->taker_waits = false;
			signal_taker(queue);
		}
	}
	pthread_mutex_unlock(&queue->lock);
	return result;
}

void imds_queue_end(struct imds_queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	queue->ended = true;
	signal_taker(queue);
	pthread_mutex_unlock(&queue->lock);
}

void imds_queue_cancel(struct imds_queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	queue->cancelled = true;
	pthread_cond_broadcast(&queue->room);
	pthread_mutex_unlock(&queue->lock);
}

/* Takes over what was filled. 0, -EAGAIN where nothing was, -ENODATA where nothing will be. */
static int swap(struct imds_queue *queue)
{
	uint64_t signals;
	int result = 0;

	pthread_mutex_lock(&queue->lock);
	queue->taker_waits = false;
	if (read(queue->filled_fd, &signals, sizeof(signals)) < 0) {
		/* Not signalled. */
	}
	if (queue->filling.used > 0) {
		struct buffer empty = queue->emptying;

		empty.used = 0;
		queue->emptying = queue->filling;
		queue->filling = empty;
		queue->taken = 0;
		pthread_cond_signal(&queue->room);
	} else if (queue->ended) {
		result = -ENODATA;
	} else {
		queue->taker_waits = true;
		result = -EAGAIN;
	}
	pthread_mutex_unlock(&queue->lock);
	return result;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

int imds_queue_take(struct imds_queue *queue, struct imds_batch *batch, int wake_fd, int timeout_ms)
{
	int64_t deadline = now_ms() + timeout_ms;

	while (queue->taken == queue->emptying.used) {
		struct pollfd fds[] = {
			{ .fd = wake_fd, .events = POLLIN },
			{ .fd = queue->filled_fd, .events = POLLIN },
		};
		int64_t left = deadline - now_ms();
		int result = swap(queue);

		if (result == -ENODATA)
			return result;
		if (result == 0)
			break;
		result = poll(fds, 2, left < 0 ? 0 : (int)left);
		if (result < 0 && errno != EINTR)
			return -errno;
		if (result == 0 || (result > 0 && fds[0].revents))
			return 0;
	}
	while (queue->taken < queue->emptying.used) {
		const uint8_t *record = queue->emptying.bytes + queue->taken;
		struct imds_header header;
		int result;

		memcpy(&header, record, sizeof(header));
		queue->taken += header.length;
		result = imds_batch_append(batch, record, header.length);
		if (result == -ENOSPC)
			break;
		if (result)
			return result;
	}
	return 0;
}
