// SPDX-License-Identifier: Apache-2.0
/* Opens, loads and attaches the kernel programs with libbpf (0.5 and later), and says precisely what refused. */
#include "ebpf.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct imds_hook_info imds_hooks[IMDS_HOOKS] = {
	[IMDS_CONNECT4] = { "on_connect4", "cgroup/connect4", false, false },
	[IMDS_CONNECT6] = { "on_connect6", "cgroup/connect6", false, false },
	[IMDS_EGRESS] = { "on_egress", "cgroup_skb/egress", false, false },
	[IMDS_INGRESS] = { "on_ingress", "cgroup_skb/ingress", false, false },
	[IMDS_EXEC] = { "on_exec", "tp_btf/sched_process_exec", true, true },
};

const char *const imds_variant_titles[IMDS_VARIANTS] = {
	[IMDS_CORE] = "CO-RE",
	[IMDS_PLAIN] = "without CO-RE",
};

extern const unsigned char imds_object_core[], imds_object_core_end[], imds_object_plain[], imds_object_plain_end[];

/*
 * libbpf hands its messages, and the verifier's log within them, to one function of the whole process: only the end is
 * kept, as that is where a verifier says what it refuses. Under load_lock.
 */
static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_tail[640];
static bool log_from_verifier;

static void keep_tail(const char *text, size_t length)
{
	size_t kept = strlen(log_tail), room = sizeof(log_tail) - 1;

	if (length > room) {
		text += length - room;
		length = room;
	}
	if (kept + length > room) {
		size_t drop = kept + length - room;

		memmove(log_tail, log_tail + drop, kept - drop + 1);
		kept -= drop;
	}
	memcpy(log_tail + kept, text, length);
	log_tail[kept + length] = '\0';
}

static int on_message(enum libbpf_print_level level, const char *format, va_list arguments)
{
	char *text = NULL;
	int length;

	if (level == LIBBPF_DEBUG)
		return 0;
	length = vasprintf(&text, format, arguments);
	if (length < 0)
		return 0;
	/* "-- BEGIN DUMP LOG ---" before libbpf 0.7, "-- BEGIN PROG LOAD LOG --" since. */
	if (strstr(text, "-- BEGIN "))
		log_from_verifier = true;
	keep_tail(text, (size_t)length);
	free(text);
	return 0;
}

static struct bpf_map *find_map(struct bpf_object *object, const char *name)
{
	struct bpf_map *map;
	size_t length = strlen(name);

	/* By the end of the name: that of .rodata begins with some of the object's name, and how much has changed. */
	bpf_object__for_each_map(map, object) {
		size_t all = strlen(bpf_map__name(map));

		if (all >= length && strcmp(bpf_map__name(map) + all - length, name) == 0)
			return map;
	}
	return NULL;
}

static int open_object(struct imds_loaded *loaded, const struct imds_load_request *request)
{
	const unsigned char *start = request->variant == IMDS_CORE ? imds_object_core : imds_object_plain;
	const unsigned char *end = request->variant == IMDS_CORE ? imds_object_core_end : imds_object_plain_end;
	struct bpf_object_open_opts options = { .sz = sizeof(options), .object_name = "imds_tracer" };
	struct bpf_map *rodata;
	long failure;
	int result;

	loaded->object = bpf_object__open_mem(start, (size_t)(end - start), &options);
	failure = libbpf_get_error(loaded->object);
	if (failure) {
		loaded->object = NULL;
		return (int)failure;
	}
	for (int i = 0; i < IMDS_HOOKS; i++) {
		struct bpf_program *program =
			bpf_object__find_program_by_name(loaded->object, imds_hooks[i].program);

		if (program && !(request->hooks & 1u << i))
			bpf_program__set_autoload(program, false);
	}
	result = bpf_map__set_max_entries(find_map(loaded->object, "ring"), request->ring_bytes);
	rodata = find_map(loaded->object, ".rodata");
	/* `filter` is all that is in .rodata; of another size, this fails. */
	if (!result)
		result = bpf_map__set_initial_value(rodata, &request->filter, sizeof(request->filter));
	return result;
}

static int fail_load(struct imds_error *error, const struct imds_load_request *request, int failure)
{
	char what[64];

	snprintf(what, sizeof(what), "loading the programs (%s)", imds_variant_titles[request->variant]);
	if (log_from_verifier)
		return imds_fail(error, IMDS_ERROR_VERIFIER, "%s: the kernel's verifier refused: %s: …%s", what,
				 strerror(-failure), log_tail);
	if (failure == -EPERM || failure == -EACCES)
		return imds_fail_permission(error, what);
	if (failure == -ENOMEM || failure == -EMFILE || failure == -ENFILE || failure == -EAGAIN)
		return imds_fail(error, IMDS_ERROR_SYSTEM, "%s: %s", what, strerror(-failure));
	return imds_fail(error, IMDS_ERROR_NO_BPF, "%s: %s: %s", what, strerror(-failure), log_tail);
}

