// SPDX-License-Identifier: Apache-2.0
/* What this host and this process bring along for eBPF: the cgroup v2 tree, BTF, capabilities, limits. */
#include "ebpf.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

const struct imds_capability imds_capabilities[] = {
	{ "CAP_BPF", 39, "load programs and maps" },
	{ "CAP_NET_ADMIN", 12, "attach to the cgroup hooks" },
	{ "CAP_PERFMON", 38, "read the connecting process" },
	{ "CAP_SYS_PTRACE", 19, "find the owner of an older connection in /proc" },
	{ "CAP_DAC_READ_SEARCH", 2, "read other users' /proc entries" },
};
const unsigned int imds_capability_count = sizeof(imds_capabilities) / sizeof(imds_capabilities[0]);

#define CAP_SYS_ADMIN 21 /* includes CAP_BPF and CAP_PERFMON (capabilities(7)) */
#define NEEDED_FOR_BPF 3 /* the first ones above */

bool imds_has_btf(void)
{
	return access("/sys/kernel/btf/vmlinux", R_OK) == 0;
}

/* In mountinfo, space, tab, newline and backslash of a path are \ooo (proc(5)). */
static void decode_octal(char *text)
{
	char *to = text;

	while (*text) {
		if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' && text[2] <= '7' &&
		    text[3] >= '0' && text[3] <= '7') {
			*to++ = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
			text += 4;
		} else {
			*to++ = *text++;
		}
	}
	*to = '\0';
}

/* Every cgroup but the tree's root has this file. */
static bool is_tree_root(int fd)
{
	return faccessat(fd, "cgroup.type", F_OK, 0) != 0 && errno == ENOENT;
}

/*
 * The root of the tree wherever it is mounted, else that of this process's cgroup namespace. In a container /sys/fs/cgroup is the
 * latter; the host's, where it was mounted as well, has a root of "/../.." there (cgroup_namespaces(7)).
 */
static int open_mounted(struct imds_cgroup_root *root)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t size = 0;
	int found = -1;
	bool whole = false;

	if (!mounts)
		return -1;
	while (!whole && getline(&line, &size, mounts) > 0) {
		char *words[5], *rest = line, *type;
		int n = 0, fd;

		/* id parent major:minor root mountpoint options … - type source options */
		while (n < 5 && (words[n] = strsep(&rest, " ")))
			n++;
		if (n < 5 || !rest)
			continue;
		type = strstr(rest, " - ");
		if (!type || strncmp(type + 3, "cgroup2 ", 8) != 0)
			continue;
		decode_octal(words[4]);
		fd = open(words[4], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			continue;
		whole = is_tree_root(fd);
		if (!whole && (found >= 0 || strcmp(words[3], "/") != 0)) {
			close(fd);
			continue;
		}
		if (found >= 0)
			close(found);
		found = fd;
		snprintf(root->path, sizeof(root->path), "%s", words[4]);
	}
	free(line);
	fclose(mounts);
	return found;
}

/* A mount of the one cgroup v2 tree that has no place in any mount namespace and ends with its file descriptor. */
static int open_private(void)
{
	int context = (int)syscall(SYS_fsopen, "cgroup2", FSOPEN_CLOEXEC), mount = -1, fd = -1, failure;

	if (context < 0)
		return -1;
	if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		mount = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
	if (mount >= 0)
		fd = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	failure = errno;
	if (mount >= 0)
		close(mount);
	close(context);
	errno = failure;
	return fd;
}

int imds_open_cgroup_root(struct imds_cgroup_root *root, struct imds_error *error)
{
	memset(root, 0, sizeof(*root));
	root->fd = open_mounted(root);
	if (root->fd < 0) {
		root->fd = open_private();
		root->private_mount = true;
	}
	if (root->fd < 0 && (errno == EPERM || errno == EACCES))
		return imds_fail(error, IMDS_ERROR_PERMISSION,
				 "no cgroup v2 tree is mounted here, and mounting it privately needs CAP_SYS_ADMIN");
	if (root->fd < 0)
		return imds_fail(error, IMDS_ERROR_NO_CGROUP2, "no cgroup v2 tree is mounted and mounting one failed: %s",
				 strerror(errno));
	root->namespaced = !is_tree_root(root->fd);
	return 0;
}

uint64_t imds_effective_capabilities(void)
{
	FILE *status = fopen("/proc/self/status", "re");
	char line[256];
	unsigned long long held = 0;

	if (!status)
		return 0;
	while (fgets(line, sizeof(line), status)) {
		if (sscanf(line, "CapEff: %llx", &held) == 1)
			break;
	}
	fclose(status);
	return held;
}

void imds_lift_memlock(void)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

	if (setrlimit(RLIMIT_MEMLOCK, &limit) == 0 || getrlimit(RLIMIT_MEMLOCK, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_MEMLOCK, &limit);
}

/* By the system call itself: libbpf's function for it changed its name between the versions that are to work. */
static int try_map(enum bpf_map_type type, uint32_t key, uint32_t value, uint32_t entries)
{
	union bpf_attr attr;
	int fd;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = type;
	attr.key_size = key;
	attr.value_size = value;
	attr.max_entries = entries;
	fd = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

int imds_try_ring(uint32_t bytes)
{
	return try_map(BPF_MAP_TYPE_RINGBUF, 0, 0, bytes);
}

static bool in_user_namespace(void)
{
	FILE *map = fopen("/proc/self/uid_map", "re");
	unsigned int inside = 1, outside = 1, count = 0;
	bool whole = map && fscanf(map, "%u %u %u", &inside, &outside, &count) == 3 && inside == 0 && outside == 0 &&
		     count == UINT32_MAX;

	if (map)
		fclose(map);
	return !whole;
}

int imds_fail_permission(struct imds_error *error, const char *what)
{
	uint64_t held = imds_effective_capabilities();
	char missing[128] = "";
	size_t used = 0;
	struct rlimit memlock;

	for (unsigned int i = 0; i < NEEDED_FOR_BPF; i++) {
		int number = imds_capabilities[i].number;
		bool by_admin = number != 12 && (held >> CAP_SYS_ADMIN & 1);

		if (!(held >> number & 1) && !by_admin)
			used += (size_t)snprintf(missing + used, sizeof(missing) - used, "%s%s", used ? ", " : "",
						 imds_capabilities[i].name);
	}
	if (used)
		return imds_fail(error, IMDS_ERROR_PERMISSION, "%s: this process lacks %s", what, missing);
	if (in_user_namespace())
		return imds_fail(error, IMDS_ERROR_PERMISSION,
				 "%s: this process is in a user namespace, where its capabilities don't count for BPF", what);
	if (getrlimit(RLIMIT_MEMLOCK, &memlock) == 0 && memlock.rlim_cur != RLIM_INFINITY &&
	    try_map(BPF_MAP_TYPE_ARRAY, 4, 4, 1) == 0)
		return imds_fail(error, IMDS_ERROR_MEMLOCK,
				 "%s: more memory than RLIMIT_MEMLOCK (%llu bytes) allows this process to lock", what,
				 (unsigned long long)memlock.rlim_cur);
	return imds_fail(error, IMDS_ERROR_PERMISSION,
			 "%s: refused although the capabilities are there (kernel lockdown, seccomp, or an LSM's policy)",
			 what);
}
