/*
 * Clients that come and go, for the soak test.
 *
 *   clients run ADDRESS PORT LANES TOTAL PER_PROCESS PER_CONNECTION RATE
 *       Sends TOTAL requests, RATE a second: in each of LANES one process after the other, each started anew by this program
 *       and with PER_PROCESS requests to send, PER_CONNECTION on a connection. Prints the number of processes as JSON. The
 *       exit status is 0 where every request was answered.
 *   clients once ADDRESS PORT FIRST COUNT PER_CONNECTION INTERVAL_NS
 *       Is such a process. A request says its number and the pid: `?n=NUMBER&pid=PID`. Odd ones carry a token.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TOKEN "X-volc-ecs-metadata-token: c29hay1vbmx5LXRoaXMtaXMtbm8tdG9rZW4=\r\n"

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int check(int result, const char *what)
{
	if (result < 0)
		fail(what);
	return result;
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 10);

	if (*text == 0 || *end) {
		fprintf(stderr, "not a number: %s\n", text);
		exit(2);
	}
	return value;
}

/* ---- once ------------------------------------------------------------------------------------------------------ */

static void wait_until(uint64_t ns)
{
	struct timespec at = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
		;
}

static int connect_to(const char *address, int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = check(socket(AF_INET, SOCK_STREAM, 0), "socket"), on = 1;

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1)
		fail(address);
	check(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), "TCP_NODELAY");
	check(connect(fd, (struct sockaddr *)&to, sizeof(to)), "connect");
	return fd;
}

/* One answer with a Content-Length, and nothing behind it: the next request was not sent yet. */
static void receive_answer(int fd)
{
	char answer[1024], *body;
	size_t had = 0, length = 0;

	do {
		ssize_t more = recv(fd, answer + had, sizeof(answer) - 1 - had, 0);

		if (more == 0)
			errno = ECONNRESET;
		if (more <= 0)
			fail("recv");
		had += more;
		answer[had] = 0;
		body = strstr(answer, "\r\n\r\n");
		if (body) {
			char *field = strstr(answer, "Content-Length: ");

			if (!field)
				fail("an answer without a length");
			length = body + 4 - answer + strtoul(field + 16, NULL, 10);
		}
	} while (!body || had < length);
}

static void once(const char *address, int port, uint64_t first, uint64_t count, uint64_t per_connection, uint64_t interval)
{
	struct timespec now;
	uint64_t begun;
	char request[512];
	int fd = -1;

	clock_gettime(CLOCK_MONOTONIC, &now);
	begun = now.tv_sec * UINT64_C(1000000000) + now.tv_nsec;
	for (uint64_t i = 0; i < count; i++) {
		int last = (i + 1) % per_connection == 0 || i + 1 == count, length;

		wait_until(begun + i * interval);
		if (fd < 0)
			fd = connect_to(address, port);
		length = snprintf(request, sizeof(request),
				  "GET /latest/instance_id?n=%llu&pid=%d HTTP/1.1\r\nHost: %s\r\n%s%s\r\n",
				  (unsigned long long)(first + i), getpid(), address, (first + i) & 1 ? TOKEN : "",
				  last ? "Connection: close\r\n" : "");
		if (send(fd, request, length, MSG_NOSIGNAL) != length)
			fail("send");
		receive_answer(fd);
		if (last) {
			/* The server closes first, so that its side is left in TIME_WAIT and no port of ours is. */
			if (recv(fd, request, 1, 0) != 0)
				fail("the end of the connection");
			close(fd);
			fd = -1;
		}
	}
}

/* ---- run ------------------------------------------------------------------------------------------------------- */

struct progress {
	atomic_uint_fast64_t next, processes;
};

static void lane(char **argv, struct progress *progress, uint64_t total, uint64_t per_process, uint64_t interval)
{
	for (;;) {
		uint64_t first = atomic_fetch_add(&progress->next, per_process);
		char numbers[3][24];
		int status;

		if (first >= total)
			return;
		snprintf(numbers[0], 24, "%llu", (unsigned long long)first);
		snprintf(numbers[1], 24, "%llu",
			 (unsigned long long)(total - first < per_process ? total - first : per_process));
		snprintf(numbers[2], 24, "%llu", (unsigned long long)interval);
		atomic_fetch_add(&progress->processes, 1);
		if (check(fork(), "fork") == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			execl("/proc/self/exe", argv[0], "once", argv[2], argv[3], numbers[0], numbers[1], argv[7],
			      numbers[2], (char *)NULL);
			fail("exec");
		}
		if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
			exit(1);
	}
}

static void run(char **argv)
{
	uint64_t lanes = number(argv[4]), total = number(argv[5]), per_process = number(argv[6]), rate = number(argv[8]);
	struct progress *progress =
		mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status, failed = 0;

	if (progress == MAP_FAILED)
		fail("mmap");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (uint64_t i = 0; i < lanes; i++) {
		if (check(fork(), "fork") == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			lane(argv, progress, total, per_process, UINT64_C(1000000000) * lanes / rate);
			_exit(0);
		}
	}
	while (wait(&status) > 0)
		failed |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
	printf("{\"processes\": %llu}\n", (unsigned long long)progress->processes);
	exit(failed);
}

int main(int argc, char **argv)
{
	if (argc == 9 && strcmp(argv[1], "run") == 0) {
		run(argv);
	} else if (argc == 8 && strcmp(argv[1], "once") == 0) {
		once(argv[2], number(argv[3]), number(argv[4]), number(argv[5]), number(argv[6]), number(argv[7]));
	} else {
		fprintf(stderr, "usage: see the top of clients.c\n");
		return 2;
	}
	return 0;
}
