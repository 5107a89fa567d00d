// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * The kernel side of the eBPF source: who connects to a metadata endpoint (cgroup/connect4, connect6), the packets of
 * those connections (cgroup_skb), and the argv of processes since their exec (tp_btf/sched_process_exec).
 *
 * Compiled twice: as it stands, and with IMDS_NO_CORE for kernels without BTF, where only what helpers tell is known.
 * It loads on 5.10 and later. None of the hooks ever refuses anything: all return "go on".
 */
#include <stddef.h>
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "record.h"

#define GO_ON 1
#define AF_INET 2
#define AF_INET6 10
#define INADDR_LOOPBACK 0x7f000001
#define SOCK_STREAM 1
#define IPPROTO_TCP 6
#define TCP_FLAGS 13
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04

/* Keeps clang from folding away a mask that an older verifier needs to see right before the access. */
#define opaque(var) asm volatile("" : "+r"(var))

/* The kernel must see a GPL-compatible licence for its tracing helpers; the choice of licence is in the first line. */
char _license[] SEC("license") = "GPL";

/* Set by the loader before loading; the verifier treats it as constants. */
const volatile struct imds_filter filter = {};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, IMDS_MAX_ENDPOINTS);
	__type(key, struct imds_endpoint_key);
	__type(value, __u32);
} endpoints SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, IMDS_SLOTS);
	__type(key, __u32);
	__type(value, struct imds_counters);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 23); /* the loader sets the size */
} ring SEC(".maps");

/* Atomic although per CPU: a soft interrupt may run the ingress program in the middle of the egress one. */
#define COUNT(counter) __sync_fetch_and_add(&(counter), 1)

static __always_inline void begin(struct imds_header *header, __u16 type, __u32 slot)
{
	header->type = type;
	header->flags = slot == IMDS_SLOT_SELF_TEST ? IMDS_FLAG_SELF_TEST : 0;
	header->time_ns = bpf_ktime_get_boot_ns();
}

static __always_inline __u32 round_up_8(__u32 length)
{
	return (length + 7) & ~7u;
}

static __always_inline void map_v4(__u32 *words, __u32 v4)
{
	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = v4;
}

/* ------------------------------------------------------------------------------------------------------------------
 * Who connects
 */

#ifndef IMDS_NO_CORE

/* The few kernel fields that are read. libbpf finds their offsets in the running kernel's BTF. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct qstr {
	__u32 len;
	const unsigned char *name;
};
struct hlist_bl_node {
	void *pprev;
};
struct dentry {
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
};
struct vfsmount {
	struct dentry *mnt_root;
};
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};
struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};
struct file {
	struct path f_path;
};
struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
	struct file *exe_file;
};
struct kernfs_node {
	struct kernfs_node *parent;
	const char *name;
};
struct kernfs_node___renamed { /* 6.15, "kernfs: Use RCU to access kernfs_node::parent" */
	struct kernfs_node *__parent;
};
struct cgroup_root;
struct cgroup {
	struct kernfs_node *kn;
	struct cgroup_root *root;
};
struct cgroup_subsys_state {
	struct cgroup *cgroup;
};
struct css_set {
	struct cgroup_subsys_state *subsys[1];
	struct cgroup *dfl_cgrp;
};
struct ns_common {
	unsigned int inum;
};
struct net {
	struct ns_common ns;
};
struct nsproxy {
	struct net *net_ns;
};
struct task_struct {
	int tgid;
	__u64 start_boottime;
	char comm[16];
	struct task_struct *group_leader;
	struct task_struct *real_parent;
	struct mm_struct *mm;
	struct css_set *cgroups;
	struct nsproxy *nsproxy;
};
struct task_struct___renamed { /* 5.5, "time: Rename tsk->real_start_time to ->start_boottime" */
	__u64 real_start_time;
};

#pragma clang attribute pop

enum cgroup_subsys_id { pids_cgrp_id = 1, memory_cgrp_id = 2 }; /* values by CO-RE */

