// SPDX-License-Identifier: Apache-2.0
#include "ring_reader.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "record_queue.h"
#include "squeeze.h"

/*
 * In the midst of a stream of records the thread waits a moment for more: handing over a batch takes thread switches, many
 * times what a record takes. The first record after a pause goes at once, for whatever /proc is to tell of its process may
 * be gone soon.
 */
#define STREAM_MS 2
#define GATHER_MS 1
/* The priority where no real-time one is permitted. */
#define NICE (-10)

struct imds_ring_reader {
	struct ring_buffer *ring;
	struct imds_queue *queue;
	pthread_t thread;
	bool running;
	bool ended; /* the thread is gone, the ring the caller's */
	int failure; /* of reading: what next() returns */
	int quit_fd;
};

/* From time since boot (suspend included) to time since the epoch, as the clocks stand now. */
static int64_t boot_to_epoch_ns(void)
{
	struct timespec epoch, boot;

	clock_gettime(CLOCK_REALTIME, &epoch);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	return (epoch.tv_sec - boot.tv_sec) * INT64_C(1000000000) + (epoch.tv_nsec - boot.tv_nsec);
}

/* libbpf counts a record as read whatever this returns; a negative value ends the reading behind it. There is room. */
static int on_record(void *context, void *record, size_t size)
{
	struct imds_ring_reader *reader = context;
	const struct imds_header *header = record;
	_Alignas(8) uint8_t squeezed[IMDS_SQUEEZED_MAX];
	int result;

	if (!imds_record_length(record, size))
		return -EBADMSG;
	if (header->flags & IMDS_FLAG_SELF_TEST)
		return 0;
	if (header->type == IMDS_RECORD_CONNECT) {
		if (!imds_squeeze(record, size, squeezed))
			return -EBADMSG;
		record = squeezed;
	}
	result = imds_queue_put(reader->queue, record, false);
	return result || imds_queue_reserve(reader->queue) ? result : -ENOSPC;
}

enum look { NOTHING, SOME, NO_ROOM };

/* Moves what is in the ring to the queue. What finds no room stays in the ring, and when that is full the kernel counts. */
static enum look look(struct imds_ring_reader *reader)
{
	int result;

	if (!imds_queue_reserve(reader->queue))
		return NO_ROOM;
	result = ring_buffer__consume(reader->ring);
	if (result < 0 && result != -ENOSPC)
		__atomic_store_n(&reader->failure, result, __ATOMIC_RELAXED);
	return result == 0 ? NOTHING : SOME;
}

/*
 * The thread must not wait for its turn behind those that fill the ring. With 10 busy processes on 2 processors a look came
 * up to 37 ms late at NICE, and 2 ms (once 9 ms) at the lowest real-time priority. That is no danger to others: there is
 * little to do, and nothing once the queue is full.
 */
static void raise_priority(void)
{
	const struct sched_param lowest = { .sched_priority = sched_get_priority_min(SCHED_RR) };

	if (pthread_setschedparam(pthread_self(), SCHED_RR, &lowest))
		setpriority(PRIO_PROCESS, 0, NICE); /* on Linux, of the calling thread */
}

static void *read_on(void *argument)
{
	struct imds_ring_reader *reader = argument;
	int ring_fd = ring_buffer__epoll_fd(reader->ring);
	int64_t some_ms = 0; /* when there was something last */
	bool pause = false;

	pthread_setname_np(pthread_self(), "imds-ring"); /* for top -H, and whoever asks what costs how much */
	raise_priority();
	for (;;) {
		struct pollfd fds[] = {
			{ .fd = reader->quit_fd, .events = POLLIN },
			{ .fd = pause ? -1 : ring_fd, .events = POLLIN },
		};
		enum look seen;

		if (poll(fds, 2, pause ? GATHER_MS : -1) < 0 && errno != EINTR)
			break;
		seen = look(reader);
		if (fds[0].revents)
			break;
		pause = seen == NO_ROOM;
		if (seen == SOME) {
			int64_t now = imds_now_ms();

			pause = now - some_ms < STREAM_MS;
			some_ms = now;
		}
		/* Readable and yet nothing there: the first record is still being written. */
		if (seen == NOTHING && fds[1].revents)
			pause = true;
	}
	return NULL;
}

int imds_ring_reader_next(struct imds_ring_reader *reader, struct imds_batch *batch, int wake_fd, int timeout_ms)
{
	int result;

	/* What the queue had no room for when the thread ended. */
	if (__atomic_load_n(&reader->ended, __ATOMIC_ACQUIRE))
		look(reader);
	result = imds_queue_wait(reader->queue, wake_fd, timeout_ms);
	if (result == 0)
		result = __atomic_load_n(&reader->failure, __ATOMIC_RELAXED);
	if (result <= 0)
		return result;
	batch->epoch_offset_ns = boot_to_epoch_ns();
	result = imds_queue_move(reader->queue, batch);
	return result == -ENOSPC ? 0 : result;
}

void imds_ring_reader_end(struct imds_ring_reader *reader)
{
	static const uint64_t one = 1;

	if (!reader->running)
		return;
	if (write(reader->quit_fd, &one, sizeof(one)) < 0) {
		/* Only when it is signalled already. */
	}
	pthread_join(reader->thread, NULL);
	reader->running = false;
	__atomic_store_n(&reader->ended, true, __ATOMIC_RELEASE);
	imds_queue_end(reader->queue);
}

static int start(struct imds_ring_reader *reader)
{
	sigset_t all, before;
	int result;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for Node's threads */
	result = pthread_create(&reader->thread, NULL, read_on, reader);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	reader->running = result == 0;
	return result;
}

struct imds_ring_reader *imds_ring_reader_new(int ring_fd, size_t queue_bytes)
{
	struct imds_ring_reader *reader = calloc(1, sizeof(*reader));
	int failure = ENOMEM;

	if (!reader)
		return NULL;
	reader->quit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	reader->queue = imds_queue_new(queue_bytes);
	if (reader->quit_fd < 0 || !reader->queue)
		goto fail;
	reader->ring = ring_buffer__new(ring_fd, on_record, reader, NULL);
	failure = (int)-libbpf_get_error(reader->ring);
	if (failure)
		reader->ring = NULL;
	else
		failure = start(reader);
	if (!failure)
		return reader;
fail:
	imds_ring_reader_free(reader);
	errno = failure;
	return NULL;
}

void imds_ring_reader_free(struct imds_ring_reader *reader)
{
	if (!reader)
		return;
	imds_ring_reader_end(reader);
	ring_buffer__free(reader->ring);
	imds_queue_free(reader->queue);
	if (reader->quit_fd >= 0)
		close(reader->quit_fd);
	free(reader);
}
