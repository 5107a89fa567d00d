// SPDX-License-Identifier: Apache-2.0
/*
 * The way of a record from the ring to imds_next(), under the sanitizers. `drain_driver queue`: the queue between two
 * threads, and its end; `bound`: how much memory it takes, and gives back; `squeeze`: connect records, hostile ones too;
 * `source`: the eBPF source amid a burst over loopback that nobody reads until it is over.
 */
#undef NDEBUG
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "record_queue.h"
#include "squeeze.h"

#define MIB (1024 * 1024)

/* ---- the queue -------------------------------------------------------------------------------------------------- */

#define RECORDS 4000
static uint8_t buffer[4 * IMDS_RECORD_MAX];

/* Mostly short, some of the longest; a multiple of 8. */
static uint32_t length_of(uint64_t number)
{
	return number % 97 == 0 ? IMDS_RECORD_MAX : 24 + (uint32_t)(number * 2654435761u % 300) / 8 * 8;
}

static void fill(uint8_t *record, uint64_t number)
{
	struct imds_header header = { .length = length_of(number), .type = IMDS_RECORD_PACKET, .time_ns = number };

	memset(record, (int)(number % 251), header.length);
	memcpy(record, &header, sizeof(header));
}

static void check(const uint8_t *record, uint64_t number)
{
	struct imds_header header;

	memcpy(&header, record, sizeof(header));
	assert(header.length == length_of(number) && header.time_ns == number);
	for (uint32_t i = sizeof(header); i < header.length; i++)
		assert(record[i] == number % 251);
}

static void *put_all(void *argument)
{
	struct imds_queue *queue = argument;
	uint8_t *record = malloc(IMDS_RECORD_MAX);

	for (uint64_t number = 0; number < RECORDS; number++) {
		fill(record, number);
		assert(imds_queue_put(queue, record, true) == 0);
	}
	imds_queue_end(queue);
	free(record);
	return NULL;
}

/* Takes until the end, and returns how many. */
static uint64_t take_all(struct imds_queue *queue, int wake_fd, uint64_t number)
{
	int result;

	do {
		struct imds_batch batch = { .bytes = buffer, .capacity = sizeof(buffer) };

		result = imds_queue_take(queue, &batch, wake_fd, 20000);
		for (uint32_t at = 0; at < batch.used; number++) {
			check(buffer + at, number);
			at += length_of(number);
		}
		assert(result == -ENODATA || batch.used > 0);
	} while (result == 0);
	assert(result == -ENODATA);
	return number;
}

static void test_two_threads(int wake_fd)
{
	static const size_t limits[] = { 0, MIB, 64 * MIB };

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct imds_queue *queue = imds_queue_new(limits[i]);
		pthread_t thread;

		pthread_create(&thread, NULL, put_all, queue);
		assert(take_all(queue, wake_fd, 0) == RECORDS);
		pthread_join(thread, NULL);
		imds_queue_free(queue);
	}
}