/* Deeper paths exist only to be deep; what is below this depth is kept. */
#define PATH_DEPTH 48
#define CGROUP_DEPTH 24

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, IMDS_MAX_EXECS);
	__type(key, __u32); /* thread group */
	__type(value, struct imds_exec);
} execs SEC(".maps");

/* What an entry starts as. Never written; a map, for .rodata holds `filter` alone (ebpf_load.c sets it as a whole). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct imds_exec);
} no_exec SEC(".maps");

static __always_inline __u64 start_boot_ns(struct task_struct *leader)
{
	struct task_struct___renamed *older = (void *)leader;

	if (bpf_core_field_exists(leader->start_boottime))
		return BPF_CORE_READ(leader, start_boottime);
	return BPF_CORE_READ(older, real_start_time);
}

static __always_inline void describe(struct imds_process *process, struct task_struct *leader, __u32 pid)
{
	process->start_boot_ns = start_boot_ns(leader);
	process->pid = pid;
	process->reserved = 0;
	BPF_CORE_READ_STR_INTO(&process->comm, leader, comm);
}

/* The parent process, or NULL above init. A task's real_parent is the thread that forked it. */
static __always_inline struct task_struct *parent_of(struct task_struct *leader, __u32 *pid)
{
	struct task_struct *parent = BPF_CORE_READ(leader, real_parent, group_leader);

	*pid = BPF_CORE_READ(parent, tgid);
	return *pid == 0 || parent == leader ? NULL : parent;
}

/*
 * A path being written from its end, in a room of `size` bytes (a power of two) of the record. Where it begins so far, and
 * whether it is whole, are kept in the record itself, in its span: what the verifier can't follow, it need not follow
 * on each of the ways through a loop, which makes loading ten times as fast.
 */
struct path_writer {
	volatile struct imds_span *span; /* offset: where it begins, in the room; length: 1 if whole */
	char *room;
	__u32 size;
};

/* Puts "/name" in front; false if it does not fit. Behind every room lie 255 bytes or more. */
static __always_inline int prepend(struct path_writer *path, const void *name, __u32 length)
{
	__u32 at = path->span->offset, slash, text;

	if (length > 255 || length + 1 >= at)
		return 0;
	slash = at - length - 1;
	text = slash + 1;
	path->span->offset = slash;
	opaque(slash);
	slash &= path->size - 1;
	path->room[slash] = '/';
	opaque(text);
	text &= path->size - 1;
	opaque(length);
	length &= 255;
	bpf_probe_read_kernel(path->room + text, length, name);
	return 1;
}

/* Turns the span into that of the path. One that does not begin at the root loses its first slash. */
static __always_inline void end_path(struct path_writer *path, __u32 room_offset)
{
	__u32 at = path->span->offset, whole = path->span->length;

	if (!whole && at < path->size)
		at++;
	if (whole && at == path->size) {
		at--;
		path->room[path->size - 1] = '/';
	}
	path->span->offset = room_offset + at;
	path->span->length = path->size - at;
}