static int attach(struct imds_loaded *loaded, const struct imds_load_request *request, int cgroup_fd,
		  struct imds_error *error)
{
	for (int i = 0; i < IMDS_HOOKS; i++) {
		const struct imds_hook_info *hook = &imds_hooks[i];
		struct bpf_program *program = bpf_object__find_program_by_name(loaded->object, hook->program);
		long failure;

		if (!(request->hooks & 1u << i) || !program)
			continue;
		loaded->links[i] = hook->needs_btf ? bpf_program__attach(program) :
						     bpf_program__attach_cgroup(program, cgroup_fd);
		failure = libbpf_get_error(loaded->links[i]);
		if (!failure)
			continue;
		loaded->links[i] = NULL;
		if (hook->optional) {
			snprintf(loaded->exec_missing, sizeof(loaded->exec_missing), "%s", strerror((int)-failure));
			continue;
		}
		return imds_fail(error, failure == -EPERM ? IMDS_ERROR_PERMISSION : IMDS_ERROR_ATTACH,
				 "attaching %s to the root of the cgroup v2 tree: %s%s", hook->title,
				 strerror((int)-failure),
				 failure == -EPERM ?
					 " (CAP_NET_ADMIN is missing, or a program that tolerates no other is attached there)" :
					 "");
	}
	return 0;
}

struct load_guard {
	libbpf_print_fn_t previous;
	sigset_t before;
};

static void begin_load(struct load_guard *guard)
{
	sigset_t all;

	pthread_mutex_lock(&load_lock);
	/* The verifier gives up with EAGAIN when a signal arrives, and libbpf after five tries: a profiler's signals never stop. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &guard->before);
	guard->previous = libbpf_set_print(on_message);
	log_tail[0] = '\0';
	log_from_verifier = false;
}

static void end_load(const struct load_guard *guard)
{
	libbpf_set_print(guard->previous);
	pthread_sigmask(SIG_SETMASK, &guard->before, NULL);
	pthread_mutex_unlock(&load_lock);
}

int imds_load(struct imds_loaded *loaded, const struct imds_load_request *request, int cgroup_fd,
	      struct imds_error *error)
{
	struct load_guard guard;
	int result;

	memset(loaded, 0, sizeof(*loaded));
	begin_load(&guard);
	result = open_object(loaded, request);
	if (!result)
		result = bpf_object__load(loaded->object);
	if (result)
		result = fail_load(error, request, result);
	else
		result = attach(loaded, request, cgroup_fd, error);
	if (!result) {
		loaded->endpoints_fd = bpf_map__fd(find_map(loaded->object, "endpoints"));
		loaded->counters_fd = bpf_map__fd(find_map(loaded->object, "counters"));
		loaded->ring_fd = bpf_map__fd(find_map(loaded->object, "ring"));
	} else {
		imds_unload(loaded);
	}
	end_load(&guard);
	return result;
}

/* The hooks that the filter stands in front of. */
static const enum imds_hook packet_hooks[] = { IMDS_EGRESS, IMDS_INGRESS };

/* The maps are those of the object that is attached. */
static int share_maps(struct bpf_object *object, const struct imds_loaded *with)
{
	int result = bpf_map__reuse_fd(find_map(object, "endpoints"), with->endpoints_fd);

	if (!result)
		result = bpf_map__reuse_fd(find_map(object, "counters"), with->counters_fd);
	if (!result)
		result = bpf_map__reuse_fd(find_map(object, "ring"), with->ring_fd);
	return result;
}

/* bpf(2) BPF_LINK_UPDATE: atomic, no packet passes without a program. */
static int take_programs(struct imds_loaded *loaded, struct bpf_object *from, size_t count)
{
	int result = 0;

	for (size_t i = 0; i < count && !result; i++) {
		const enum imds_hook hook = packet_hooks[i];

		result = bpf_link__update_program(loaded->links[hook],
						  bpf_object__find_program_by_name(from, imds_hooks[hook].program));
	}
	return result;
}

int imds_replace_filter(struct imds_loaded *loaded, uint32_t ring_bytes, const struct imds_filter *filter,
			struct imds_error *error)
{
	const size_t count = sizeof(packet_hooks) / sizeof(packet_hooks[0]);
	/* Without CO-RE these programs are the same, and the kernel's BTF need not be read. */
	struct imds_load_request request = { .variant = IMDS_PLAIN, .ring_bytes = ring_bytes, .filter = *filter };
	struct imds_loaded fresh = { 0 };
	struct load_guard guard;
	int result;

	for (size_t i = 0; i < count; i++)
		request.hooks |= 1u << packet_hooks[i];
	begin_load(&guard);
	result = open_object(&fresh, &request);
	if (!result)
		result = share_maps(fresh.object, loaded);
	if (!result)
		result = bpf_object__load(fresh.object);
	if (result) {
		result = fail_load(error, &request, result);
	} else if ((result = take_programs(loaded, fresh.object, count))) {
		take_programs(loaded, loaded->object, count);
		result = imds_fail(error, IMDS_ERROR_ATTACH, "replacing the programs of the packets: %s", strerror(-result));
	}
	/* The links keep what they use. */
	bpf_object__close(fresh.object);
	end_load(&guard);
	return result;
}

void imds_detach(struct imds_loaded *loaded)
{
	for (int i = 0; i < IMDS_HOOKS; i++) {
		bpf_link__destroy(loaded->links[i]);
		loaded->links[i] = NULL;
	}
}

void imds_unload(struct imds_loaded *loaded)
{
	imds_detach(loaded);
	bpf_object__close(loaded->object);
	loaded->object = NULL;
}
