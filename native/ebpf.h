/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the eBPF source are to one another: the host's facts, loading, the self-test. */
#ifndef IMDS_EBPF_H
#define IMDS_EBPF_H

#include <stdbool.h>

#include "source.h"

struct bpf_link;
struct bpf_object;

/* The programs of imds.bpf.c, in the order in which they are attached. */
enum imds_hook { IMDS_CONNECT4, IMDS_CONNECT6, IMDS_EGRESS, IMDS_INGRESS, IMDS_EXEC, IMDS_HOOKS };

extern const struct imds_hook_info {
	const char *program; /* function in imds.bpf.c */
	const char *title; /* as the kernel calls the hook */
	bool needs_btf;
	bool optional;
} imds_hooks[IMDS_HOOKS];

/* The two ways in which imds.bpf.c is compiled. */
enum imds_variant { IMDS_CORE, IMDS_PLAIN, IMDS_VARIANTS };
extern const char *const imds_variant_titles[IMDS_VARIANTS];

/* ebpf_host.c ---------------------------------------------------------------------------------------------------- */

struct imds_cgroup_root {
	int fd; /* of the root of the cgroup v2 tree */
	bool private_mount; /* mounted for this process only, on no path */
	bool namespaced; /* of a cgroup namespace: processes outside of it are not seen */
	char path[256]; /* where it is mounted; empty if private */
};

/* 0, or -IMDS_ERROR_NO_CGROUP2 / -IMDS_ERROR_PERMISSION with `error` filled. */
int imds_open_cgroup_root(struct imds_cgroup_root *root, struct imds_error *error);

bool imds_has_btf(void);

struct imds_capability {
	const char *name;
	int number;
	const char *purpose;
};
extern const struct imds_capability imds_capabilities[];
extern const unsigned int imds_capability_count;

/* The effective capabilities of this process, a bit each. */
uint64_t imds_effective_capabilities(void);

/* Lifts RLIMIT_MEMLOCK, to which kernels before 5.11 charge maps, as far as it may be lifted. */
void imds_lift_memlock(void);

/* Creates and drops a ring buffer of `bytes`: 0 or -errno. */
int imds_try_ring(uint32_t bytes);

/* What EPERM or EACCES from bpf(2) means here: a missing capability, the memory lock limit, or neither. */
int imds_fail_permission(struct imds_error *error, const char *what);

/* ebpf_load.c ---------------------------------------------------------------------------------------------------- */

struct imds_loaded {
	struct bpf_object *object;
	struct bpf_link *links[IMDS_HOOKS];
	int endpoints_fd;
	int counters_fd;
	int ring_fd;
	char exec_missing[128]; /* why the exec tracepoint is not attached; empty if it is, or was not asked for */
};

struct imds_load_request {
	enum imds_variant variant;
	unsigned int hooks; /* a bit for each enum imds_hook */
	uint32_t ring_bytes;
	struct imds_filter filter;
};

/* Opens, loads and attaches. 0, or the negative code of `error`, with nothing left behind. */
int imds_load(struct imds_loaded *loaded, const struct imds_load_request *request, int cgroup_fd,
	      struct imds_error *error);
/*
 * Puts another filter in place of the one of a loaded and attached object: each program by one of the same code, between
 * two packets. 0, or the negative code of `error` with the filter as it was.
 */
int imds_replace_filter(struct imds_loaded *loaded, uint32_t ring_bytes, const struct imds_filter *filter,
			struct imds_error *error);
void imds_detach(struct imds_loaded *loaded);
void imds_unload(struct imds_loaded *loaded);

/* ebpf_selftest.c ------------------------------------------------------------------------------------------------ */

struct imds_self_test {
	int listener;
	uint16_t port; /* on 127.0.0.1 */
};

/* A listener on loopback in this network namespace, before loading: its port becomes a constant of the program. */
int imds_self_test_listen(struct imds_self_test *test, struct imds_error *error);

/* Connects to it, and waits until the connection has come through every hook. Takes its endpoint out again. */
int imds_self_test_run(struct imds_self_test *test, const struct imds_loaded *loaded, enum imds_variant variant,
		       struct imds_error *error);
void imds_self_test_end(struct imds_self_test *test);

#endif
