// SPDX-License-Identifier: Apache-2.0
/*
 * A list of chunks: one is filled at its end while the taker empties another, which is its alone. So records lie one
 * after the other without wrapping around, the lock is held for a copy of one record at most, and memory is given back
 * chunk by chunk. From mmap, not malloc: what malloc is given back it keeps where anything newer lies behind it.
 */
#include "record_queue.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#define CHUNK_BYTES (256 * 1024)

struct chunk {
	struct chunk *next;
	uint32_t used, taken;
	uint8_t records[];
};

#define CHUNK_ROOM (CHUNK_BYTES - sizeof(struct chunk))
_Static_assert(CHUNK_ROOM >= IMDS_PUT_MAX, "a chunk holds what is put at once");
_Static_assert(CHUNK_ROOM >= IMDS_RECORD_MAX, "a chunk holds a record of any size");

struct imds_queue {
	pthread_mutex_t lock;
	pthread_cond_t room;
	struct chunk *first, *last; /* records are put at the end of `last` */
	struct chunk *spare; /* empty, so that a slow stream of records takes no memory anew */
	size_t count, limit; /* of chunks: in the list, spare, and the taker's */
	struct chunk *emptying; /* the taker's alone */
	int filled_fd; /* readable while a taker should look */
	bool taker_waits;
	bool ended;
	bool cancelled;
};

struct imds_queue *imds_queue_new(size_t bytes)
{
	struct imds_queue *queue = calloc(1, sizeof(*queue));
	pthread_mutexattr_t attributes;

	if (!queue)
		return NULL;
	/* Two at least: one to fill while the other is emptied. */
	queue->limit = bytes / CHUNK_BYTES < 2 ? 2 : bytes / CHUNK_BYTES;
	queue->filled_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (queue->filled_fd < 0) {
		free(queue);
		return NULL;
	}
	/* Whoever puts may be of a high priority, and must not wait for a taker that others keep from its processor. */
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&queue->lock, &attributes);
	pthread_mutexattr_destroy(&attributes);
	pthread_cond_init(&queue->room, NULL);
	return queue;
}

static void unmap(struct chunk *chunk)
{
	while (chunk) {
		struct chunk *next = chunk->next;

		munmap(chunk, CHUNK_BYTES);
		chunk = next;
	}
}

void imds_queue_free(struct imds_queue *queue)
{
	if (!queue)
		return;
	close(queue->filled_fd);
	pthread_cond_destroy(&queue->room);
	pthread_mutex_destroy(&queue->lock);
	unmap(queue->first);
	unmap(queue->spare);
	unmap(queue->emptying);
	free(queue);
}

/* Fails only when 2^64-2 signals are unread, and then it is readable. */
static void signal_taker(struct imds_queue *queue)
{
	static const uint64_t one = 1;

	if (write(queue->filled_fd, &one, sizeof(one)) < 0) {
	}
}

static bool fits_last(const struct imds_queue *queue, size_t length)
{
	return queue->last && CHUNK_ROOM - queue->last->used >= length;
}

static bool has_room(const struct imds_queue *queue, size_t length)
{
	return fits_last(queue, length) || queue->spare || queue->count < queue->limit;
}

/* An empty chunk, within the limit. */
static struct chunk *new_chunk(struct imds_queue *queue)
{
	struct chunk *chunk = queue->spare;

	queue->spare = NULL;
	if (chunk)
		return chunk;
	chunk = mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (chunk == MAP_FAILED)
		return NULL;
	queue->count++;
	return chunk;
}

bool imds_queue_reserve(struct imds_queue *queue)
{
	bool reserved;

	pthread_mutex_lock(&queue->lock);
	if (!fits_last(queue, IMDS_RECORD_MAX) && has_room(queue, IMDS_RECORD_MAX))
		queue->spare = new_chunk(queue);
	reserved = fits_last(queue, IMDS_RECORD_MAX) || queue->spare;
	pthread_mutex_unlock(&queue->lock);
	return reserved;
}

