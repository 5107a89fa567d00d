// SPDX-License-Identifier: Apache-2.0
/* The eBPF source: opening it, best variant first, and its counters. */
#include "ebpf.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "address.h"
#include "ring_reader.h"

/* Of records that wait for TypeScript: some 40,000 connections with a request each. */
#define QUEUE_BYTES (64 * 1024 * 1024)

struct ebpf_source {
	struct imds_loaded loaded;
	struct imds_ring_reader *reader;
	struct imds_endpoint *endpoints; /* that are watched */
	uint32_t endpoint_count;
	uint32_t ring_bytes;
	struct imds_filter filter;
	int cpus;
	struct imds_counters *per_cpu; /* room to read a slot of all CPUs into */
};

/* ---- as a source ------------------------------------------------------------------------------------------------ */

static int source_next(void *state, struct imds_batch *batch, int wake_fd, int timeout_ms)
{
	struct ebpf_source *source = state;

	return imds_ring_reader_next(source->reader, batch, wake_fd, timeout_ms);
}

static int read_counters(struct ebpf_source *source, struct imds_stats *stats)
{
	uint32_t slot = IMDS_SLOT_PUBLIC;

	memset(stats, 0, sizeof(*stats));
	if (bpf_map_lookup_elem(source->loaded.counters_fd, &slot, source->per_cpu))
		return -errno;
	for (int cpu = 0; cpu < source->cpus; cpu++) {
		const struct imds_counters *counters = &source->per_cpu[cpu];

		stats->packets_seen += counters->packets_seen;
		stats->packets_captured += counters->packets_captured;
		stats->ring_dropped += counters->ring_dropped;
		stats->packets_passed_over += counters->packets_passed_over;
		stats->truncated += counters->truncated;
		stats->connects_seen += counters->connects_seen;
		stats->connects_dropped += counters->connects_dropped;
	}
	return 0;
}

/*
 * Read while packets pass, a packet may be counted as seen and not yet as captured or dropped. Such a reading is taken
 * again; on a host too busy for ten of them the last one stands, off by what is under way.
 */
static void source_stats(void *state, struct imds_stats *stats)
{
	for (int attempt = 0; attempt < 10; attempt++) {
		if (read_counters(state, stats) == 0 &&
		    stats->packets_seen == stats->packets_captured + stats->ring_dropped + stats->packets_passed_over)
			return;
	}
}

static bool is_among(const struct imds_endpoint *endpoint, const struct imds_endpoint *all, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (memcmp(all[i].address, endpoint->address, sizeof(endpoint->address)) == 0 &&
		    all[i].port == endpoint->port)
			return true;
	}
	return false;
}

/* Takes those out of the map that are not among the others. */
static void remove_endpoints(const struct imds_loaded *loaded, const struct imds_endpoint *endpoints, uint32_t count,
			     const struct imds_endpoint *others, uint32_t other_count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct imds_endpoint_key key = { .port = endpoints[i].port };

		memcpy(key.address, endpoints[i].address, sizeof(key.address));
		if (!is_among(&endpoints[i], others, other_count))
			bpf_map_delete_elem(loaded->endpoints_fd, &key);
	}
}

static void source_stop(void *state)
{
	struct ebpf_source *source = state;

	/*
	 * The hooks are detached one after the other, which takes milliseconds: a response would still be seen whose request is
	 * not any more. An endpoint goes from the map at one instant for both directions and all processors.
	 */
	remove_endpoints(&source->loaded, source->endpoints, source->endpoint_count, NULL, 0);
	imds_detach(&source->loaded);
	/* A program that runs on another processor still writes its record. It is an RCU reader, which this waits for. */
	syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	imds_ring_reader_end(source->reader);
}

static void source_free(void *state)
{
	struct ebpf_source *source = state;

	imds_ring_reader_free(source->reader);
	imds_unload(&source->loaded);
	free(source->per_cpu);
	free(source->endpoints);
	free(source);
}

static int source_set_endpoints(void *state, const struct imds_endpoint *endpoints, uint32_t count,
				struct imds_error *error);

static const struct imds_source_kind ebpf_kind = {
	.next = source_next,
	.stats = source_stats,
	.set_endpoints = source_set_endpoints,
	.stop = source_stop,
	.free = source_free,
};

/* ---- opening --------------------------------------------------------------------------------------------------- */

/* Puts the word into the list unless it is in; false where there is no room. */
static bool add_word(uint32_t *list, uint32_t *count, uint32_t word)
{
	for (uint32_t i = 0; i < *count; i++) {
		if (list[i] == word)
			return true;
	}
	if (*count == IMDS_FILTER_ADDRESSES)
		return false;
	list[(*count)++] = word;
	return true;
}

static struct imds_filter make_filter(const struct imds_endpoint *endpoints, uint32_t count, uint16_t self_test_port)
{
	struct imds_filter filter = { .self_test_port = htonl(self_test_port) };
	uint32_t v4_count = 0, v6_count = 0;
	bool all_fit = true;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t last;