static size_t resident(void)
{
	unsigned long pages;
	FILE *file = fopen("/proc/self/statm", "r");

	assert(fscanf(file, "%*s %lu", &pages) == 1);
	fclose(file);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void test_bound(int wake_fd)
{
	struct imds_queue *queue = imds_queue_new(64 * MIB);
	uint8_t *record = malloc(IMDS_RECORD_MAX);
	size_t before = resident(), bytes = 0;
	uint64_t count = 0;

	while (imds_queue_reserve(queue)) {
		fill(record, count);
		assert(imds_queue_put(queue, record, false) == 0);
		bytes += length_of(count++);
	}
	assert(bytes <= 64 * MIB && bytes > 50 * MIB);
	assert(resident() - before > 50 * MIB);
	/* A record may still fit, one of any size not. */
	for (uint64_t more = count; more < count + 1000; more++) {
		int result;

		fill(record, more - more % 97); /* the longest */
		result = imds_queue_put(queue, record, false);
		assert(result == -ENOBUFS);
	}
	imds_queue_end(queue);
	assert(take_all(queue, wake_fd, 0) == count);
	assert(resident() < before + 10 * MIB);
	free(record);
	imds_queue_free(queue);
}

static void *put_until_cancelled(void *argument)
{
	uint8_t *record = malloc(IMDS_RECORD_MAX);
	int result;

	fill(record, 0);
	while ((result = imds_queue_put(argument, record, true)) == 0)
		;
	free(record);
	return (void *)(intptr_t)result;
}

static void test_cancel_and_wake(int wake_fd)
{
	struct imds_queue *queue = imds_queue_new(0);
	uint64_t one = 1;
	pthread_t thread;
	void *result;

	pthread_create(&thread, NULL, put_until_cancelled, queue);
	usleep(20000);
	imds_queue_cancel(queue);
	pthread_join(thread, &result);
	assert((intptr_t)result == -ECANCELED);
	imds_queue_free(queue);

	queue = imds_queue_new(0);
	assert(imds_queue_wait(queue, wake_fd, 10) == 0);
	assert(write(wake_fd, &one, sizeof(one)) == sizeof(one));
	assert(imds_queue_wait(queue, wake_fd, 20000) == 0);
	assert(read(wake_fd, &one, sizeof(one)) == sizeof(one));
	imds_queue_end(queue);
	assert(imds_queue_wait(queue, wake_fd, 20000) == 1);
	imds_queue_free(queue);
}

/* ---- connect records -------------------------------------------------------------------------------------------- */

static const char EXECUTABLE[] = "/usr/bin/curl", CGROUP[] = "/system.slice/ssh.service", ARGV[] = "curl\0-s\0x";

/* As the kernel program leaves it: paths at the ends of their rooms, argv behind. At the very end of its allocation. */
static struct imds_connect *make_connect(size_t *size)
{
	struct imds_connect *record;

	*size = (sizeof(*record) + sizeof(ARGV) + 7) & ~(size_t)7;
	record = malloc(*size);
	memset(record, 0xa5, *size);
	record->header = (struct imds_header){ .length = (uint32_t)*size, .type = IMDS_RECORD_CONNECT, .time_ns = 77 };
	record->ancestor_count = 2;
	record->ancestors[1].pid = 4242;
	record->executable = (struct imds_span){ offsetof(struct imds_connect, cgroup_room) - 13, 13 };
	record->cgroup = (struct imds_span){ offsetof(struct imds_connect, cgroup_v1_room) - 25, 25 };
	record->cgroup_v1 = (struct imds_span){ 0, 0 };
	record->argv = (struct imds_span){ sizeof(*record), sizeof(ARGV) };
	memcpy((char *)record + record->executable.offset, EXECUTABLE, 13);
	memcpy((char *)record + record->cgroup.offset, CGROUP, 25);
	memcpy((char *)record + record->argv.offset, ARGV, sizeof(ARGV));
	return record;
}

static void test_squeeze(void)
{
	size_t size;
	struct imds_connect *record = make_connect(&size);
	uint8_t *out = malloc(IMDS_SQUEEZED_MAX);
	const struct imds_connect *head = (const struct imds_connect *)out;
	size_t length = imds_squeeze(record, size, out);

	assert(length == ((offsetof(struct imds_connect, ancestors) + 2 * sizeof(struct imds_process) + 13 + 25 +
			   sizeof(ARGV) + 7) & ~(size_t)7));
	assert(head->header.length == length && head->header.time_ns == 77 && head->ancestors[1].pid == 4242);
	assert(memcmp(out + head->executable.offset, EXECUTABLE, 13) == 0 && head->executable.length == 13);
	assert(memcmp(out + head->cgroup.offset, CGROUP, 25) == 0 && head->cgroup.length == 25);
	assert(head->cgroup_v1.length == 0);
	assert(memcmp(out + head->argv.offset, ARGV, sizeof(ARGV)) == 0 && head->argv.length == sizeof(ARGV));
	assert(imds_record_length(out, length) == length);

	/* All rooms full. */
	size_t full = sizeof(*record) + IMDS_ARGV_MAX;
	struct imds_connect *largest = calloc(1, full);

	largest->header.length = (uint32_t)full;
	largest->ancestor_count = IMDS_ANCESTORS;
	largest->executable = (struct imds_span){ offsetof(struct imds_connect, executable_room), IMDS_EXECUTABLE_ROOM };
	largest->cgroup = (struct imds_span){ offsetof(struct imds_connect, cgroup_room), IMDS_CGROUP_ROOM };
	largest->cgroup_v1 = (struct imds_span){ offsetof(struct imds_connect, cgroup_v1_room), IMDS_CGROUP_ROOM };
	largest->argv = (struct imds_span){ sizeof(*record), IMDS_ARGV_MAX };
	assert(imds_squeeze(largest, full, out) == IMDS_SQUEEZED_MAX);
	largest->cgroup.length++; /* whole, but longer than any */
	assert(imds_squeeze(largest, full, out) == 0);
	free(largest);

	/* Any bytes: in bounds, and refused or sound. */
	uint32_t random = 1;
	unsigned int refused = 0;
	for (int round = 0; round < 200000; round++) {
		size_t at, changed;

		random = random * 1664525 + 1013904223;
		at = (random >> 8) % 2 ? 64 + (random >> 9) % 16 : (random >> 9) % 112;
		changed = ((uint8_t *)record)[at];
		((uint8_t *)record)[at] = (uint8_t)(random >> 24);
		length = imds_squeeze(record, size, out);
		refused += length == 0;
		assert(length == 0 || imds_record_length(out, length) == length);
		((uint8_t *)record)[at] = (uint8_t)changed;
	}
	assert(refused > 1000);
	for (size_t cut = 0; cut < size; cut += 8) {
		struct imds_connect *part = malloc(cut + 1);

		memcpy(part, record, cut);
		assert(imds_squeeze(part, cut, out) == 0);
		free(part);
	}
	free(out);
	free(record);
}

/* ---- the source ------------------------------------------------------------------------------------------------- */

#define CONNECTIONS 300
static const char REQUEST[] = "GET /latest/meta-data/ HTTP/1.0\r\n\r\n";

static int listen_on_loopback(struct sockaddr_in *address)
{
	socklen_t size = sizeof(*address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	assert(listener >= 0 && bind(listener, (struct sockaddr *)address, size) == 0 && listen(listener, 16) == 0);
	assert(getsockname(listener, (struct sockaddr *)address, &size) == 0);
	return listener;
}

static void connect_often(int listener, const struct sockaddr_in *address)
{
	for (int i = 0; i < CONNECTIONS; i++) {
		int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), server;
		char bytes[64];

		assert(connect(client, (const struct sockaddr *)address, sizeof(*address)) == 0);
		server = accept(listener, NULL, NULL);
		assert(send(client, REQUEST, sizeof(REQUEST) - 1, 0) == sizeof(REQUEST) - 1);
		assert(recv(server, bytes, sizeof(bytes), 0) == sizeof(REQUEST) - 1);
		close(client);
		close(server);
	}
}

static size_t contents(const char *path, char *bytes, size_t size)
{
	FILE *file = fopen(path, "r");
	size_t length = fread(bytes, 1, size, file);

	fclose(file);
	return length;
}

struct told {
	uint64_t packets, connects;
};

static void check_batch(int64_t used, struct told *told)
{
	char argv[4096], executable[4096];
	size_t argv_length = contents("/proc/self/cmdline", argv, sizeof(argv));
	ssize_t executable_length = readlink("/proc/self/exe", executable, sizeof(executable));

	for (int64_t at = 0; at < used;) {
		const struct imds_header *header = (const struct imds_header *)(buffer + at);
		const struct imds_connect *connect = (const struct imds_connect *)header;

		assert(imds_record_length(header, (size_t)(used - at)));
		told->packets += header->type == IMDS_RECORD_PACKET;
		if (header->type == IMDS_RECORD_CONNECT) {
			told->connects++;
			assert(connect->process.pid == (uint32_t)getpid() && connect->argv.length == argv_length);
			assert(memcmp((const char *)connect + connect->argv.offset, argv, argv_length) == 0);
			assert(connect->executable.length == executable_length);
			assert(memcmp((const char *)connect + connect->executable.offset, executable, (size_t)executable_length) == 0);
		}
		at += header->length;
	}
}

static void *read_once(void *source)
{
	static uint8_t bytes[IMDS_RECORD_MAX];

	return (void *)(intptr_t)imds_next(source, bytes, sizeof(bytes), 20000);
}

static void test_source(uint32_t ring_bytes)
{
	struct imds_endpoint endpoint = { .address = { [10] = 0xff, [11] = 0xff, 127, 0, 0, 1 } };
	struct told told = { 0 };
	struct sockaddr_in address;
	struct imds_source *source;
	struct imds_stats stats, last;
	struct imds_error error;
	int listener = listen_on_loopback(&address);
	pthread_t thread;
	void *pending;
	int64_t used;

	endpoint.port = ntohs(address.sin_port);
	source = imds_open_ebpf(&endpoint, 1, ring_bytes, &error);
	if (!source)
		fprintf(stderr, "%s\n", error.text);
	assert(source);
	connect_often(listener, &address);
	imds_stop(source);
	imds_stop(source);
	connect_often(listener, &address); /* unseen */
	imds_stats(source, &stats);
	while ((used = imds_next(source, buffer, sizeof(buffer), 20000)) > 0)
		check_batch(used, &told);
	assert(used == -ENODATA);
	assert(stats.packets_seen == stats.packets_captured + stats.ring_dropped + stats.packets_passed_over);
	assert(told.packets == stats.packets_captured && stats.connects_seen == CONNECTIONS);
	assert(told.connects == CONNECTIONS - stats.connects_dropped);
	/* SYN, request and FIN of the client; those of the server meet its socket too. */
	assert(stats.packets_captured + stats.ring_dropped >= 3 * CONNECTIONS);
	if (ring_bytes >= MIB)
		assert(stats.ring_dropped == 0 && stats.connects_dropped == 0);
	imds_stats(source, &last);
	assert(memcmp(&last, &stats, sizeof(last)) == 0);
	imds_close(source);
	imds_stats(source, &last);
	assert(memcmp(&last, &stats, sizeof(last)) == 0);

	/* Stopped while a read is pending, which only ends when woken. */
	source = imds_open_ebpf(&endpoint, 1, ring_bytes, &error);
	assert(source);
	pthread_create(&thread, NULL, read_once, source);
	usleep(20000);
	imds_stop(source);
	imds_wake(source);
	pthread_join(thread, &pending);
	assert((intptr_t)pending == 0 || (intptr_t)pending == -ENODATA);
	imds_close(source);
	close(listener);
}

int main(int count, char **arguments)
{
	int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (count == 2 && strcmp(arguments[1], "queue") == 0) {
		test_two_threads(wake_fd);
		test_cancel_and_wake(wake_fd);
	} else if (count == 2 && strcmp(arguments[1], "bound") == 0) {
		test_bound(wake_fd);
	} else if (count == 2 && strcmp(arguments[1], "squeeze") == 0) {
		test_squeeze();
	} else if (count == 2 && strcmp(arguments[1], "source") == 0) {
		test_source(1 << 22);
		test_source(1 << 12);
	} else {
		return 2;
	}
	puts("passed");
	return 0;
}
