// SPDX-License-Identifier: Apache-2.0
/* The part of the ABI that is the same for every source: life and death of a source, batches, the record layout. */
#include "source.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/*
 * Never freed, only emptied: a call that was queued on a worker thread may name its source after it was closed. A
 * process opens a few.
 */
struct imds_source {
	const struct imds_source_kind *kind;
	void *state; /* NULL once closed */
	char *description;
	int wake_fd;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	bool reading; /* a thread is in kind->next */
	bool closing;
	struct imds_stats final_stats;
	struct imds_source *next;
};

/* Reachable, so that leak checkers tell a kept source from a lost one. */
static struct imds_source *all_sources;
static pthread_mutex_t all_sources_lock = PTHREAD_MUTEX_INITIALIZER;

uint32_t imds_abi_version(void)
{
	return IMDS_ABI_VERSION;
}

int imds_fail(struct imds_error *error, int code, const char *format, ...)
{
	va_list arguments;

	error->code = code;
	va_start(arguments, format);
	vsnprintf(error->text, sizeof(error->text), format, arguments);
	va_end(arguments);
	return -code;
}

struct imds_source *imds_source_new(const struct imds_source_kind *kind, void *state, const char *description)
{
	struct imds_source *source = calloc(1, sizeof(*source));

	if (!source)
		return NULL;
	source->description = strdup(description);
	source->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!source->description || source->wake_fd < 0) {
		if (source->wake_fd >= 0)
			close(source->wake_fd);
		free(source->description);
		free(source);
		return NULL;
	}
	source->kind = kind;
	source->state = state;
	pthread_mutex_init(&source->lock, NULL);
	pthread_cond_init(&source->idle, NULL);
	pthread_mutex_lock(&all_sources_lock);
	source->next = all_sources;
	all_sources = source;
	pthread_mutex_unlock(&all_sources_lock);
	return source;
}

const char *imds_description(const struct imds_source *source)
{
	return source->description;
}

uint32_t imds_record_length(const void *record, size_t size)
{
	struct imds_header header;

	if (size < sizeof(header))
		return 0;
	memcpy(&header, record, sizeof(header));
	if (header.length < sizeof(header) || header.length > size || header.length % 8 != 0 ||
	    header.length > IMDS_RECORD_MAX)
		return 0;
	return header.length;
}

int imds_batch_append(struct imds_batch *batch, const void *record, size_t size)
{
	struct imds_header header;

	if (!imds_record_length(record, size))
		return -EBADMSG;
	memcpy(&header, record, sizeof(header));
	if (header.flags & IMDS_FLAG_SELF_TEST)
		return 0;
	if (header.length > batch->capacity - batch->used)
		return -EBADMSG; /* the caller of next() did not stop at -ENOSPC */
	memcpy(batch->bytes + batch->used, record, header.length);
	header.time_ns += (uint64_t)batch->epoch_offset_ns;
	memcpy(batch->bytes + batch->used, &header, sizeof(header));
	batch->used += header.length;
	return batch->capacity - batch->used < IMDS_RECORD_MAX ? -ENOSPC : 0;
}

int64_t imds_next(struct imds_source *source, uint8_t *buffer, uint32_t capacity, int32_t timeout_ms)
{
	struct imds_batch batch = { .bytes = buffer, .capacity = capacity };
	uint64_t wakes;
	int result = 0;

	if (!buffer || capacity < IMDS_RECORD_MAX)
		return -EINVAL;
	pthread_mutex_lock(&source->lock);
	if (source->closing)
		result = -EBADF;
	else if (source->reading)
		result = -EBUSY;
	else
		source->reading = true;
	pthread_mutex_unlock(&source->lock);
	if (result)
		return result;

	result = source->kind->next(source->state, &batch, source->wake_fd, timeout_ms < 0 ? 0 : timeout_ms);

	pthread_mutex_lock(&source->lock);
	/* A wake is spent by the call that it ended, but one that found records has not been asked to stop yet. */
	if (!source->closing && batch.used == 0 && read(source->wake_fd, &wakes, sizeof(wakes)) < 0 && errno != EAGAIN)
		result = result ? result : -errno;
	source->reading = false;
	pthread_cond_broadcast(&source->idle);
	pthread_mutex_unlock(&source->lock);
	return result ? result : (int64_t)batch.used;
}