/* As d_path() (fs/d_path.c) shows an executable in /proc/PID/exe, from the root of its mount namespace. */
static __always_inline void read_executable(struct imds_connect *record, struct mm_struct *mm)
{
	const __u32 mnt_offset = __builtin_preserve_field_info(((struct mount *)0)->mnt, BPF_FIELD_BYTE_OFFSET);
	struct file *file = BPF_CORE_READ(mm, exe_file);
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	struct vfsmount *mnt = BPF_CORE_READ(file, f_path.mnt);
	struct path_writer path = { &record->executable, record->executable_room, IMDS_EXECUTABLE_ROOM };

	if (!file || !dentry || !mnt)
		return;
	path.span->offset = IMDS_EXECUTABLE_ROOM;
	if (!BPF_CORE_READ(dentry, d_hash.pprev) && dentry != BPF_CORE_READ(mnt, mnt_root)) {
		/* By the letter: a string, copied or indexed, would become one more section of read-only data. */
		char *end = path.room + IMDS_EXECUTABLE_ROOM;

		end[-10] = ' ', end[-9] = '(', end[-8] = 'd', end[-7] = 'e', end[-6] = 'l';
		end[-5] = 'e', end[-4] = 't', end[-3] = 'e', end[-2] = 'd', end[-1] = ')';
		path.span->offset = IMDS_EXECUTABLE_ROOM - 10;
	}
#pragma clang loop unroll(disable)
	for (int i = 0; i < PATH_DEPTH; i++) {
		struct dentry *parent;

		if (dentry == BPF_CORE_READ(mnt, mnt_root)) {
			struct mount *mount = (void *)mnt - mnt_offset;
			struct mount *above = BPF_CORE_READ(mount, mnt_parent);

			if (!above || above == mount) {
				path.span->length = 1;
				break;
			}
			dentry = BPF_CORE_READ(mount, mnt_mountpoint);
			mnt = (void *)above + mnt_offset;
			continue;
		}
		if (!prepend(&path, BPF_CORE_READ(dentry, d_name.name), BPF_CORE_READ(dentry, d_name.len)))
			break;
		parent = BPF_CORE_READ(dentry, d_parent);
		if (dentry == parent) { /* in no file system's tree, as memfd_create(2)'s "/memfd:name (deleted)" */
			path.span->length = 1;
			break;
		}
		dentry = parent;
	}
	end_path(&path, offsetof(struct imds_connect, executable_room));
}

static __always_inline struct kernfs_node *kernfs_parent(struct kernfs_node *node)
{
	struct kernfs_node___renamed *newer = (void *)node;

	if (bpf_core_field_exists(newer->__parent))
		return BPF_CORE_READ(newer, __parent);
	return BPF_CORE_READ(node, parent);
}

static __always_inline void read_cgroup(struct imds_connect *record, struct imds_span *span, __u32 room_offset,
					char *room, struct kernfs_node *node)
{
	struct path_writer path = { span, room, IMDS_CGROUP_ROOM };

	if (!node)
		return;
	path.span->offset = IMDS_CGROUP_ROOM;
#pragma clang loop unroll(disable)
	for (int i = 0; i < CGROUP_DEPTH; i++) {
		struct kernfs_node *parent = kernfs_parent(node);
		const char *name;
		long length;

		if (!parent) {
			path.span->length = 1;
			break;
		}
		name = BPF_CORE_READ(node, name);
		/* kernfs keeps no length. argv is read later, so its room serves to find it. */
		length = bpf_probe_read_kernel_str(record->argv_room, 256, name);
		if (length < 2 || !prepend(&path, name, length - 1))
			break;
		node = parent;
	}
	end_path(&path, room_offset);
}

/* The cgroup of a controller that a cgroup v1 hierarchy has; NULL if cgroup v2 has it. */
static __always_inline struct kernfs_node *v1_node(struct css_set *set, __u64 controller)
{
	struct cgroup_subsys_state **subsys = (void *)__builtin_preserve_access_index(&set->subsys);
	struct cgroup_subsys_state *state = NULL;
	struct cgroup *cgroup;

	bpf_probe_read_kernel(&state, sizeof(state), subsys + controller);
	cgroup = BPF_CORE_READ(state, cgroup);
	if (!cgroup || BPF_CORE_READ(cgroup, root) == BPF_CORE_READ(set, dfl_cgrp, root))
		return NULL;
	return BPF_CORE_READ(cgroup, kn);
}

static __always_inline void read_cgroups(struct imds_connect *record, struct task_struct *task)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct kernfs_node *v1 = NULL;

	read_cgroup(record, &record->cgroup, offsetof(struct imds_connect, cgroup_room), record->cgroup_room,
		    BPF_CORE_READ(set, dfl_cgrp, kn));
	/* pids tells most where systemd or a container engine set it up; its root tells nothing, then memory may. */
	if (bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id))
		v1 = v1_node(set, bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id));
	if (bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id) && (!v1 || !kernfs_parent(v1))) {
		struct kernfs_node *memory =
			v1_node(set, bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id));

		if (memory)
			v1 = memory;
	}
	read_cgroup(record, &record->cgroup_v1, offsetof(struct imds_connect, cgroup_v1_room), record->cgroup_v1_room,
		    v1);
}

