// SPDX-License-Identifier: Apache-2.0
#include "patient_read.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "capture.h"

/* One serves, unless others wait for what does not come. Whoever wants to keep them all waiting has to have as many processes. */
#define MAX_THREADS 16
#define STACK_BYTES (64 * 1024)

struct reading {
	struct reading *next; /* of those that no thread has begun, or of those that were left behind */
	int fd;
	ino_t file;
	uint32_t capacity;
	int32_t result;
	bool done;
	uint8_t bytes[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER; /* there is something to read, for threads */
static pthread_cond_t finished; /* … was read, for callers; by the monotonic clock */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct reading *first;
static struct reading *left; /* that nobody waits for any more */
static unsigned int threads, idle, waiting; /* of threads; of readings that none has begun */

static void prepare(void)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&finished, &attributes);
	pthread_condattr_destroy(&attributes);
}

static int32_t read_all(int fd, uint8_t *to, uint32_t capacity)
{
	uint32_t length = 0;

	/* procfs may give less than was asked for without being at the end. */
	while (length < capacity) {
		ssize_t got = read(fd, to + length, capacity - length);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		length += (uint32_t)got;
	}
	return (int32_t)length;
}

/* Takes it out of a list; false where it is not in it. */
static bool take_out(struct reading **list, struct reading *reading)
{
	for (; *list; list = &(*list)->next) {
		if (*list != reading)
			continue;
		*list = reading->next;
		return true;
	}
	return false;
}

static void *serve(void *unused)
{
	pthread_mutex_lock(&lock);
	for (;;) {
		struct reading *reading;

		idle++;
		while (!first)
			pthread_cond_wait(&more, &lock);
		idle--;
		waiting--;
		reading = first;
		first = reading->next;
		pthread_mutex_unlock(&lock);
		reading->result = read_all(reading->fd, reading->bytes, reading->capacity);
		close(reading->fd);
		pthread_mutex_lock(&lock);
		reading->done = true;
		if (!take_out(&left, reading)) {
			pthread_cond_broadcast(&finished);
			continue;
		}
		free(reading);
		/* Another serves in its place. */
		if (threads > 1)
			break;
	}
	threads--;
	pthread_mutex_unlock(&lock);
	return unused;
}

/* With the lock. Whether there is a thread for one reading more. */
static bool has_thread(void)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	pthread_t thread;
	bool started;

	if (idle > waiting)
		return true;
	if (threads == MAX_THREADS)
		return false;
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for Node's threads */
	started = pthread_create(&thread, &attributes, serve, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	threads += started;
	return started;
}

static void append(struct reading *reading)
{
	struct reading **end = &first;

	while (*end)
		end = &(*end)->next;
	*end = reading;
	waiting++;
	pthread_cond_signal(&more);
}

/* Somebody waits for this very file in vain. Its inode is the same as long as it is open. */
static bool is_stuck(ino_t file)
{
	const struct reading *reading = left;

	while (reading && reading->file != file)
		reading = reading->next;
	return reading != NULL;
}

static bool wait_for(struct reading *reading, int32_t wait_ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wait_ms / 1000;
	until.tv_nsec += wait_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	while (!reading->done && pthread_cond_timedwait(&finished, &lock, &until) == 0)
		;
	return reading->done;
}

/* With the lock. Whether the reading is the caller's to free. */
static bool read_with(struct reading *reading, int32_t wait_ms)
{
	if (is_stuck(reading->file) || !has_thread()) {
		reading->result = -EAGAIN;
		close(reading->fd);
		return true;
	}
	append(reading);
	if (wait_for(reading, wait_ms))
		return true;
	reading->result = -ETIMEDOUT;
	if (take_out(&first, reading)) {
		waiting--;
		close(reading->fd);
		return true;
	}
	reading->next = left;
	left = reading;
	return false;
}

int32_t imds_patient_read(int fd, void *to, uint32_t capacity, int32_t wait_ms)
{
	struct reading *reading = calloc(1, sizeof(*reading) + capacity);
	int32_t result = -ETIMEDOUT;
	struct stat status;
	bool ours;

	if (!reading || fstat(fd, &status)) {
		result = reading ? -errno : -ENOMEM;
		close(fd);
		free(reading);
		return result;
	}
	reading->fd = fd;
	reading->file = status.st_ino;
	reading->capacity = capacity;
	pthread_once(&once, prepare);
	pthread_mutex_lock(&lock);
	ours = read_with(reading, wait_ms);
	pthread_mutex_unlock(&lock);
	if (!ours)
		return result;
	result = reading->result;
	if (result > 0)
		memcpy(to, reading->bytes, (size_t)result);
	free(reading);
	return result;
}

int32_t imds_read_proc(const char *path, void *to, uint32_t capacity, int32_t wait_ms)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : imds_patient_read(fd, to, capacity, wait_ms);
}
