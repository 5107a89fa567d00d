/*
 * Many processes that connect, send one request and exit without reading, each with an argv and a parent to be told by.
 *
 *   mass run   ADDRESS PORT GROUPS EACH    starts GROUPS group processes at once and waits for them
 *   mass group ADDRESS PORT GROUP EACH     starts EACH once processes at once and waits for them
 *   mass once  ADDRESS PORT TAG            GET /latest/meta-data/mass-TAG, and exit
 *
 * The same with parents that do not stay:
 *
 *   mass leave ADDRESS PORT GROUPS EACH    starts GROUPS left processes and waits for them and for all that they started
 *   mass left  ADDRESS PORT GROUP EACH     starts EACH late or EACH orphan processes and exits: late (even GROUP) once all
 *                                          have connected, orphan (odd GROUP) before any has
 *   mass late  ADDRESS PORT TAG            connects, waits for its parent's exit, sends, and exits
 *   mass orphan ADDRESS PORT TAG           waits for its parent's exit, and is then as `once`
 *
 * Prints `TAG PID PPID` for each request, PPID at the time of the connect; TAG is GROUP-NUMBER. Exit status 1 when a
 * child failed.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where late processes say that they have connected. */
#define READY_FD 100
/* Variable with the pid of a parent that does not stay: the child may begin to run after it has left. */
#define PARENT "MASS_PARENT"

/* `mass leave` adopts the orphan (prctl PR_SET_CHILD_SUBREAPER), so that it can wait for it. */
static void wait_for_parent_exit(pid_t parent)
{
	for (int i = 0; getppid() == parent && i < 10000; i++)
		usleep(1000);
}

enum when { AT_ONCE, AFTER_PARENT_LEFT, CONNECTED_BEFORE };

static int once(const char *address, int port, const char *tag, enum when when)
{
	pid_t parent = atoi(getenv(PARENT) ? getenv(PARENT) : "0");
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in to4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	int v6 = strchr(address, ':') != NULL;
	const struct sockaddr *to = v6 ? (struct sockaddr *)&to6 : (struct sockaddr *)&to4;
	char request[256];
	int fd, length;

	if (inet_pton(v6 ? AF_INET6 : AF_INET, address, v6 ? (void *)&to6.sin6_addr : (void *)&to4.sin_addr) != 1)
		return 2;
	length = snprintf(request, sizeof(request), "GET /latest/meta-data/mass-%s HTTP/1.1\r\nHost: %s\r\n\r\n", tag,
			  address);
	fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
	if (when == AFTER_PARENT_LEFT)
		wait_for_parent_exit(parent);
	if (fd < 0 || connect(fd, to, v6 ? sizeof(to6) : sizeof(to4))) {
		perror(tag);
		return 1;
	}
	if (when != AT_ONCE)
		dprintf(STDOUT_FILENO, "%s %d %d\n", tag, (int)getpid(), (int)getppid());
	if (when == CONNECTED_BEFORE) {
		if (write(READY_FD, "", 1) != 1)
			return 1;
		wait_for_parent_exit(parent);
	}
	if (send(fd, request, length, MSG_NOSIGNAL) != length) {
		perror(tag);
		return 1;
	}
	_exit(0); /* the kernel closes the socket; nothing was read */
}

/* Runs this program again with the given role, so that each process has an argv of its own. Returns its pid. */
static pid_t start(const char *role, char **argv, const char *name, const char *count)
{
	pid_t pid = fork();

	if (pid == 0) {
		execl("/proc/self/exe", argv[0], role, argv[2], argv[3], name, count, (char *)NULL);
		perror("exec");
		_exit(1);
	}
	return pid;
}

static int wait_for_all(void)
{
	int status, failed = 0;

	while (wait(&status) > 0)
		failed |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
	return failed;
}

/* Starts processes of which it is no longer the parent when they send; see above. */
static int leave_behind(char **argv)
{
	int ready[2], each = atoi(argv[5]), connected_before = atoi(argv[4]) % 2 == 0;
	char name[64], byte;

	snprintf(name, sizeof(name), "%d", (int)getpid());
	if (setenv(PARENT, name, 1) || pipe(ready) || dup2(ready[1], READY_FD) < 0)
		return 1;
	for (int i = 0; i < each; i++) {
		snprintf(name, sizeof(name), "%s-%d", argv[4], i);
		if (start(connected_before ? "late" : "orphan", argv, name, NULL) < 0)
			return 1;
	}
	for (int i = 0; connected_before && i < each; i++)
		if (read(ready[0], &byte, 1) != 1)
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	char name[64];

	if (argc == 5 && strcmp(argv[1], "once") == 0)
		return once(argv[2], atoi(argv[3]), argv[4], AT_ONCE);
	if (argc == 5 && strcmp(argv[1], "late") == 0)
		return once(argv[2], atoi(argv[3]), argv[4], CONNECTED_BEFORE);
	if (argc == 5 && strcmp(argv[1], "orphan") == 0)
		return once(argv[2], atoi(argv[3]), argv[4], AFTER_PARENT_LEFT);
	if (argc == 6 && strcmp(argv[1], "left") == 0)
		return leave_behind(argv);
	if (argc != 6 || (strcmp(argv[1], "run") != 0 && strcmp(argv[1], "group") != 0 && strcmp(argv[1], "leave") != 0)) {
		fprintf(stderr, "usage: mass run|leave ADDRESS PORT GROUPS EACH\n");
		return 2;
	}
	if (strcmp(argv[1], "group") != 0) {
		int leaves = strcmp(argv[1], "leave") == 0;

		if (leaves && prctl(PR_SET_CHILD_SUBREAPER, 1))
			return 1;
		for (int i = 0; i < atoi(argv[4]); i++) {
			snprintf(name, sizeof(name), "%d", i);
			if (start(leaves ? "left" : "group", argv, name, argv[5]) < 0)
				return 1;
		}
		return wait_for_all();
	}
	for (int i = 0; i < atoi(argv[5]); i++) {
		snprintf(name, sizeof(name), "%s-%d", argv[4], i);
		pid_t pid = start("once", argv, name, NULL);
		if (pid < 0)
			return 1;
		dprintf(STDOUT_FILENO, "%s %d %d\n", name, (int)pid, (int)getpid());
	}
	return wait_for_all();
}