		memcpy(&last, endpoints[i].address + 12, sizeof(last));
		all_fit &= imds_is_v4(endpoints[i].address) ? add_word(filter.v4, &v4_count, last) :
							 add_word(filter.v6_tail, &v6_count, last);
	}
	filter.shape = IMDS_FILTER_SHAPE(v4_count, v6_count, !all_fit);
	return filter;
}

static int add_endpoints(const struct imds_loaded *loaded, const struct imds_endpoint *endpoints, uint32_t count,
			 struct imds_error *error)
{
	uint32_t slot = IMDS_SLOT_PUBLIC;

	for (uint32_t i = 0; i < count; i++) {
		struct imds_endpoint_key key = { .port = endpoints[i].port };

		memcpy(key.address, endpoints[i].address, sizeof(key.address));
		if (bpf_map_update_elem(loaded->endpoints_fd, &key, &slot, BPF_ANY))
			return imds_fail(error, IMDS_ERROR_SYSTEM, "writing the endpoint map: %s", strerror(errno));
	}
	return 0;
}

/* What is tried, in this order, until one loads. */
static const struct {
	enum imds_variant variant;
	bool exec;
} attempts[] = {
	{ IMDS_CORE, true },
	{ IMDS_CORE, false },
	{ IMDS_PLAIN, false },
};

static int check_arguments(const struct imds_endpoint *endpoints, uint32_t count, uint32_t ring_bytes,
			   struct imds_error *error)
{
	if (!endpoints || count == 0 || count >= IMDS_MAX_ENDPOINTS)
		return imds_fail(error, IMDS_ERROR_ARGUMENT, "%u endpoints: between 1 and %d can be watched", count,
				 IMDS_MAX_ENDPOINTS - 1);
	for (uint32_t i = 0; i < count; i++) {
		if (endpoints[i].port == 0)
			return imds_fail(error, IMDS_ERROR_ARGUMENT, "an endpoint's port is 0");
	}
	if (ring_bytes & (ring_bytes - 1) || ring_bytes < (uint32_t)sysconf(_SC_PAGESIZE))
		return imds_fail(error, IMDS_ERROR_ARGUMENT,
				 "a ring buffer of %u bytes: it must be a power of two, and at least a page (%ld)", ring_bytes,
				 sysconf(_SC_PAGESIZE));
	return 0;
}

static int check_ring(uint32_t ring_bytes, struct imds_error *error)
{
	int result = imds_try_ring(ring_bytes);

	if (result == -EPERM || result == -EACCES)
		return imds_fail_permission(error, "creating a BPF ring buffer");
	if (result == -ENOSYS)
		return imds_fail(error, IMDS_ERROR_NO_BPF, "this kernel has no bpf(2) system call");
	if (result == -EINVAL)
		return imds_fail(error, IMDS_ERROR_NO_BPF, "this kernel has no BPF ring buffer (Linux 5.8 brought it)");
	if (result)
		return imds_fail(error, IMDS_ERROR_SYSTEM, "creating a BPF ring buffer of %u bytes: %s", ring_bytes,
				 strerror(-result));
	return 0;
}

/* Loads the best variant that loads. `shortfall`: why it is not the best of all, empty otherwise. */
static int load_best(struct imds_loaded *loaded, struct imds_load_request *request, int cgroup_fd, char *shortfall,
		     size_t shortfall_size, struct imds_error *error)
{
	const unsigned int without_exec = (1u << IMDS_HOOKS) - 1 - (1u << IMDS_EXEC);
	int result = -1;

	shortfall[0] = '\0';
	for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
		request->variant = attempts[i].variant;
		request->hooks = without_exec | (attempts[i].exec ? 1u << IMDS_EXEC : 0);
		if (request->variant == IMDS_CORE && !imds_has_btf()) {
			snprintf(shortfall, shortfall_size, "the kernel has no BTF");
			continue;
		}
		result = imds_load(loaded, request, cgroup_fd, error);
		if (!result && loaded->exec_missing[0])
			snprintf(shortfall, shortfall_size, "no %s: %s", imds_hooks[IMDS_EXEC].title,
				 loaded->exec_missing);
		/* Less would load where a program is refused; not where rights, memory or the hooks are missing. */
		if (!result || (error->code != IMDS_ERROR_VERIFIER && error->code != IMDS_ERROR_NO_BPF))
			break;
		snprintf(shortfall, shortfall_size, "%s%s did not load: %.200s", imds_variant_titles[request->variant],
			 attempts[i].exec ? " with the exec tracepoint" : "", error->text);
	}
	return result;
}

static void describe(char *text, size_t size, const struct imds_load_request *request,
		     const struct imds_cgroup_root *root, const char *shortfall)
{
	struct utsname system;

	uname(&system);
	snprintf(text, size, "eBPF on Linux %s at the cgroup hooks (%s), cgroup v2 %s%s%s, ring of %u KiB%s%s%s",
		 system.release, imds_variant_titles[request->variant], root->private_mount ? "mounted privately" : "at ",
		 root->path, root->namespaced ? ", of this cgroup namespace only: processes outside of it are not seen" : "",
		 request->ring_bytes / 1024, shortfall[0] ? " (" : "", shortfall, shortfall[0] ? ")" : "");
}

