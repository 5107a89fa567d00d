// SPDX-License-Identifier: Apache-2.0
/*
 * What a packet of no endpoint costs: the run time of the packet programs, by the kernel's own BPF statistics, against
 * that of an empty program on the same hook, the two alternated. Run in a network namespace of its own, with loopback up.
 * Prints a line of JSON for each hook. Traffic is UDP to 127.0.0.1: nearest to what is watched (the self-test's address).
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ebpf.h"

/* Many short rounds: what else the machine does then falls on both alike. */
#define ROUNDS 101
#define PACKETS 3000

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int load_empty(enum bpf_attach_type type)
{
	struct bpf_insn program[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr;
	int fd;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_CGROUP_SKB;
	attr.expected_attach_type = type;
	attr.insns = (uintptr_t)program;
	attr.insn_cnt = 2;
	attr.license = (uintptr_t)"GPL";
	fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd < 0)
		fail("loading the empty program");
	return fd;
}

/* A cgroup of this process alone, so that only its packets count. */
static int enter_cgroup(char *path, size_t size)
{
	struct imds_cgroup_root root;
	struct imds_error error;
	int group, procs;

	if (imds_open_cgroup_root(&root, &error)) {
		fprintf(stderr, "%s\n", error.text);
		exit(1);
	}
	snprintf(path, size, "imds-miss-%d", (int)getpid());
	if (mkdirat(root.fd, path, 0700) || (group = openat(root.fd, path, O_RDONLY | O_DIRECTORY)) < 0)
		fail("creating a cgroup");
	procs = openat(group, "cgroup.procs", O_WRONLY);
	if (procs < 0 || write(procs, "0", 1) != 1)
		fail("entering the cgroup");
	close(procs);
	return group;
}

static void leave_cgroup(const char *path)
{
	struct imds_cgroup_root root;
	struct imds_error error;
	int procs;

	if (imds_open_cgroup_root(&root, &error))
		return;
	procs = openat(root.fd, "cgroup.procs", O_WRONLY);
	if (procs < 0 || write(procs, "0", 1) != 1 || unlinkat(root.fd, path, AT_REMOVEDIR))
		fail("leaving the cgroup");
}

static void run_statistics(int program, double *ns, double *runs)
{
	struct bpf_prog_info info;
	__u32 size = sizeof(info);

	memset(&info, 0, sizeof(info));
	if (bpf_obj_get_info_by_fd(program, &info, &size))
		fail("reading program statistics");
	*ns = (double)info.run_time_ns;
	*runs = (double)info.run_cnt;
}

/* Mean nanoseconds of one run of the program over PACKETS packets. */
static double measure(int program, int cgroup, enum bpf_attach_type type, int from, int to)
{
	int link = bpf_link_create(program, cgroup, type, NULL);
	double ns_before, ns_after, runs_before, runs_after;
	char byte;

	if (link < 0)
		fail("attaching");
	run_statistics(program, &ns_before, &runs_before);
	for (int i = 0; i < PACKETS; i++) {
		if (send(from, "x", 1, 0) != 1 || recv(to, &byte, 1, 0) != 1)
			fail("sending over loopback");
	}
	run_statistics(program, &ns_after, &runs_after);
	close(link);
	if (runs_after - runs_before < PACKETS)
		fail("the program did not run for every packet");
	return (ns_after - ns_before) / (runs_after - runs_before);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values)
{
	qsort(values, ROUNDS, sizeof(*values), compare);
	return values[ROUNDS / 2];
}

static int udp_socket(struct sockaddr_in *address)
{
	socklen_t length = sizeof(*address);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	*address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	if (fd < 0 || bind(fd, (struct sockaddr *)address, length) || getsockname(fd, (struct sockaddr *)address, &length))
		fail("binding to loopback");
	return fd;
}

int main(void)
{
	static const struct {
		enum imds_hook hook;
		enum bpf_attach_type type;
	} hooks[] = { { IMDS_EGRESS, BPF_CGROUP_INET_EGRESS }, { IMDS_INGRESS, BPF_CGROUP_INET_INGRESS } };
	struct imds_load_request request = {
		.variant = IMDS_CORE,
		.hooks = 1u << IMDS_EGRESS | 1u << IMDS_INGRESS,
		.ring_bytes = 1 << 16,
		.filter = { .shape = IMDS_FILTER_SHAPE(1, 0, 0), .self_test_port = htonl(1) },
	};
	struct sockaddr_in here, there;
	struct imds_loaded loaded;
	struct imds_error error;
	char path[64];
	int group = enter_cgroup(path, sizeof(path)), from, to;

	request.filter.v4[0] = inet_addr("100.100.100.200");
	imds_lift_memlock();
	if (imds_load(&loaded, &request, group, &error)) {
		fprintf(stderr, "%s\n", error.text);
		return 1;
	}
	imds_detach(&loaded);
	if (bpf_enable_stats(BPF_STATS_RUN_TIME) < 0)
		fail("enabling BPF statistics");
	/* Made in the cgroup, whose programs they are subject to; connected, so that they have a remote address. */
	from = udp_socket(&here);
	to = udp_socket(&there);
	if (connect(from, (struct sockaddr *)&there, sizeof(there)) || connect(to, (struct sockaddr *)&here, sizeof(here)))
		fail("connecting over loopback");
	for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++) {
		const struct imds_hook_info *hook = &imds_hooks[hooks[i].hook];
		int ours = bpf_program__fd(bpf_object__find_program_by_name(loaded.object, hook->program));
		int empty = load_empty(hooks[i].type);
		double of_ours[ROUNDS], of_empty[ROUNDS], ratio[ROUNDS];

		measure(empty, group, hooks[i].type, from, to); /* warms up */
		measure(ours, group, hooks[i].type, from, to);
		for (int round = 0; round < ROUNDS; round++) {
			for (int turn = 0; turn < 2; turn++) {
				bool is_ours = (turn + round) % 2;

				(is_ours ? of_ours : of_empty)[round] =
					measure(is_ours ? ours : empty, group, hooks[i].type, from, to);
			}
			ratio[round] = of_ours[round] / of_empty[round];
		}
		printf("{\"hook\":\"%s\",\"empty_ns\":%.1f,\"miss_ns\":%.1f,\"ratio\":%.3f}\n", hook->title, median(of_empty),
		       median(of_ours), median(ratio));
	}
	imds_unload(&loaded);
	close(group);
	leave_cgroup(path);
	return 0;
}