void imds_wake(struct imds_source *source)
{
	static const uint64_t one = 1;

	pthread_mutex_lock(&source->lock);
	/* Fails only when 2^64-2 wakes are unread, and then it is awake. */
	if (source->wake_fd >= 0 && write(source->wake_fd, &one, sizeof(one)) < 0) {
	}
	pthread_mutex_unlock(&source->lock);
}

void imds_stats(struct imds_source *source, struct imds_stats *stats)
{
	pthread_mutex_lock(&source->lock);
	if (source->state)
		source->kind->stats(source->state, stats);
	else
		*stats = source->final_stats;
	pthread_mutex_unlock(&source->lock);
}

void imds_progress(struct imds_source *source, struct imds_progress *progress)
{
	memset(progress, 0, sizeof(*progress));
	pthread_mutex_lock(&source->lock);
	if (source->state && source->kind->progress)
		source->kind->progress(source->state, progress);
	pthread_mutex_unlock(&source->lock);
}

int32_t imds_set_endpoints(struct imds_source *source, const struct imds_endpoint *endpoints, uint32_t count,
			   struct imds_error *error)
{
	int result;

	memset(error, 0, sizeof(*error));
	pthread_mutex_lock(&source->lock);
	if (!source->state || source->closing || !source->kind->set_endpoints)
		result = imds_fail(error, IMDS_ERROR_ARGUMENT, "the endpoints of this source can't be changed");
	else
		result = source->kind->set_endpoints(source->state, endpoints, count, error);
	pthread_mutex_unlock(&source->lock);
	return result;
}

void imds_stop(struct imds_source *source)
{
	pthread_mutex_lock(&source->lock);
	if (source->state)
		source->kind->stop(source->state);
	pthread_mutex_unlock(&source->lock);
}

void imds_close(struct imds_source *source)
{
	pthread_mutex_lock(&source->lock);
	if (source->closing) {
		pthread_mutex_unlock(&source->lock);
		return;
	}
	source->closing = true;
	pthread_mutex_unlock(&source->lock);
	imds_wake(source);

	pthread_mutex_lock(&source->lock);
	while (source->reading)
		pthread_cond_wait(&source->idle, &source->lock);
	source->kind->stop(source->state);
	source->kind->stats(source->state, &source->final_stats);
	source->kind->free(source->state);
	source->state = NULL;
	close(source->wake_fd);
	source->wake_fd = -1;
	pthread_mutex_unlock(&source->lock);
}

#define FIELD(name, type, member) \
	{ name, offsetof(struct type, member), sizeof(((struct type *)0)->member) }