/* Everything after the programs are attached; on failure the caller unloads them. */
static int start_reading(struct ebpf_source *source, struct imds_error *error)
{
	source->cpus = libbpf_num_possible_cpus();
	if (source->cpus < 1)
		return imds_fail(error, IMDS_ERROR_SYSTEM, "the number of possible CPUs can't be read");
	source->per_cpu = calloc((size_t)source->cpus, sizeof(*source->per_cpu));
	source->reader = imds_ring_reader_new(source->loaded.ring_fd, QUEUE_BYTES);
	if (!source->per_cpu || !source->reader)
		return imds_fail(error, IMDS_ERROR_SYSTEM, "reading the ring buffer: %s", strerror(errno));
	return 0;
}

static struct imds_endpoint *copy_endpoints(const struct imds_endpoint *endpoints, uint32_t count,
					    struct imds_error *error)
{
	struct imds_endpoint *copy = malloc(count * sizeof(*copy));

	if (copy)
		memcpy(copy, endpoints, count * sizeof(*copy));
	else
		imds_fail(error, IMDS_ERROR_SYSTEM, "out of memory");
	return copy;
}

/* First what is more, last what is less: what is watched before and after is watched all the time. */
static int source_set_endpoints(void *state, const struct imds_endpoint *endpoints, uint32_t count,
				struct imds_error *error)
{
	struct ebpf_source *source = state;
	struct imds_endpoint *before = source->endpoints, *kept;
	uint32_t before_count = source->endpoint_count;
	struct imds_filter filter;
	int result;

	if ((result = check_arguments(endpoints, count, source->ring_bytes, error)))
		return result;
	kept = copy_endpoints(endpoints, count, error);
	if (!kept)
		return -IMDS_ERROR_SYSTEM;
	filter = make_filter(endpoints, count, 0);
	filter.self_test_port = source->filter.self_test_port;
	if ((result = add_endpoints(&source->loaded, endpoints, count, error)))
		goto undo;
	if (memcmp(&filter, &source->filter, sizeof(filter)) != 0 &&
	    (result = imds_replace_filter(&source->loaded, source->ring_bytes, &filter, error)))
		goto undo;
	source->filter = filter;
	source->endpoints = kept;
	source->endpoint_count = count;
	remove_endpoints(&source->loaded, before, before_count, endpoints, count);
	free(before);
	return 0;
undo:
	remove_endpoints(&source->loaded, endpoints, count, before, before_count);
	free(kept);
	return result;
}

struct imds_source *imds_open_ebpf(const struct imds_endpoint *endpoints, uint32_t count, uint32_t ring_bytes,
				   struct imds_error *error)
{
	struct imds_load_request request = { .ring_bytes = ring_bytes };
	struct imds_self_test test = { .listener = -1 };
	struct imds_cgroup_root root = { .fd = -1 };
	struct imds_source *opened = NULL;
	struct ebpf_source *source = NULL;
	char shortfall[320], description[1024];
	int result;

	memset(error, 0, sizeof(*error));
	imds_lift_memlock();
	if ((result = check_arguments(endpoints, count, ring_bytes, error)) || (result = check_ring(ring_bytes, error)) ||
	    (result = imds_open_cgroup_root(&root, error)) || (result = imds_self_test_listen(&test, error)))
		goto end;
	source = calloc(1, sizeof(*source));
	if (!source) {
		result = imds_fail(error, IMDS_ERROR_SYSTEM, "out of memory");
		goto end;
	}
	source->endpoints = copy_endpoints(endpoints, count, error);
	source->endpoint_count = count;
	if (!source->endpoints) {
		result = -IMDS_ERROR_SYSTEM;
		goto end;
	}
	request.filter = make_filter(endpoints, count, test.port);
	source->filter = request.filter;
	source->ring_bytes = ring_bytes;
	if ((result = load_best(&source->loaded, &request, root.fd, shortfall, sizeof(shortfall), error)) ||
	    (result = imds_self_test_run(&test, &source->loaded, request.variant, error)) ||
	    (result = start_reading(source, error)) ||
	    /* Last, so that what comes of others comes after the self-test. */
	    (result = add_endpoints(&source->loaded, endpoints, count, error)))
		goto end;
	describe(description, sizeof(description), &request, &root, shortfall);
	opened = imds_source_new(&ebpf_kind, source, description);
	if (!opened)
		result = imds_fail(error, IMDS_ERROR_SYSTEM, "no memory or no file descriptor left: %s", strerror(errno));
end:
	if (result && source)
		source_free(source);
	imds_self_test_end(&test);
	if (root.fd >= 0)
		close(root.fd);
	return opened;
}