/* Reads at most `room` bytes (a power of two) of `length`; 0 where the memory is not there. */
static __always_inline __u32 read_argv(char *to, __u32 room, __u64 start, __u64 length)
{
	if (length == 0)
		return 0;
	if (length > room)
		length = room;
	/* Verifiers before 6.12 don't take `length != 0` as `length >= 1`. */
	length -= 1;
	opaque(length);
	length &= room - 1;
	return bpf_probe_read_user(to, length + 1, (void *)start) ? 0 : length + 1;
}

/*
 * Remembers the argv of every program that starts. Runs in the new program, whose memory current->mm already is.
 * The entry is made empty and filled in place, for argv is as large as the stack and one CPU may be in here twice.
 */
SEC("tp_btf/sched_process_exec")
int on_exec(void *ctx __attribute__((unused)))
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	__u64 start = BPF_CORE_READ(mm, arg_start), length = BPF_CORE_READ(mm, arg_end) - start;
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	__u32 only = 0;
	struct imds_exec *entry = bpf_map_lookup_elem(&no_exec, &only);

	if (!entry || bpf_map_update_elem(&execs, &pid, entry, BPF_ANY))
		return 0;
	entry = bpf_map_lookup_elem(&execs, &pid);
	if (!entry)
		return 0;
	entry->start_boot_ns = start_boot_ns(BPF_CORE_READ(task, group_leader));
	entry->truncated = length > IMDS_EXEC_ARGV_MAX;
	entry->length = read_argv(entry->argv, IMDS_EXEC_ARGV_MAX, start, length);
	return 0;
}

/* Sends the argv of ancestors that have none sent since their last exec. Before the connect record, so that it is first. */
static __always_inline void send_ancestors(struct task_struct *leader, __u32 slot)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < IMDS_ANCESTORS; i++) {
		struct imds_process_record *record;
		struct imds_exec *entry;
		__u32 pid;

		leader = parent_of(leader, &pid);
		if (!leader)
			break;
		entry = bpf_map_lookup_elem(&execs, &pid);
		if (!entry || entry->sent || entry->length == 0 || entry->start_boot_ns != start_boot_ns(leader))
			continue;
		record = bpf_ringbuf_reserve(&ring, sizeof(*record) + IMDS_EXEC_ARGV_MAX, 0);
		if (!record)
			break;
		begin(&record->header, IMDS_RECORD_PROCESS, slot);
		record->header.flags |= entry->truncated ? IMDS_FLAG_ARGV_TRUNCATED : 0;
		record->header.length = round_up_8(sizeof(*record) + entry->length);
		describe(&record->process, leader, pid);
		record->argv.offset = sizeof(*record);
		record->argv.length = entry->length;
		record->reserved = 0;
		bpf_probe_read_kernel(record->argv_room, IMDS_EXEC_ARGV_MAX, entry->argv);
		bpf_ringbuf_submit(record, 0);
		entry->sent = 1;
	}
}

static __always_inline void read_process(struct imds_connect *record, struct task_struct *task, __u64 room)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	__u64 start = BPF_CORE_READ(mm, arg_start), length = BPF_CORE_READ(mm, arg_end) - start;
	__u32 count = 0, read;

	describe(&record->process, leader, record->process.pid);
	record->netns = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
	read_executable(record, mm);
	read_cgroups(record, task);
