// SPDX-License-Identifier: Apache-2.0
/*
 * Runs the native module under the sanitizers. `driver batch`: what copies records, and the life of a source, with a
 * source of its own making. `driver host`: the eBPF source on this host, from open to close, and each way to be refused.
 */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "source.h"

/* ---- a source that delivers `record` until there are `left` no more, then waits -------------------------------- */

struct fake {
	struct imds_header *record;
	size_t size;
	int left;
	int failure;
	int freed;
};

static int fake_next(void *state, struct imds_batch *batch, int wake_fd, int timeout_ms)
{
	struct fake *fake = state;
	struct pollfd wait = { .fd = wake_fd, .events = POLLIN };

	while (fake->left > 0) {
		int result = imds_batch_append(batch, fake->record, fake->size);

		fake->left--;
		if (result == -ENOSPC)
			return 0;
		if (result)
			return result;
	}
	if (fake->failure)
		return fake->failure;
	if (!batch->used)
		poll(&wait, 1, timeout_ms);
	return 0;
}

static void fake_stats(void *state, struct imds_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	stats->packets_seen = (uint64_t)((struct fake *)state)->left;
}

static void fake_stop(void *state)
{
	((struct fake *)state)->left = 7;
}

static void fake_free(void *state)
{
	((struct fake *)state)->freed++;
}

static const struct imds_source_kind fake_kind = {
	.next = fake_next,
	.stats = fake_stats,
	.stop = fake_stop,
	.free = fake_free,
};

/* A record at the very end of its allocation, so that one byte read too many is seen. */
static struct imds_header *make_record(size_t size, uint32_t length, uint16_t flags)
{
	struct imds_header *record = malloc(size);

	memset(record, 0xa5, size);
	record->length = length;
	record->type = IMDS_RECORD_PACKET;
	record->flags = flags;
	record->time_ns = 1000;
	return record;
}