static int append(struct imds_queue *queue, const void *record, size_t length)
{
	if (!fits_last(queue, length)) {
		struct chunk *chunk = new_chunk(queue);

		if (!chunk)
			return -ENOMEM;
		*(queue->last ? &queue->last->next : &queue->first) = chunk;
		queue->last = chunk;
	}
	memcpy(queue->last->records + queue->last->used, record, length);
	queue->last->used += (uint32_t)length;
	return 0;
}

int imds_queue_put(struct imds_queue *queue, const void *record, bool wait)
{
	struct imds_header header;

	memcpy(&header, record, sizeof(header));
	return imds_queue_put_all(queue, record, header.length, wait);
}

int imds_queue_put_all(struct imds_queue *queue, const void *records, size_t length, bool wait)
{
	int result;

	pthread_mutex_lock(&queue->lock);
	while (wait && !queue->cancelled && !has_room(queue, length))
		pthread_cond_wait(&queue->room, &queue->lock);
	if (queue->cancelled)
		result = -ECANCELED;
	else if (!has_room(queue, length))
		result = -ENOBUFS;
	else
		result = append(queue, records, length);
	if (!result && queue->taker_waits) {
		queue->taker_waits = false;
		signal_taker(queue);
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

/* Gives back the chunk that is empty, and takes over the first that is not. 0, -EAGAIN where none is, -ENODATA where none will be. */
static int next_chunk(struct imds_queue *queue)
{
	struct chunk *empty = queue->emptying;
	int result = 0;

	pthread_mutex_lock(&queue->lock);
	queue->emptying = queue->first;
	if (queue->emptying) {
		queue->first = queue->emptying->next;
		if (!queue->first)
			queue->last = NULL;
		queue->emptying->next = NULL;
	} else {
		result = queue->ended ? -ENODATA : -EAGAIN;
	}
	if (empty && !queue->spare) {
		empty->used = empty->taken = 0;
		queue->spare = empty;
		empty = NULL;
	} else if (empty) {
		queue->count--;
	}
	pthread_cond_signal(&queue->room);
	pthread_mutex_unlock(&queue->lock);
	unmap(empty);
	return result;
}

int imds_queue_move(struct imds_queue *queue, struct imds_batch *batch)
{
	bool moved = false;

	for (;;) {
		struct chunk *chunk = queue->emptying;

		while (chunk && chunk->taken < chunk->used) {
			const uint8_t *record = chunk->records + chunk->taken;
			struct imds_header header;
			int result;

			memcpy(&header, record, sizeof(header));
			chunk->taken += header.length;
			result = imds_batch_append(batch, record, header.length);
			if (result)
				return result;
			moved = true;
		}
		switch (next_chunk(queue)) {
		case -EAGAIN:
			return 0;
		case -ENODATA:
			return moved ? 0 : -ENODATA;
		}
	}
}

/* Has the next put signal, unless there is something to take by now. */
static bool must_wait(struct imds_queue *queue)
{
	uint64_t signals;
	bool wait;

	pthread_mutex_lock(&queue->lock);
	if (read(queue->filled_fd, &signals, sizeof(signals)) < 0) {
		/* Not signalled. */
	}
	wait = !queue->first && !queue->ended;
	queue->taker_waits = wait;
	pthread_mutex_unlock(&queue->lock);
	return wait;
}

int imds_queue_wait(struct imds_queue *queue, int wake_fd, int timeout_ms)
{
	int64_t deadline = imds_now_ms() + timeout_ms;

	if (queue->emptying && queue->emptying->taken < queue->emptying->used)
		return 1;
	while (must_wait(queue)) {
		struct pollfd fds[] = {
			{ .fd = wake_fd, .events = POLLIN },
			{ .fd = queue->filled_fd, .events = POLLIN },
		};
		int64_t left = deadline - imds_now_ms();
		int result = poll(fds, 2, left < 0 ? 0 : (int)left);

		if (result < 0 && errno != EINTR)
			return -errno;
		if (result == 0 || (result > 0 && fds[0].revents))
			return 0;
	}
	return 1;
}

int imds_queue_take(struct imds_queue *queue, struct imds_batch *batch, int wake_fd, int timeout_ms)
{
	int result = imds_queue_wait(queue, wake_fd, timeout_ms);

	if (result > 0)
		result = imds_queue_move(queue, batch);
	return result == -ENOSPC ? 0 : result;
}
