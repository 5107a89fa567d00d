/*
 * Holds something of the kernel's BPF until standard input ends, and says `held` when it has it:
 *
 *   hold_bpf stats    run times of programs are measured (BPF_ENABLE_STATS: the sysctl stays as it is, and the kernel
 *                     stops by itself when the last holder is gone)
 *   hold_bpf empty    programs that do nothing, at cgroup_skb ingress and egress of the root of the cgroup v2 tree
 *
 * Programs that are held show their run time and count in this process's /proc/PID/fdinfo.
 */
#include <linux/bpf.h>
#include <linux/mount.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int bpf(enum bpf_cmd command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static int enable_stats(void)
{
	union bpf_attr attr = { .enable_stats.type = BPF_STATS_RUN_TIME };

	return bpf(BPF_ENABLE_STATS, &attr);
}

/* The tree's root on a mount that no path leads to: the same wherever the host has mounted it, if at all. */
static int cgroup_root(void)
{
	int context = syscall(SYS_fsopen, "cgroup2", 0);

	if (context < 0 || syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return -1;
	return syscall(SYS_fsmount, context, 0, 0);
}

static int attach_empty(int cgroup, enum bpf_attach_type hook)
{
	static const struct bpf_insn go_on[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_CGROUP_SKB,
		.expected_attach_type = hook,
		.insns = (uintptr_t)go_on,
		.insn_cnt = 2,
		.license = (uintptr_t) "GPL",
	};
	union bpf_attr link = { .link_create = { .target_fd = cgroup, .attach_type = hook } };

	link.link_create.prog_fd = bpf(BPF_PROG_LOAD, &load);
	return (int)link.link_create.prog_fd < 0 ? -1 : bpf(BPF_LINK_CREATE, &link);
}

static int attach_both(void)
{
	int cgroup = cgroup_root();

	if (cgroup < 0 || attach_empty(cgroup, BPF_CGROUP_INET_INGRESS) < 0)
		return -1;
	return attach_empty(cgroup, BPF_CGROUP_INET_EGRESS);
}

int main(int argc, char **argv)
{
	const char *what = argc == 2 ? argv[1] : "";
	char byte;
	int held;

	if (strcmp(what, "stats") == 0) {
		held = enable_stats();
	} else if (strcmp(what, "empty") == 0) {
		held = attach_both();
	} else {
		fprintf(stderr, "usage: hold_bpf stats|empty\n");
		return 2;
	}
	if (held < 0) {
		perror(what);
		return 1;
	}
	puts("held");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	return 0;
}