static void test_append(void)
{
	static const struct {
		size_t size;
		uint32_t length;
		uint16_t flags;
		int result;
		uint32_t used;
	} cases[] = {
		{ 16, 16, 0, -ENOSPC, 16 },
		{ 24, 16, 0, -ENOSPC, 16 },
		{ 24, 24, IMDS_FLAG_SELF_TEST, 0, 0 },
		{ 24, 32, 0, -EBADMSG, 0 },
		{ 24, 8, 0, -EBADMSG, 0 },
		{ 24, 0, 0, -EBADMSG, 0 },
		{ 24, 20, 0, -EBADMSG, 0 },
		{ 24, 0xfffffff8u, 0, -EBADMSG, 0 },
		{ IMDS_RECORD_MAX, IMDS_RECORD_MAX, 0, -ENOSPC, IMDS_RECORD_MAX },
		{ IMDS_RECORD_MAX + 8, IMDS_RECORD_MAX + 8, 0, -EBADMSG, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct imds_header *record = make_record(cases[i].size, cases[i].length, cases[i].flags);
		/* malloc, so that one byte written too many is seen */
		uint8_t *bytes = malloc(IMDS_RECORD_MAX + 15);
		struct imds_batch batch = { .bytes = bytes, .capacity = IMDS_RECORD_MAX + 15, .epoch_offset_ns = -400 };

		assert(imds_batch_append(&batch, record, cases[i].size) == cases[i].result);
		assert(batch.used == cases[i].used);
		if (batch.used) {
			assert(((struct imds_header *)bytes)->time_ns == 600);
			assert(memcmp(bytes + 16, (uint8_t *)record + 16, batch.used - 16) == 0);
		}
		free(bytes);
		free(record);
	}
	for (size_t size = 0; size < 16; size++) {
		uint8_t *cut = calloc(1, size + 1), *bytes = malloc(64);
		struct imds_batch batch = { .bytes = bytes, .capacity = 64 };

		assert(imds_batch_append(&batch, cut, size) == -EBADMSG && batch.used == 0);
		free(cut);
		free(bytes);
	}
	/* A source that goes on although the batch is full is stopped, not trusted. */
	struct imds_header *record = make_record(64, 64, 0);
	uint8_t *bytes = malloc(100);
	struct imds_batch batch = { .bytes = bytes, .capacity = 100 };

	assert(imds_batch_append(&batch, record, 64) == -ENOSPC);
	assert(imds_batch_append(&batch, record, 64) == -EBADMSG && batch.used == 64);
	free(bytes);
	free(record);
}

static struct imds_source *open_fake(struct fake *fake)
{
	return imds_source_new(&fake_kind, fake, "fake");
}

static void test_batches(void)
{
	struct fake fake = { .record = make_record(64, 64, 0), .size = 64, .left = 5000 };
	struct imds_source *source = open_fake(&fake);
	const uint32_t capacity = 2 * IMDS_RECORD_MAX - 10;
	uint8_t *buffer = malloc(capacity);
	int64_t bytes, total = 0;

	assert(strcmp(imds_description(source), "fake") == 0);
	assert(imds_next(source, buffer, IMDS_RECORD_MAX - 1, 0) == -EINVAL);
	assert(imds_next(source, NULL, capacity, 0) == -EINVAL);
	while ((bytes = imds_next(source, buffer, capacity, 0)) > 0)
		total += bytes;
	assert(bytes == 0 && total == 5000 * 64);
	fake.failure = -EIO;
	assert(imds_next(source, buffer, capacity, -5) == -EIO);
	imds_close(source);
	free(fake.record);
	free(buffer);
}

static uint8_t thread_buffer[IMDS_RECORD_MAX];

static void *read_on_thread(void *source)
{
	return (void *)(intptr_t)imds_next(source, thread_buffer, sizeof(thread_buffer), 20000);
}

static void test_life(void)
{
	for (int wake = 0; wake < 2; wake++) {
		struct fake fake = { 0 };
		struct imds_source *source = open_fake(&fake);
		struct imds_stats stats;
		uint8_t other[8];
		pthread_t thread;
		void *result;

		pthread_create(&thread, NULL, read_on_thread, source);
		while (imds_next(source, other, IMDS_RECORD_MAX, 0) != -EBUSY)
			usleep(1000);
		if (wake)
			imds_wake(source);
		else
			imds_close(source);
		pthread_join(thread, &result);
		assert((intptr_t)result == 0);
		imds_close(source);
		imds_close(source);
		assert(fake.freed == 1);
		assert(imds_next(source, thread_buffer, sizeof(thread_buffer), 0) == -EBADF);
		imds_wake(source);
		imds_stats(source, &stats);
		assert(stats.packets_seen == 7); /* as it was when capturing had stopped */
	}
	/* Woken before: the next call returns at once, and only that one. */
	struct fake fake = { 0 };
	struct imds_source *source = open_fake(&fake);

	imds_wake(source);
	imds_wake(source);
	assert(imds_next(source, thread_buffer, sizeof(thread_buffer), 20000) == 0);
	assert(imds_next(source, thread_buffer, sizeof(thread_buffer), 1) == 0);
	imds_close(source);
}

static void *close_on_thread(void *source)
{
	imds_close(source);
	return NULL;
}

static void test_race(void)
{
	for (int i = 0; i < 200; i++) {
		struct fake fake = { 0 };
		struct imds_source *source = open_fake(&fake);
		struct imds_stats stats;
		pthread_t threads[4];

		pthread_create(&threads[0], NULL, read_on_thread, source);
		pthread_create(&threads[1], NULL, close_on_thread, source);
		pthread_create(&threads[2], NULL, close_on_thread, source);
		imds_wake(source);
		imds_stats(source, &stats);
		for (int t = 0; t < 3; t++)
			pthread_join(threads[t], NULL);
		assert(fake.freed == 1);
	}
}

static void test_host(void)
{
	struct imds_endpoint endpoint = { .address = { [10] = 0xff, [11] = 0xff, 203, 0, 113, 7 }, .port = 80 };
	struct imds_endpoint *many = calloc(IMDS_MAX_ENDPOINTS, sizeof(*many));
	struct imds_error error;
	struct imds_source *source;
	struct imds_stats stats;
	static char probe[65536];
	uint32_t length;

	for (int i = 0; i < IMDS_MAX_ENDPOINTS; i++) {
		many[i] = endpoint;
		many[i].address[i % 2 ? 15 : 0] = (uint8_t)i;
		many[i].port = (uint16_t)(i + 1);
	}
	assert(!imds_open_ebpf(NULL, 0, 4096, &error) && error.code == IMDS_ERROR_ARGUMENT);
	assert(!imds_open_ebpf(many, IMDS_MAX_ENDPOINTS, 4096, &error) && error.code == IMDS_ERROR_ARGUMENT);
	assert(!imds_open_ebpf(&endpoint, 1, 0, &error) && error.code == IMDS_ERROR_ARGUMENT);
	assert(!imds_open_ebpf(&endpoint, 1, 4097, &error) && error.code == IMDS_ERROR_ARGUMENT);
	for (int i = 0; i < 2; i++) {
		source = i ? imds_open_ebpf(many, IMDS_MAX_ENDPOINTS - 1, 4096, &error) :
			     imds_open_ebpf(&endpoint, 1, 1 << 20, &error);
		if (!source)
			fprintf(stderr, "%s\n", error.text);
		assert(source && error.code == 0);
		assert(imds_next(source, thread_buffer, sizeof(thread_buffer), 10) == 0);
		imds_wake(source);
		assert(imds_next(source, thread_buffer, sizeof(thread_buffer), 20000) == 0);
		imds_close(source);
		imds_stats(source, &stats);
		assert(stats.packets_seen == 0 && stats.connects_seen == 0); /* the self-test is not counted */
	}
	length = imds_probe(probe, sizeof(probe));
	assert(length > 0 && probe[length - 1] == '\n');
	for (uint32_t capacity = 0; capacity < 400; capacity += 57) {
		char *small = malloc(capacity + 1);

		small[capacity] = 'x';
		length = imds_probe(small, capacity);
		assert(length <= capacity && small[capacity] == 'x');
		assert(length == 0 || small[length - 1] == '\n');
		free(small);
	}
	free(many);
}

/* Endpoints of a running source, while another thread reads from it and a third counts. */
static void change_endpoints(struct imds_source *source)
{
	struct imds_endpoint many[20];
	struct imds_error error;
	struct imds_stats stats;
	pthread_t thread;

	for (int i = 0; i < 20; i++)
		many[i] = (struct imds_endpoint){ .address = { [10] = 0xff, [11] = 0xff, 203, 0, 113, (uint8_t)i },
						  .port = 80 };
	many[3] = (struct imds_endpoint){ .address = { 0xfd, [15] = 3 }, .port = 8080 };
	pthread_create(&thread, NULL, read_on_thread, source);
	for (int i = 0; i < 6; i++) {
		/* Few, more than the kernel program has room for, and others. */
		assert(imds_set_endpoints(source, many + i, i % 2 ? 14 : 2, &error) == 0 && error.code == 0);
		imds_stats(source, &stats);
	}
	assert(imds_set_endpoints(source, many, 0, &error) == -IMDS_ERROR_ARGUMENT && error.code == IMDS_ERROR_ARGUMENT);
	assert(imds_set_endpoints(source, many, IMDS_MAX_ENDPOINTS, &error) == -IMDS_ERROR_ARGUMENT);
	imds_wake(source);
	pthread_join(thread, NULL);
	imds_stop(source);
	imds_close(source);
	assert(imds_set_endpoints(source, many, 1, &error) == -IMDS_ERROR_ARGUMENT);
}

static void test_endpoints(void)
{
	struct imds_endpoint endpoint = { .address = { [10] = 0xff, [11] = 0xff, 203, 0, 113, 7 }, .port = 80 };
	struct imds_error error;
	struct imds_source *source;
	struct fake fake = { 0 };

	source = imds_open_ebpf(&endpoint, 1, 1 << 16, &error);
	assert(source);
	change_endpoints(source);
	source = imds_open_pcap_live(&endpoint, 1, "lo", &error);
	assert(source);
	change_endpoints(source);
	/* One that has stopped takes none over, and says so. */
	source = imds_open_pcap_live(&endpoint, 1, NULL, &error);
	assert(source);
	imds_stop(source);
	assert(imds_set_endpoints(source, &endpoint, 1, &error) == -IMDS_ERROR_PCAP);
	imds_close(source);
	/* Nor does a source that can't. */
	source = open_fake(&fake);
	assert(imds_set_endpoints(source, &endpoint, 1, &error) == -IMDS_ERROR_ARGUMENT);
	imds_close(source);
}

int main(int count, char **arguments)
{
	if (count == 2 && strcmp(arguments[1], "batch") == 0) {
		test_append();
		test_batches();
		test_life();
		test_race();
		assert(imds_abi_version() == IMDS_ABI_VERSION && strlen(imds_layout()) > 100);
	} else if (count == 2 && strcmp(arguments[1], "host") == 0) {
		test_host();
	} else if (count == 2 && strcmp(arguments[1], "endpoints") == 0) {
		test_endpoints();
	} else {
		return 2;
	}
	puts("passed");
	return 0;
}