#pragma clang loop unroll(disable)
	for (int i = 0; i < IMDS_ANCESTORS; i++) {
		__u32 pid;

		leader = parent_of(leader, &pid);
		if (!leader)
			break;
		describe(&record->ancestors[i], leader, pid);
		count = i + 1;
	}
	record->ancestor_count = count;
	if (room == 4096)
		read = read_argv(record->argv_room, 4096, start, length);
	else if (room == 1024)
		read = read_argv(record->argv_room, 1024, start, length);
	else
		read = read_argv(record->argv_room, 256, start, length);
	record->argv.length = read;
	if (read && read < length)
		record->header.flags |= IMDS_FLAG_ARGV_TRUNCATED;
	record->header.length = round_up_8(sizeof(*record) + read);
}

static __always_inline __u64 argv_length(struct task_struct *task)
{
	struct mm_struct *mm = BPF_CORE_READ(task, mm);

	return BPF_CORE_READ(mm, arg_end) - BPF_CORE_READ(mm, arg_start);
}

#endif /* IMDS_NO_CORE */

/*
 * Room in the ring of the class that argv needs; a smaller one where the ring is short of room, for the process itself
 * matters more than the end of its argv. Straight in the ring, and no scratch per CPU: these hooks may be preempted.
 */
static __always_inline struct imds_connect *reserve_connect(__u64 length, __u64 *room)
{
	struct imds_connect *record;

	if (length > 1024) {
		record = bpf_ringbuf_reserve(&ring, sizeof(*record) + 4096, 0);
		*room = 4096;
		if (record)
			return record;
	}
	if (length > 256) {
		record = bpf_ringbuf_reserve(&ring, sizeof(*record) + 1024, 0);
		*room = 1024;
		if (record)
			return record;
	}
	*room = 256;
	return bpf_ringbuf_reserve(&ring, sizeof(*record) + 256, 0);
}

/*
 * The last eighth of the ring is for packets: connects that lead nowhere cost a microsecond each, and whoever makes them must not
 * push out the requests of others.
 */
static __always_inline int is_for_packets(void)
{
	__u64 size = bpf_ringbuf_query(&ring, BPF_RB_RING_SIZE);

	return bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > size - size / 8;
}

static __always_inline int on_connect(struct bpf_sock_addr *ctx, struct imds_endpoint_key *key, __u8 family)
{
	struct imds_connect *record;
	struct imds_counters *count;
	__u64 room, ids, length = 0;
	__u32 *slot, counter_slot;

	if (ctx->type != SOCK_STREAM)
		return GO_ON;
	key->port = bpf_ntohs(ctx->user_port);
	key->reserved = 0;
	slot = bpf_map_lookup_elem(&endpoints, key);
	if (!slot)
		return GO_ON;
	counter_slot = *slot;
	count = bpf_map_lookup_elem(&counters, &counter_slot);
	if (!count)
		return GO_ON;
	COUNT(count->connects_seen);
	if (is_for_packets()) {
		COUNT(count->connects_dropped);
		return GO_ON;
	}
#ifndef IMDS_NO_CORE
	struct task_struct *task = (void *)bpf_get_current_task();

	send_ancestors(BPF_CORE_READ(task, group_leader), counter_slot);
	length = argv_length(task);
#endif
	record = reserve_connect(length, &room);
	if (!record) {
		COUNT(count->connects_dropped);
		return GO_ON;
	}
	begin(&record->header, IMDS_RECORD_CONNECT, counter_slot);
	record->header.length = sizeof(*record);
	record->cookie = bpf_get_socket_cookie(ctx);
	record->cgroup_id = bpf_get_current_cgroup_id();
	__builtin_memcpy(record->remote_address, key->address, sizeof(key->address));
	record->remote_port = key->port;
	record->family = family;
	record->ancestor_count = 0;
	record->netns = 0;
	ids = bpf_get_current_uid_gid();
	record->uid = (__u32)ids;
	record->gid = ids >> 32;
	record->executable = (struct imds_span){};
	record->cgroup = (struct imds_span){};
	record->cgroup_v1 = (struct imds_span){};
	record->argv.offset = sizeof(*record);
	record->argv.length = 0;
	record->process.start_boot_ns = 0;
	record->process.pid = bpf_get_current_pid_tgid() >> 32;
	record->process.reserved = 0;
#ifndef IMDS_NO_CORE
	read_process(record, task, room);
#else
	bpf_get_current_comm(record->process.comm, sizeof(record->process.comm));
#endif
	bpf_ringbuf_submit(record, 0);
	return GO_ON;
}