static const struct {
	const char *name;
	size_t offset;
	size_t size;
} fields[] = {
	FIELD("header.length", imds_header, length),
	FIELD("header.type", imds_header, type),
	FIELD("header.flags", imds_header, flags),
	FIELD("header.time", imds_header, time_ns),
	{ "header.size", sizeof(struct imds_header), 0 },
	FIELD("process.start", imds_process, start_boot_ns),
	FIELD("process.pid", imds_process, pid),
	FIELD("process.comm", imds_process, comm),
	{ "process.size", sizeof(struct imds_process), 0 },
	FIELD("connect.cookie", imds_connect, cookie),
	FIELD("connect.cgroupId", imds_connect, cgroup_id),
	FIELD("connect.remoteAddress", imds_connect, remote_address),
	FIELD("connect.remotePort", imds_connect, remote_port),
	FIELD("connect.family", imds_connect, family),
	FIELD("connect.ancestorCount", imds_connect, ancestor_count),
	FIELD("connect.netns", imds_connect, netns),
	FIELD("connect.uid", imds_connect, uid),
	FIELD("connect.gid", imds_connect, gid),
	FIELD("connect.executable", imds_connect, executable),
	FIELD("connect.cgroup", imds_connect, cgroup),
	FIELD("connect.cgroupV1", imds_connect, cgroup_v1),
	FIELD("connect.argv", imds_connect, argv),
	FIELD("connect.process", imds_connect, process),
	FIELD("connect.ancestors", imds_connect, ancestors),
	{ "connect.size", offsetof(struct imds_connect, ancestors), 0 }, /* the least: of ancestors there are as many as it counts */
	FIELD("ancestor.process", imds_process_record, process),
	FIELD("ancestor.argv", imds_process_record, argv),
	{ "ancestor.size", sizeof(struct imds_process_record), 0 },
	FIELD("packet.cookie", imds_packet, cookie),
	FIELD("packet.cgroupId", imds_packet, cgroup_id),
	FIELD("packet.localAddress", imds_packet, local_address),
	FIELD("packet.remoteAddress", imds_packet, remote_address),
	FIELD("packet.localPort", imds_packet, local_port),
	FIELD("packet.remotePort", imds_packet, remote_port),
	FIELD("packet.wireLength", imds_packet, wire_length),
	FIELD("packet.data", imds_packet, data),
	{ "packet.size", sizeof(struct imds_packet), 0 },
	FIELD("head.number", imds_head, number),
	FIELD("head.query", imds_head, query),
	FIELD("head.data", imds_head, data),
	{ "head.size", sizeof(struct imds_head), 0 },
	FIELD("exchange.requestTime", imds_exchange, request_time_ns),
	FIELD("exchange.status", imds_exchange, status),
	FIELD("exchange.family", imds_exchange, family),
	FIELD("exchange.minor", imds_exchange, minor),
	FIELD("exchange.head", imds_exchange, head),
	FIELD("exchange.queryLength", imds_exchange, query_length),
	FIELD("exchange.localAddress", imds_exchange, local_address),
	FIELD("exchange.remoteAddress", imds_exchange, remote_address),
	FIELD("exchange.localPort", imds_exchange, local_port),
	FIELD("exchange.remotePort", imds_exchange, remote_port),
	FIELD("exchange.bodyLength", imds_exchange, body_length),
	{ "exchange.size", sizeof(struct imds_exchange), 0 },
	FIELD("passed.lastUse", imds_passed, last_use_ns),
	FIELD("passed.clientFirst", imds_passed, client_first),
	FIELD("passed.clientNext", imds_passed, client_next),
	FIELD("passed.localAddress", imds_passed, local_address),
	FIELD("passed.remoteAddress", imds_passed, remote_address),
	FIELD("passed.localPort", imds_passed, local_port),
	FIELD("passed.remotePort", imds_passed, remote_port),
	FIELD("passed.serviceFirst", imds_passed, service_first),
	FIELD("passed.serviceNext", imds_passed, service_next),
	{ "passed.size", sizeof(struct imds_passed), 0 },
	FIELD("error.code", imds_error, code),
	FIELD("error.text", imds_error, text),
	{ "error.size", sizeof(struct imds_error), 0 },
	FIELD("endpoint.address", imds_endpoint, address),
	FIELD("endpoint.port", imds_endpoint, port),
	{ "endpoint.size", sizeof(struct imds_endpoint), 0 },
	FIELD("stats.packetsSeen", imds_stats, packets_seen),
	FIELD("stats.packetsCaptured", imds_stats, packets_captured),
	FIELD("stats.ringDropped", imds_stats, ring_dropped),
	FIELD("stats.packetsPassedOver", imds_stats, packets_passed_over),
	FIELD("stats.truncated", imds_stats, truncated),
	FIELD("stats.connectsSeen", imds_stats, connects_seen),
	FIELD("stats.connectsDropped", imds_stats, connects_dropped),
	{ "stats.size", sizeof(struct imds_stats), 0 },
	FIELD("progress.bytesRead", imds_progress, bytes_read),
	FIELD("progress.bytesTotal", imds_progress, bytes_total),
	FIELD("progress.packets", imds_progress, packets),
	FIELD("progress.unreadable", imds_progress, unreadable),
	FIELD("progress.firstTime", imds_progress, first_time_ns),
	FIELD("progress.lastTime", imds_progress, last_time_ns),
	FIELD("progress.problem", imds_progress, problem),
	{ "progress.size", sizeof(struct imds_progress), 0 },
	FIELD("netns.inode", imds_netns, inode),
	{ "netns.size", sizeof(struct imds_netns), 0 },
	FIELD("socketQuery.cookie", imds_socket_query, cookie),
	FIELD("socketQuery.localAddress", imds_socket_query, local_address),
	FIELD("socketQuery.remoteAddress", imds_socket_query, remote_address),
	FIELD("socketQuery.localPort", imds_socket_query, local_port),
	FIELD("socketQuery.remotePort", imds_socket_query, remote_port),
	{ "socketQuery.size", sizeof(struct imds_socket_query), 0 },
	FIELD("owner.pid", imds_owner, pid),
	FIELD("owner.netns", imds_owner, netns),
	FIELD("owner.inode", imds_owner, inode),
	FIELD("owner.statLength", imds_owner, stat_length),
	FIELD("owner.statusLength", imds_owner, status_length),
	FIELD("owner.cgroupLength", imds_owner, cgroup_length),
	FIELD("owner.argvLength", imds_owner, argv_length),
	FIELD("owner.executableLength", imds_owner, executable_length),
	FIELD("owner.stat", imds_owner, stat),
	FIELD("owner.status", imds_owner, status),
	FIELD("owner.cgroup", imds_owner, cgroup),
	FIELD("owner.argv", imds_owner, argv),
	FIELD("owner.executable", imds_owner, executable),
	{ "owner.size", sizeof(struct imds_owner), 0 },
	FIELD("socket.cookie", imds_socket, cookie),
	FIELD("socket.inode", imds_socket, inode),
	{ "socket.size", sizeof(struct imds_socket), 0 },
	{ "span.offset", offsetof(struct imds_span, offset), 2 },
	{ "span.length", offsetof(struct imds_span, length), 2 },
	{ "spanWide.offset", offsetof(struct imds_span_wide, offset), 4 },
	{ "spanWide.length", offsetof(struct imds_span_wide, length), 4 },
};

