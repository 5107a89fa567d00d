// SPDX-License-Identifier: Apache-2.0
/*
 * The socket of a short-lived client on the same host is open for some 200 microseconds, which is less than it takes until
 * a packet has come through the queue and two more threads. So the first look is here: at the SYN, on the thread that
 * takes packets out of the kernel, among the newest processes, as who connected a moment ago was mostly started a moment ago.
 */
#include "early_owner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "link_layer.h"
#include "patient_read.h"
#include "tcp_packet.h"

/* So many process (and thread) ids down from the last that was given out are looked at. */
#define NEWEST 64
#define MAX_OPEN_FILES 256
#define MAX_NAMESPACES 16
/* What is kept until it is asked for; the oldest goes first. */
#define MAX_KEPT 256
/* Of wall time, one part in SHARE may be spent on looking; BURST_NS at once after a rest. */
#define SHARE 5
#define BURST_NS INT64_C(100000000)
/* Within what looking may take at once. */
#define ARGV_WAIT_MS 100
/* Of a set of capabilities in /proc/PID/status (fs/proc/array.c). */
#define CAPABILITY_DIGITS 16

struct known_netns {
	struct imds_netns netns;
	pid_t pid; /* it was entered through this one */
	uint64_t used;
};

struct imds_early_owners {
	struct known_netns known[MAX_NAMESPACES];
	int count;
	uint64_t uses;
	int64_t available_ns;
	int64_t updated_ns;
	uint32_t own_inode;
};

struct kept {
	struct imds_socket_query query;
	struct imds_owner *owner; /* NULL: the place is free */
};

/* One for the process: whoever asks need not know which source has looked. */
static struct kept kept[MAX_KEPT];
static unsigned int next_kept;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- what was found ---------------------------------------------------------------------------------------------- */

static bool is_same(const struct imds_socket_query *a, const struct imds_socket_query *b)
{
	return a->local_port == b->local_port && a->remote_port == b->remote_port &&
	       memcmp(a->local_address, b->local_address, sizeof(a->local_address)) == 0 &&
	       memcmp(a->remote_address, b->remote_address, sizeof(a->remote_address)) == 0;
}

static void keep(const struct imds_socket_query *query, struct imds_owner *owner)
{
	pthread_mutex_lock(&kept_lock);
	for (unsigned int i = 0; i < MAX_KEPT; i++) {
		if (kept[i].owner && is_same(&kept[i].query, query)) {
			free(kept[i].owner);
			kept[i].owner = NULL;
		}
	}
	free(kept[next_kept].owner);
	kept[next_kept] = (struct kept){ .query = *query, .owner = owner };
	next_kept = (next_kept + 1) % MAX_KEPT;
	pthread_mutex_unlock(&kept_lock);
}

int32_t imds_owner_take(const struct imds_socket_query *query, struct imds_owner *owner)
{
	int32_t found = 0;

	pthread_mutex_lock(&kept_lock);
	for (unsigned int i = 0; i < MAX_KEPT && !found; i++) {
		if (!kept[i].owner || !is_same(&kept[i].query, query))
			continue;
		memcpy(owner, kept[i].owner, sizeof(*owner));
		free(kept[i].owner);
		kept[i].owner = NULL;
		found = 1;
	}
	pthread_mutex_unlock(&kept_lock);
	return found;
}

static void drop_all(void)
{
	pthread_mutex_lock(&kept_lock);
	for (unsigned int i = 0; i < MAX_KEPT; i++) {
		free(kept[i].owner);
		kept[i].owner = NULL;
	}
	pthread_mutex_unlock(&kept_lock);
}

/* ---- /proc ------------------------------------------------------------------------------------------------------- */

/*
 * A process's directory, or -1. What is reached through it is never another's that got the same id later: it stands for
 * the process (struct pid), and is empty once that is gone.
 */