SEC("cgroup/connect4")
int on_connect4(struct bpf_sock_addr *ctx)
{
	struct imds_endpoint_key key;

	map_v4(key.address, ctx->user_ip4);
	return on_connect(ctx, &key, 4);
}

SEC("cgroup/connect6")
int on_connect6(struct bpf_sock_addr *ctx)
{
	struct imds_endpoint_key key;

	key.address[0] = ctx->user_ip6[0];
	key.address[1] = ctx->user_ip6[1];
	key.address[2] = ctx->user_ip6[2];
	key.address[3] = ctx->user_ip6[3];
	return on_connect(ctx, &key, 6);
}

/* ------------------------------------------------------------------------------------------------------------------
 * Their packets. Here `current` is whoever the soft interrupt interrupted: never asked.
 */

/*
 * False for the packets of nearly every other socket of the host. On the socket's address, not the packet's: cheaper,
 * and it survives destination NAT. An IPv6 socket on an IPv4-mapped address has it in remote_ip4 as well.
 */
static __always_inline int may_be_endpoint(struct __sk_buff *skb)
{
	__u32 shape = filter.shape;
	__u32 v4 = skb->remote_ip4;

#pragma unroll
	for (__u32 i = 0; i < IMDS_FILTER_ADDRESSES; i++) {
		if (i < IMDS_FILTER_V4_COUNT(shape) && v4 == filter.v4[i])
			return 1;
	}
	if (IMDS_FILTER_V6_COUNT(shape)) {
		__u32 tail = skb->remote_ip6[3];

#pragma unroll
		for (__u32 i = 0; i < IMDS_FILTER_ADDRESSES; i++) {
			if (i < IMDS_FILTER_V6_COUNT(shape) && tail == filter.v6_tail[i])
				return 1;
		}
	}
	/* So much goes to loopback that the self-test's port is compared as well. */
	if (v4 == bpf_htonl(INADDR_LOOPBACK) && skb->remote_port == filter.self_test_port)
		return 1;
	return shape & IMDS_FILTER_OFF;
}

/* False for a segment of no payload and no SYN, FIN or RST; true also where that can't be told. */
static __always_inline int matters(struct __sk_buff *skb)
{
	__u8 ip[20], flags, data_offset;
	__u32 header;

	if (bpf_skb_load_bytes(skb, 0, ip, sizeof(ip)))
		return 1;
	if (ip[0] >> 4 == 4) {
		if ((ip[6] & 0x1f) || ip[7]) /* a later fragment: no TCP header */
			return 1;
		header = (ip[0] & 15) * 4;
	} else {
		if (ip[6] != IPPROTO_TCP) /* extension headers */
			return 1;
		header = 40;
	}
	if (bpf_skb_load_bytes(skb, header + TCP_FLAGS, &flags, 1) ||
	    bpf_skb_load_bytes(skb, header + TCP_FLAGS - 1, &data_offset, 1))
		return 1;
	return (flags & (TCP_SYN | TCP_FIN | TCP_RST)) || skb->len > header + (data_offset >> 4) * 4;
}