static const struct {
	const char *name;
	unsigned long value;
} constants[] = {
	{ "recordConnect", IMDS_RECORD_CONNECT },
	{ "recordProcess", IMDS_RECORD_PROCESS },
	{ "recordPacket", IMDS_RECORD_PACKET },
	{ "recordHead", IMDS_RECORD_HEAD },
	{ "recordExchange", IMDS_RECORD_EXCHANGE },
	{ "recordPassed", IMDS_RECORD_PASSED },
	{ "recordTime", IMDS_RECORD_TIME },
	{ "flagArgvTruncated", IMDS_FLAG_ARGV_TRUNCATED },
	{ "flagEgress", IMDS_FLAG_EGRESS },
	{ "ancestors", IMDS_ANCESTORS },
	{ "recordMax", IMDS_RECORD_MAX },
	{ "maxEndpoints", IMDS_MAX_ENDPOINTS },
	{ "heads", IMDS_HEADS },
	{ "exchangeBody", IMDS_EXCHANGE_BODY },
	{ "sweepMs", IMDS_SWEEP_MS },
	{ "reorderMs", IMDS_REORDER_MS },
	{ "lingerMs", IMDS_LINGER_MS },
	{ "exchangeMs", IMDS_EXCHANGE_MS },
	{ "passed", IMDS_PASSED },
	{ "tableFlows", IMDS_TABLE_FLOWS },
	{ "socketNone", IMDS_SOCKET_NONE },
	{ "socketGone", IMDS_SOCKET_GONE },
	{ "socketFound", IMDS_SOCKET_FOUND },
	{ "error:argument", IMDS_ERROR_ARGUMENT },
	{ "error:permission", IMDS_ERROR_PERMISSION },
	{ "error:noBpf", IMDS_ERROR_NO_BPF },
	{ "error:noCgroup2", IMDS_ERROR_NO_CGROUP2 },
	{ "error:verifier", IMDS_ERROR_VERIFIER },
	{ "error:attach", IMDS_ERROR_ATTACH },
	{ "error:selfTest", IMDS_ERROR_SELF_TEST },
	{ "error:memlock", IMDS_ERROR_MEMLOCK },
	{ "error:system", IMDS_ERROR_SYSTEM },
	{ "error:interface", IMDS_ERROR_INTERFACE },
	{ "error:pcap", IMDS_ERROR_PCAP },
	{ "error:file", IMDS_ERROR_FILE },
	{ "error:format", IMDS_ERROR_FORMAT },
	{ "error:linkType", IMDS_ERROR_LINK_TYPE },
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static char layout_text[COUNT_OF(fields) * 64 + COUNT_OF(constants) * 64];

static void write_layout(void)
{
	size_t used = 0;

	for (size_t i = 0; i < COUNT_OF(fields); i++)
		used += (size_t)snprintf(layout_text + used, sizeof(layout_text) - used, "%s %zu %zu\n", fields[i].name,
					 fields[i].offset, fields[i].size);
	for (size_t i = 0; i < COUNT_OF(constants); i++)
		used += (size_t)snprintf(layout_text + used, sizeof(layout_text) - used, "%s %lu\n", constants[i].name,
					 constants[i].value);
}

const char *imds_layout(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, write_layout);
	return layout_text;
}
