// SPDX-License-Identifier: Apache-2.0
/* `imds-tracer doctor`: tries each thing that the eBPF source needs, by itself and for real. */
#include "ebpf.h"

#include <bpf/libbpf.h>
#define PCAP_DONT_INCLUDE_PCAP_BPF_H /* has a struct bpf_insn of its own */
#include <pcap/pcap.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#if __has_include(<bpf/libbpf_version.h>)
#include <bpf/libbpf_version.h>
#else /* came with libbpf 0.6 */
#define LIBBPF_MAJOR_VERSION 0
#define LIBBPF_MINOR_VERSION 5
#endif

#define PROBE_RING_BYTES (1u << 16)
#define USUAL_RING_BYTES (8u << 20) /* what src/capture/ring-size.ts takes at most by itself */

struct output {
	char *text;
	size_t capacity;
	size_t used; /* whole lines */
};

/* A JSON string's inside; cut where it does not fit. What is not ASCII passes as it is: errors are in UTF-8. */
static void escape(char *to, size_t size, const char *from)
{
	size_t used = 0;

	for (; *from && used + 7 < size; from++) {
		unsigned char c = (unsigned char)*from;

		if (c == '"' || c == '\\')
			used += (size_t)snprintf(to + used, size - used, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			used += (size_t)snprintf(to + used, size - used, "\\u%04x", c);
		else
			to[used++] = (char)c;
	}
	to[used] = '\0';
}

__attribute__((format(printf, 4, 5))) static void report(struct output *output, const char *check, bool ok,
							 const char *format, ...)
{
	char detail[1100], escaped[4096];
	va_list arguments;
	int length;

	va_start(arguments, format);
	vsnprintf(detail, sizeof(detail), format, arguments);
	va_end(arguments);
	escape(escaped, sizeof(escaped), detail);
	length = snprintf(output->text + output->used, output->capacity - output->used,
			  "{\"check\":\"%s\",\"ok\":%s,\"detail\":\"%s\"}\n", check, ok ? "true" : "false", escaped);
	if (length > 0 && (size_t)length < output->capacity - output->used)
		output->used += (size_t)length;
	else
		output->capacity = output->used; /* full: no later, shorter line after a gap */
}

static void probe_programs(struct output *output, int cgroup_fd)
{
	for (int variant = 0; variant < IMDS_VARIANTS; variant++) {
		for (int hook = 0; hook < IMDS_HOOKS; hook++) {
			struct imds_load_request request = {
				.variant = (enum imds_variant)variant,
				.hooks = 1u << hook,
				.ring_bytes = PROBE_RING_BYTES,
			};
			struct imds_error error = { 0 };
			struct imds_loaded loaded;
			char check[64];

			if (variant == IMDS_PLAIN && imds_hooks[hook].needs_btf)
				continue;
			snprintf(check, sizeof(check), "%s:%s", variant == IMDS_CORE ? "core" : "plain",
				 imds_hooks[hook].title);
			if (imds_load(&loaded, &request, cgroup_fd, &error)) {
				report(output, check, false, "%s", error.text);
				continue;
			}
			if (loaded.exec_missing[0])
				report(output, check, false, "loaded, but not attached: %s", loaded.exec_missing);
			else
				report(output, check, true, "loaded and attached");
			imds_unload(&loaded);
		}
	}
}

uint32_t imds_probe(char *buffer, uint32_t capacity)
{
	struct output output = { .text = buffer, .capacity = capacity };
	struct imds_cgroup_root root;
	struct imds_error error = { 0 };
	uint64_t held = imds_effective_capabilities();
	struct utsname system;
	struct rlimit memlock;
	int ring;

	if (!buffer || capacity == 0)
		return 0;
	buffer[0] = '\0';
	imds_lift_memlock();
	uname(&system);
	report(&output, "kernel", true, "%s %s", system.release, system.machine);
	report(&output, "libbpf", true, "%d.%d, linked statically", LIBBPF_MAJOR_VERSION, LIBBPF_MINOR_VERSION);
	/* What the other source and packet files are read by. */
	report(&output, "libpcap", true, "%s", pcap_lib_version());
	report(&output, "btf", imds_has_btf(), "%s",
	       imds_has_btf() ? "/sys/kernel/btf/vmlinux" : "no /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF)");
	for (unsigned int i = 0; i < imds_capability_count; i++) {
		char check[64];

		snprintf(check, sizeof(check), "capability:%s", imds_capabilities[i].name);
		report(&output, check, held >> imds_capabilities[i].number & 1, "to %s", imds_capabilities[i].purpose);
	}
	if (getrlimit(RLIMIT_MEMLOCK, &memlock) == 0 && memlock.rlim_cur != RLIM_INFINITY)
		/* Counts for BPF before Linux 5.11 only: the proof is in creating a ring of the usual size. */
		report(&output, "memlock", imds_try_ring(USUAL_RING_BYTES) == 0, "%llu bytes",
		       (unsigned long long)memlock.rlim_cur);
	else
		report(&output, "memlock", true, "unlimited");
	ring = imds_try_ring(PROBE_RING_BYTES);
	report(&output, "ring_buffer", ring == 0, "%s", ring == 0 ? "created" : strerror(-ring));
	if (imds_open_cgroup_root(&root, &error)) {
		report(&output, "cgroup2", false, "%s", error.text);
		return (uint32_t)output.used;
	}
	report(&output, "cgroup2", true, "%s%s%s", root.private_mount ? "mounted privately" : "mounted at ", root.path,
	       root.namespaced ? ", of this cgroup namespace only" : "");
	probe_programs(&output, root.fd);
	close(root.fd);
	return (uint32_t)output.used;
}