/* Copies the packet into a room of constant size, a power of two; room for the whole length but in the largest. */
static __always_inline void capture(struct __sk_buff *skb, struct imds_counters *count, struct imds_endpoint_key *key,
				    __u32 slot, __u16 direction, const __u32 room)
{
	struct imds_packet *record = bpf_ringbuf_reserve(&ring, sizeof(*record) + room, 0);
	__u32 wire = skb->len, length = wire;
	__u32 *local;

	if (!record) {
		COUNT(count->ring_dropped);
		return;
	}
	begin(&record->header, IMDS_RECORD_PACKET, slot);
	record->header.flags |= direction;
	record->cookie = bpf_get_socket_cookie(skb);
	record->cgroup_id = bpf_skb_cgroup_id(skb);
	local = (__u32 *)record->local_address; /* aligned, as records in the ring are */
	if (skb->family == AF_INET) {
		map_v4(local, skb->local_ip4);
	} else {
		local[0] = skb->local_ip6[0];
		local[1] = skb->local_ip6[1];
		local[2] = skb->local_ip6[2];
		local[3] = skb->local_ip6[3];
	}
	__builtin_memcpy(record->remote_address, key->address, sizeof(key->address));
	record->local_port = skb->local_port;
	record->remote_port = key->port;
	record->wire_length = wire;

	if (length > room)
		length = room;
	/* Verifiers before 6.12 don't take `length != 0` as `length >= 1`. */
	length -= 1;
	opaque(length);
	length &= room - 1;
	length = bpf_skb_load_bytes(skb, 0, record->bytes, length + 1) ? 0 : length + 1;
	if (length < wire)
		COUNT(count->truncated);
	record->data.offset = sizeof(*record);
	record->data.length = length;
	record->header.length = round_up_8(sizeof(*record) + length);
	COUNT(count->packets_captured);
	bpf_ringbuf_submit(record, 0);
}

/*
 * What comes after may_be_endpoint(). A function of its own, so that what runs for every packet of the host is small enough
 * for one or two cache lines.
 */
static __attribute__((noinline)) int on_packet(struct __sk_buff *skb, __u16 direction)
{
	struct imds_endpoint_key key;
	struct imds_counters *count;
	__u32 *slot, counter_slot;
	struct bpf_sock *sk;

	if (skb->family == AF_INET) {
		map_v4(key.address, skb->remote_ip4);
	} else if (skb->family == AF_INET6) {
		key.address[0] = skb->remote_ip6[0];
		key.address[1] = skb->remote_ip6[1];
		key.address[2] = skb->remote_ip6[2];
		key.address[3] = skb->remote_ip6[3];
	} else {
		return GO_ON;
	}
	key.port = bpf_ntohl(skb->remote_port); /* the upper half of the word in network byte order */
	key.reserved = 0;
	slot = bpf_map_lookup_elem(&endpoints, &key);
	if (!slot)
		return GO_ON;
	sk = skb->sk;
	if (!sk)
		return GO_ON;
	sk = bpf_sk_fullsock(sk);
	if (!sk || sk->protocol != IPPROTO_TCP || skb->len == 0)
		return GO_ON;
	counter_slot = *slot;
	count = bpf_map_lookup_elem(&counters, &counter_slot);
	if (!count)
		return GO_ON;

	COUNT(count->packets_seen);
	if (!matters(skb)) {
		COUNT(count->packets_passed_over);
		return GO_ON;
	}
	/* Size classes, because the ring takes constant sizes only. */
	if (skb->len <= 256)
		capture(skb, count, &key, counter_slot, direction, 256);
	else if (skb->len <= 1024)
		capture(skb, count, &key, counter_slot, direction, 1024);
	else if (skb->len <= 4096)
		capture(skb, count, &key, counter_slot, direction, 4096);
	else if (skb->len <= 16384)
		capture(skb, count, &key, counter_slot, direction, 16384);
	else
		capture(skb, count, &key, counter_slot, direction, IMDS_PACKET_MAX);
	return GO_ON;
}

SEC("cgroup_skb/egress")
int on_egress(struct __sk_buff *skb)
{
	return may_be_endpoint(skb) ? on_packet(skb, IMDS_FLAG_EGRESS) : GO_ON;
}

SEC("cgroup_skb/ingress")
int on_ingress(struct __sk_buff *skb)
{
	return may_be_endpoint(skb) ? on_packet(skb, 0) : GO_ON;
}
