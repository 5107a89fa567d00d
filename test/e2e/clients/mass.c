/*
 * Many processes that connect, send one request and exit without reading, each with an argv and a parent to be told by.
 *
 *   mass run   ADDRESS PORT GROUPS EACH    starts GROUPS group processes at once and waits for them
 *   mass group ADDRESS PORT GROUP EACH     starts EACH once processes at once and waits for them
 *   mass once  ADDRESS PORT TAG            GET /latest/meta-data/mass-TAG, and exit
 *
 * Each group prints `TAG PID PPID` for each of its children; TAG is GROUP-NUMBER. Exit status 1 when a child failed.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int once(const char *address, int port, const char *tag)
{
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
	if (fd < 0 || connect(fd, to, v6 ? sizeof(to6) : sizeof(to4)) || send(fd, request, length, MSG_NOSIGNAL) != length) {
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

int main(int argc, char **argv)
{
	char name[64];

	if (argc == 5 && strcmp(argv[1], "once") == 0)
		return once(argv[2], atoi(argv[3]), argv[4]);
	if (argc != 6 || (strcmp(argv[1], "run") != 0 && strcmp(argv[1], "group") != 0)) {
		fprintf(stderr, "usage: mass run ADDRESS PORT GROUPS EACH\n");
		return 2;
	}
	if (strcmp(argv[1], "run") == 0) {
		for (int i = 0; i < atoi(argv[4]); i++) {
			snprintf(name, sizeof(name), "%d", i);
			if (start("group", argv, name, argv[5]) < 0)
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