static int open_process(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* Reads the beginning of a file; its length, or -1 where it is not there. */
static int32_t read_file(int process, const char *name, char *text, size_t size)
{
	size_t length = 0;
	ssize_t got = 0;
	int fd = openat(process, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	/* procfs may give less than was asked for without being at the end. */
	while (length < size && (got = read(fd, text + length, size - length)) > 0)
		length += (size_t)got;
	close(fd);
	return got < 0 ? -1 : (int32_t)length;
}

/* Inode of its network namespace; 0 where that can't be seen. */
static uint32_t netns_of(int process)
{
	struct stat status;

	return fstatat(process, "ns/net", &status, 0) == 0 ? (uint32_t)status.st_ino : 0;
}

static uint32_t netns_of_pid(pid_t pid)
{
	int process = open_process(pid);
	uint32_t netns = process >= 0 ? netns_of(process) : 0;

	if (process >= 0)
		close(process);
	return netns;
}

static bool holds(int process, uint32_t inode)
{
	char wanted[64], target[64];
	const struct dirent *entry;
	bool found = false;
	DIR *directory;
	int fd = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return false;
	directory = fdopendir(fd);
	if (!directory) {
		close(fd);
		return false;
	}
	snprintf(wanted, sizeof(wanted), "socket:[%u]", inode);
	for (int i = 0; i < MAX_OPEN_FILES && !found && (entry = readdir(directory)); i++) {
		ssize_t length = readlinkat(fd, entry->d_name, target, sizeof(target) - 1);

		if (length > 0) {
			target[length] = '\0';
			found = strcmp(target, wanted) == 0;
		}
	}
	closedir(directory);
	return found;
}

/* The process that a thread is of, by its /proc/PID/status; 0 where that does not say. */
static pid_t group_of(const struct imds_owner *owner)
{
	static const char label[] = "\nTgid:\t";
	const char *line;
	long group = 0;

	if (owner->status_length <= 0)
		return 0;
	/* The kernel escapes line breaks in the name, which is the first line (fs/proc/array.c). */
	line = memmem(owner->status, (size_t)owner->status_length, label, sizeof(label) - 1);
	if (!line)
		return 0;
	for (line += sizeof(label) - 1; line < owner->status + owner->status_length && *line >= '0' && *line <= '9'; line++)
		group = group < INT32_MAX / 10 ? group * 10 + (*line - '0') : 0;
	return (pid_t)group;
}

#define READ_TEXT(owner, process, name, field) \
	((owner)->field##_length = read_file(process, name, (owner)->field, sizeof((owner)->field)))

/*
 * Whether it may stop anything on the host as it is, and needs no tricks for it: all its user ids are root's, as only the host's
 * own are shown, and it has CAP_SYS_ADMIN, which a container's root has not.
 */
static bool is_host_root(const struct imds_owner *owner)
{
	static const char uids[] = "\nUid:\t0\t0\t0\t0\n", effective[] = "\nCapEff:\t";
	size_t length = owner->status_length > 0 ? (size_t)owner->status_length : 0;
	char digits[CAPABILITY_DIGITS + 1] = "";
	const char *set;

	if (!memmem(owner->status, length, uids, sizeof(uids) - 1))
		return false;
	set = memmem(owner->status, length, effective, sizeof(effective) - 1);
	if (!set || set + sizeof(effective) - 1 + CAPABILITY_DIGITS > owner->status + length)
		return false; /* more groups than there is room for may stand before it */
	memcpy(digits, set + sizeof(effective) - 1, CAPABILITY_DIGITS);
	return (strtoull(digits, NULL, 16) >> CAP_SYS_ADMIN) & 1;
}

/*
 * argv of a process that may keep it from ever being read: nothing is captured while this thread waits. To hand over to another
 * takes as long as a process needs to end: then there is none.
 */
static int32_t read_argv_of_others(int process, char *text, size_t size)
{
	int fd = openat(process, "cmdline", O_RDONLY | O_CLOEXEC);
	int32_t length = fd < 0 ? 0 : imds_patient_read(fd, text, (uint32_t)size, ARGV_WAIT_MS);

	return length < 0 ? 0 : length;
}

/* What /proc shows of a process (or thread); NULL where it is gone. argv and executable go before the rest. */
static struct imds_owner *read_owner(int process, pid_t thread)
{
	struct imds_owner *owner = calloc(1, sizeof(*owner));
	bool root, whole;
	int leader = -1;
	ssize_t length;
	pid_t pid;

	if (!owner)
		return NULL;
	READ_TEXT(owner, process, "status", status);
	root = is_host_root(owner);
	if (root)
		READ_TEXT(owner, process, "cmdline", argv);
	length = readlinkat(process, "exe", owner->executable, sizeof(owner->executable));
	owner->executable_length = length < 0 ? 0 : (int32_t)length;
	READ_TEXT(owner, process, "cgroup", cgroup);
	pid = group_of(owner);
	owner->pid = (uint32_t)pid;
	if (pid > 0 && pid != thread)
		leader = open_process(pid);
	READ_TEXT(owner, leader >= 0 ? leader : process, "stat", stat);
	if (!root)
		owner->argv_length = read_argv_of_others(process, owner->argv, sizeof(owner->argv));
	whole = pid > 0 && owner->argv_length >= 0 && owner->cgroup_length >= 0 && owner->stat_length > 0;
	if (leader >= 0) {
		close(leader);
		/* The leader's id is not given away while a thread of it is there. */
		whole = whole && netns_of(process) != 0;
	}
	if (whole)
		return owner;
	free(owner);
	return NULL;
}

/* The id that was given out last, in this pid namespace (fs/proc/loadavg.c); 0 where that can't be told. */
static pid_t last_pid(void)
{
	char text[128];
	const char *last;
	ssize_t length;
	int fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	length = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (length <= 0)
		return 0;
	text[length] = '\0';
	last = strrchr(text, ' ');
	return last ? (pid_t)strtol(last, NULL, 10) : 0;
}

/* ---- the search ---------------------------------------------------------------------------------------------------- */

static void close_known(struct imds_early_owners *owners, int i)
{
	imds_netns_close(&owners->known[i].netns);
	owners->known[i] = owners->known[--owners->count];
}

static const struct imds_netns *enter(struct imds_early_owners *owners, uint32_t inode, pid_t pid)
{
	struct known_netns *place;
	char path[64];
	int oldest = 0;

	for (int i = 0; i < owners->count; i++) {
		place = &owners->known[i];
		if (place->netns.inode == inode) {
			place->used = ++owners->uses;
			return &place->netns;
		}
		if (place->used < owners->known[oldest].used)
			oldest = i;
	}
	if (owners->count == MAX_NAMESPACES)
		close_known(owners, oldest);
	place = &owners->known[owners->count];
	place->pid = inode == owners->own_inode ? getpid() : pid;
	place->used = ++owners->uses;
	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)place->pid);
	if (imds_netns_open(path, &place->netns))
		return NULL;
	owners->count++;
	return &place->netns;
}

/* The namespaces that were asked about one connection. */
struct asked {
	struct {
		uint32_t inode;
		int32_t answer;
		struct imds_socket socket;
	} of[MAX_NAMESPACES];
	int count;
};

/* The connection's socket in the namespace of a process; NULL where that has none. */
static const struct imds_socket *ask(struct imds_early_owners *owners, struct asked *asked, uint32_t inode, pid_t pid,
				     const struct imds_socket_query *query)
{
	const struct imds_netns *netns;
	int i;

	for (i = 0; i < asked->count && asked->of[i].inode != inode; i++)
		;
	if (i == MAX_NAMESPACES)
		return NULL;
	if (i == asked->count) {
		asked->count++;
		asked->of[i].inode = inode;
		netns = enter(owners, inode, pid);
		/* It is another's by now when the process has moved between two looks. */
		asked->of[i].answer = netns && netns->inode == inode ?
					      imds_netns_find_socket(netns, query, &asked->of[i].socket) :
					      IMDS_SOCKET_NONE;
	}
	return asked->of[i].answer == IMDS_SOCKET_FOUND ? &asked->of[i].socket : NULL;
}

static struct imds_owner *search(struct imds_early_owners *owners, const struct imds_socket_query *query)
{
	pid_t last = last_pid();
	struct asked asked = { .count = 0 };

	struct imds_owner *owner = NULL;
	bool closed = false;

	for (pid_t pid = last; pid > 0 && pid > last - NEWEST && !owner && !closed; pid--) {
		int process = open_process(pid);
		uint32_t netns = process >= 0 ? netns_of(process) : 0;
		const struct imds_socket *socket = netns ? ask(owners, &asked, netns, pid, query) : NULL;

		closed = socket && socket->inode == 0;
		if (socket && !closed && holds(process, socket->inode))
			owner = read_owner(process, pid);
		if (owner) {
			owner->netns = netns;
			owner->inode = socket->inode;
		}
		if (process >= 0)
			close(process);
	}
	return owner;
}

static bool opens_connection(const struct imds_packet *record)
{
	struct imds_bytes ip = { record->bytes, record->data.length, record->wire_length };
	struct imds_tcp_packet packet;

	return (record->header.flags & IMDS_FLAG_EGRESS) && imds_tcp_read(&ip, &packet) && (packet.flags & IMDS_TCP_SYN);
}

void imds_early_owners_packet(struct imds_early_owners *owners, const struct imds_packet *record)
{
	struct imds_socket_query query = { .local_port = record->local_port, .remote_port = record->remote_port };
	struct imds_owner *owner;
	int64_t begun;

	if (!opens_connection(record))
		return;
	begun = imds_now_ns();
	owners->available_ns += (begun - owners->updated_ns) / SHARE;
	if (owners->available_ns > BURST_NS)
		owners->available_ns = BURST_NS;
	owners->updated_ns = begun;
	if (owners->available_ns <= 0)
		return;
	memcpy(query.local_address, record->local_address, sizeof(query.local_address));
	memcpy(query.remote_address, record->remote_address, sizeof(query.remote_address));
	owner = search(owners, &query);
	if (owner)
		keep(&query, owner);
	owners->available_ns -= imds_now_ns() - begun;
}

void imds_early_owners_sweep(struct imds_early_owners *owners)
{
	for (int i = owners->count - 1; i >= 0; i--) {
		if (netns_of_pid(owners->known[i].pid) != owners->known[i].netns.inode)
			close_known(owners, i);
	}
}

struct imds_early_owners *imds_early_owners_new(void)
{
	struct imds_early_owners *owners = calloc(1, sizeof(*owners));

	if (!owners)
		return NULL;
	owners->available_ns = BURST_NS;
	owners->updated_ns = imds_now_ns();
	owners->own_inode = netns_of_pid(getpid());
	return owners;
}

void imds_early_owners_free(struct imds_early_owners *owners)
{
	if (!owners)
		return;
	while (owners->count > 0)
		close_known(owners, owners->count - 1);
	free(owners);
	drop_all();
}
