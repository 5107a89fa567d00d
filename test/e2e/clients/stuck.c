/*
 * A process whose arguments nobody can read: reading them takes the lock of its memory map, which one thread holds while it
 * reads, through /proc/self/mem, from a file that never answers (FUSE, which any user can serve in a namespace of its own),
 * and a second waits for to change it. Readers that come later wait behind that one.
 *
 * stuck COMMAND [ARG...]: a child of such a process runs the command; ends with it.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char *page;
/* The first thread has the lock; the second is about to wait for it. */
static int locked[2], go[2];

static void answer(int fuse, uint64_t unique, int error, const void *body, size_t length)
{
	struct fuse_out_header header = { .len = (uint32_t)(sizeof(header) + length), .error = -error, .unique = unique };
	struct iovec parts[] = { { &header, sizeof(header) }, { (void *)body, length } };

	if (writev(fuse, parts, length ? 2 : 1) < 0 && errno != ENOENT)
		err(1, "answering");
}

static struct fuse_attr attributes(uint64_t node)
{
	return (struct fuse_attr){ .ino = node, .size = 4096, .mode = node == 1 ? S_IFDIR | 0755 : S_IFREG | 0644, .nlink = 1 };
}

/* One directory with one file in it, which is never read. Until nobody has the other end of `alive` any more. */
static void serve(int fuse, int alive)
{
	static char request[FUSE_MIN_READ_BUFFER + 65536];

	for (;;) {
		struct pollfd fds[] = { { .fd = alive }, { .fd = fuse, .events = POLLIN } };
		struct fuse_in_header header;
		struct fuse_init_out init = { .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_write = 4096 };
		struct fuse_entry_out entry = { .nodeid = 2, .attr_valid = 1000, .entry_valid = 1000, .attr = attributes(2) };
		struct fuse_open_out opened = { .fh = 1 };
		struct fuse_attr_out attr = { .attr_valid = 1000 };

		if (poll(fds, 2, -1) < 0 || fds[0].revents)
			return;
		if (read(fuse, request, sizeof(request)) < (ssize_t)sizeof(header))
			continue;
		memcpy(&header, request, sizeof(header));
		switch (header.opcode) {
		case FUSE_INIT:
			answer(fuse, header.unique, 0, &init, sizeof(init));
			break;
		case FUSE_LOOKUP:
			answer(fuse, header.unique, 0, &entry, sizeof(entry));
			break;
		case FUSE_GETATTR:
			attr.attr = attributes(header.nodeid);
			answer(fuse, header.unique, 0, &attr, sizeof(attr));
			break;
		case FUSE_OPEN:
			answer(fuse, header.unique, 0, &opened, sizeof(opened));
			break;
		case FUSE_READ:
			if (write(locked[1], "x", 1) != 1)
				err(1, "telling");
			break;
		case FUSE_FORGET:
		case FUSE_INTERRUPT:
			break;
		default:
			answer(fuse, header.unique, ENOSYS, NULL, 0);
		}
	}
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		err(1, "%s", path);
	close(fd);
}

/* Serves the file from a namespace that any user can make. */
static int mount_at(const char *folder)
{
	char options[128], map[64];
	uid_t user = getuid();
	gid_t group = getgid();
	int fuse;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		err(77, "a user namespace");
	put("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", user);
	put("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "0 %u 1", group);
	put("/proc/self/gid_map", map);
	fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fuse < 0)
		err(77, "/dev/fuse");
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse);
	if (mount("stuck", folder, "fuse", 0, options))
		err(77, "mounting");
	return fuse;
}

static void *hold(void *unused)
{
	int memory = open("/proc/self/mem", O_RDONLY);
	char byte;

	if (pread(memory, &byte, 1, (off_t)(uintptr_t)page) < 0)
		return unused; /* the file's server has ended */
	return unused;
}

static void *wait_for_lock(void *unused)
{
	char byte;

	if (read(locked[0], &byte, 1) != 1 || write(go[1], "x", 1) != 1)
		err(1, "going on");
	mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return unused;
}

/* The process that is stuck, once it has started the command. */
static void get_stuck(const char *folder, int alive, char **command)
{
	char path[64], byte;
	pthread_t threads[2];
	int file;

	if (fork() == 0) {
		close(go[1]);
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		execvp(command[0], command);
		err(127, "%s", command[0]);
	}
	close(alive);
	snprintf(path, sizeof(path), "%s/file", folder);
	file = open(path, O_RDONLY);
	page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
	if (file < 0 || page == MAP_FAILED)
		err(1, "%s", path);
	/* To start a thread takes the lock as well. */
	if (pthread_create(&threads[0], NULL, wait_for_lock, NULL) || pthread_create(&threads[1], NULL, hold, NULL))
		errx(1, "threads");
	pause();
}

int main(int count, char **arguments)
{
	char folder[] = "/tmp/stuck-XXXXXX";
	int fuse, alive[2];

	if (count < 2 || !mkdtemp(folder) || pipe(alive) || pipe2(locked, O_CLOEXEC) || pipe2(go, O_CLOEXEC))
		err(2, "stuck COMMAND [ARG...]");
	fuse = mount_at(folder);
	if (fork() == 0) {
		close(fuse);
		close(alive[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		get_stuck(folder, alive[1], arguments + 1);
		_exit(1);
	}
	close(alive[1]);
	serve(fuse, alive[0]);
	umount2(folder, MNT_DETACH);
	rmdir(folder);
	return 0;
}
