/*
 * The traffic of the benchmarks, at little cost of its own: what it takes is the yardstick of what the tracer takes.
 *
 *   traffic serve ADDRESS PORT                                 answers every request alike; ends with standard input
 *   traffic request ADDRESS PORT WORKERS COUNT PER_CONNECTION RATE
 *       WORKERS processes send COUNT requests each, PER_CONNECTION on a connection, the next when the last is answered;
 *       RATE requests a second in all, 0 for as fast as they are answered. Every second one carries a token.
 *       The query says when it was sent: `sent=NANOSECONDS` of CLOCK_MONOTONIC. The command leaves its parent at once, so
 *       that a line, which names all ancestors, is about as long wherever the benchmark is started.
 *   traffic round-trips COUNT                                  64 bytes there and back on a connection over 127.0.0.1
 *   traffic connects COUNT                                     connect, accept and close over 127.0.0.1
 *   traffic bulk COUNT                                         COUNT MiB one way on a connection over 127.0.0.1
 *   traffic keep ADDRESS PORT COUNT       opens COUNT connections, a request each, says `kept`; closes with standard input
 *   traffic crowd COUNT                   COUNT processes that sleep; says `there`; they end with standard input
 *   traffic crowd COUNT CGROUP            the same, each in a network namespace of its own and in a cgroup of its own,
 *                                         made below the folder CGROUP and removed at the end
 *
 * The others print an object of JSON: seconds, cpu_seconds (all processes of the command), round_trip_us.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char ANSWER[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 22\r\n\r\ni-bench00000000000000\n";
#define ANSWER_LENGTH (sizeof(ANSWER) - 1)
#define CLOSING "Connection: close\r\n"
#define TOKEN "X-aliyun-ecs-metadata-token: YmVuY2gtb25seS10aGlzLWlzLW5vLXRva2VuLTAxMjM0NTY3ODk=\r\n"
#define MESSAGE 64

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

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * UINT64_C(1000000000) + now.tv_nsec;
}

static void allow_descriptors(rlim_t count)
{
	struct rlimit limit;

	check(getrlimit(RLIMIT_NOFILE, &limit), "RLIMIT_NOFILE");
	if (limit.rlim_cur >= count)
		return;
	limit.rlim_cur = count;
	if (limit.rlim_max < count)
		limit.rlim_max = count;
	check(setrlimit(RLIMIT_NOFILE, &limit), "RLIMIT_NOFILE");
}

static void until_input_ends(const char *word)
{
	char byte;

	puts(word);
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
}

static struct sockaddr_in address_of(const char *address, int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1) {
		fprintf(stderr, "not an IPv4 address: %s\n", address);
		exit(2);
	}
	return to;
}

static int tcp_socket(void)
{
	int fd = check(socket(AF_INET, SOCK_STREAM, 0), "socket"), on = 1;

	check(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), "TCP_NODELAY");
	return fd;
}

static int listen_on(struct sockaddr_in *at)
{
	int fd = tcp_socket(), on = 1;
	socklen_t length = sizeof(*at);

	check(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), "SO_REUSEADDR");
	check(bind(fd, (struct sockaddr *)at, sizeof(*at)), "bind");
	check(listen(fd, 4096), "listen");
	check(getsockname(fd, (struct sockaddr *)at, &length), "getsockname");
	return fd;
}

static void connect_to(int fd, const struct sockaddr_in *to)
{
	check(connect(fd, (const struct sockaddr *)to, sizeof(*to)), "connect");
}

static void send_all(int fd, const char *bytes, size_t length)
{
	if (send(fd, bytes, length, MSG_NOSIGNAL) != (ssize_t)length)
		fail("send");
}

static void receive_all(int fd, char *bytes, size_t length)
{
	for (size_t had = 0; had < length;) {
		ssize_t more = recv(fd, bytes + had, length - had, 0);

		if (more == 0)
			errno = ECONNRESET;
		if (more <= 0)
			fail("recv");
		had += more;
	}
}

/* ---- serve ----------------------------------------------------------------------------------------------------- */

#define MAX_CONNECTIONS 18000
#define MAX_HEAD 2048

struct connection {
	size_t had;
	char head[MAX_HEAD];
};

/* False when the connection is over: the client's end, or an answer that was to be the last. */
static int serve_connection(int fd, struct connection *connection)
{
	ssize_t more = recv(fd, connection->head + connection->had, MAX_HEAD - connection->had, 0);
	char *end, *start = connection->head;
	int last = 0;

	if (more <= 0)
		return 0;
	connection->had += more;
	while ((end = memmem(start, connection->had, "\r\n\r\n", 4))) {
		last |= memmem(start, end + 2 - start, CLOSING, strlen(CLOSING)) != NULL;
		if (send(fd, ANSWER, ANSWER_LENGTH, MSG_NOSIGNAL) != (ssize_t)ANSWER_LENGTH)
			return 0;
		connection->had -= end + 4 - start;
		start = end + 4;
	}
	memmove(connection->head, start, connection->had);
	return !last && connection->had < MAX_HEAD;
}

static void serve(const char *address, int port)
{
	static struct connection connections[MAX_CONNECTIONS];
	struct sockaddr_in at = address_of(address, port);
	int listener = listen_on(&at), poller = check(epoll_create1(0), "epoll_create1");
	struct epoll_event ready[64], wanted = { .events = EPOLLIN };

	check(epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &wanted), "standard input must be a pipe");
	wanted.data.fd = listener;
	check(epoll_ctl(poller, EPOLL_CTL_ADD, listener, &wanted), "epoll_ctl");
	allow_descriptors(MAX_CONNECTIONS + 64);
	puts("listening");
	fflush(stdout);
	for (;;) {
		int count = epoll_wait(poller, ready, 64, -1);

		for (int i = 0; i < count; i++) {
			int fd = ready[i].data.fd;

			if (fd == STDIN_FILENO)
				return;
			if (fd == listener) {
				fd = accept4(listener, NULL, NULL, 0);
				if (fd >= MAX_CONNECTIONS)
					close(fd);
				if (fd < 0 || fd >= MAX_CONNECTIONS)
					continue;
				connections[fd].had = 0;
				wanted.data.fd = fd;
				check(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &wanted), "epoll_ctl");
			} else if (!serve_connection(fd, &connections[fd])) {
				close(fd);
			}
		}
	}
}

/* ---- request --------------------------------------------------------------------------------------------------- */

struct plan {
	struct sockaddr_in to;
	const char *address;
	unsigned int workers, count, per_connection, rate;
};

static void wait_until(uint64_t ns)
{
	struct timespec at = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
		;
}

static void work(const struct plan *plan, uint64_t begin, uint32_t *round_trips)
{
	char request[512], answer[ANSWER_LENGTH];
	int fd = -1;

	for (unsigned int n = 0; n < plan->count; n++) {
		int last = (n + 1) % plan->per_connection == 0 || n + 1 == plan->count;
		uint64_t sent;

		if (plan->rate)
			wait_until(begin + n * (UINT64_C(1000000000) * plan->workers / plan->rate));
		if (fd < 0) {
			fd = tcp_socket();
			connect_to(fd, &plan->to);
		}
		sent = now_ns();
		send_all(fd, request,
			 snprintf(request, sizeof(request),
				  "GET /latest/meta-data/instance-id?n=%u&sent=%llu HTTP/1.1\r\nHost: %s\r\n"
				  "User-Agent: imds-bench/1.0\r\nAccept: */*\r\n%s%s\r\n",
				  n, (unsigned long long)sent, plan->address, n & 1 ? TOKEN : "", last ? CLOSING : ""));
		receive_all(fd, answer, ANSWER_LENGTH);
		round_trips[n] = now_ns() - sent;
		if (last) {
			/* The server closes first, so that its side is left in TIME_WAIT and no port of ours is. */
			if (recv(fd, answer, 1, 0) != 0)
				fail("the end of the connection");
			close(fd);
			fd = -1;
		}
	}
}

static int by_value(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return (left > right) - (left < right);
}

static double seconds_of(struct timeval time)
{
	return time.tv_sec + time.tv_usec / 1e6;
}

static double cpu_seconds(void)
{
	struct rusage self, children;

	getrusage(RUSAGE_SELF, &self);
	getrusage(RUSAGE_CHILDREN, &children);
	return seconds_of(self.ru_utime) + seconds_of(self.ru_stime) + seconds_of(children.ru_utime) +
	       seconds_of(children.ru_stime);
}

static void print_result(uint64_t begin, uint64_t end, double p50_us, double p99_us)
{
	printf("{\"seconds\": %.9f, \"cpu_seconds\": %.6f, \"round_trip_us\": {\"p50\": %.3f, \"p99\": %.3f}}\n",
	       (end - begin) / 1e9, cpu_seconds(), p50_us, p99_us);
}

static void wait_for_workers(void)
{
	int status;

	while (wait(&status) > 0) {
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
			fprintf(stderr, "a worker failed\n");
			exit(1);
		}
	}
}

/* Goes on as a child of init, or of a subreaper. */
static void leave_parent(void)
{
	pid_t parent = getpid();

	if (check(fork(), "fork"))
		_exit(0);
	while (getppid() == parent)
		sched_yield();
}

static void request(const struct plan *plan)
{
	size_t total = (size_t)plan->workers * plan->count;
	uint32_t *round_trips = mmap(NULL, total * sizeof(*round_trips), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	uint64_t begin, end;

	if (round_trips == MAP_FAILED)
		fail("mmap");
	begin = now_ns();
	for (unsigned int i = 0; i < plan->workers; i++) {
		if (check(fork(), "fork") == 0) {
			work(plan, begin, round_trips + (size_t)i * plan->count);
			_exit(0);
		}
	}
	wait_for_workers();
	end = now_ns();
	qsort(round_trips, total, sizeof(*round_trips), by_value);
	print_result(begin, end, round_trips[total / 2] / 1e3, round_trips[total - 1 - total / 100] / 1e3);
}

/* ---- loopback -------------------------------------------------------------------------------------------------- */

/* Both ends on one processor: what is measured is the path of the packets, and not which processor wakes which. */
static void stay_on_one_processor(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(check(sched_getcpu(), "sched_getcpu"), &one);
	check(sched_setaffinity(0, sizeof(one), &one), "sched_setaffinity");
}

static void print_loop(uint64_t begin, uint64_t end, unsigned int count)
{
	double each_us = (end - begin) / 1e3 / count;

	print_result(begin, end, each_us, each_us);
}

static void round_trips(unsigned int count)
{
	struct sockaddr_in at = address_of("127.0.0.1", 0);
	int listener = listen_on(&at), fd;
	char message[MESSAGE] = { 0 };
	uint64_t begin, end;

	stay_on_one_processor();
	if (check(fork(), "fork") == 0) {
		fd = check(accept(listener, NULL, NULL), "accept");
		for (unsigned int i = 0; i < count; i++) {
			receive_all(fd, message, MESSAGE);
			send_all(fd, message, MESSAGE);
		}
		_exit(0);
	}
	fd = tcp_socket();
	connect_to(fd, &at);
	begin = now_ns();
	for (unsigned int i = 0; i < count; i++) {
		send_all(fd, message, MESSAGE);
		receive_all(fd, message, MESSAGE);
	}
	end = now_ns();
	wait_for_workers();
	print_loop(begin, end, count);
}

static void connects(unsigned int count)
{
	/* Closed by a reset, so that no port is left in TIME_WAIT. */
	static const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	struct sockaddr_in at = address_of("127.0.0.1", 0);
	int listener = listen_on(&at);
	uint64_t begin;

	stay_on_one_processor();
	begin = now_ns();
	for (unsigned int i = 0; i < count; i++) {
		int fd = tcp_socket(), accepted;

		connect_to(fd, &at);
		accepted = check(accept(listener, NULL, NULL), "accept");
		check(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), "SO_LINGER");
		close(fd);
		close(accepted);
	}
	print_loop(begin, now_ns(), count);
}

#define MIB (1024 * 1024)
#define PIECE (64 * 1024)

static void bulk(unsigned int count)
{
	static char piece[PIECE];
	struct sockaddr_in at = address_of("127.0.0.1", 0);
	int listener = listen_on(&at), fd;
	uint64_t begin;

	stay_on_one_processor();
	if (check(fork(), "fork") == 0) {
		fd = check(accept(listener, NULL, NULL), "accept");
		for (uint64_t left = (uint64_t)count * MIB; left > 0; left -= PIECE)
			receive_all(fd, piece, PIECE);
		_exit(0);
	}
	fd = tcp_socket();
	connect_to(fd, &at);
	begin = now_ns();
	for (uint64_t left = (uint64_t)count * MIB; left > 0; left -= PIECE)
		send_all(fd, piece, PIECE);
	wait_for_workers();
	print_loop(begin, now_ns(), count);
}

/* ---- what there is beside the traffic -------------------------------------------------------------------------- */

static void keep(const struct sockaddr_in *to, const char *address, unsigned int count)
{
	char request[256], answer[ANSWER_LENGTH];
	int length = snprintf(request, sizeof(request),
			      "GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: %s\r\n\r\n", address);

	allow_descriptors(count + 64);
	for (unsigned int i = 0; i < count; i++) {
		int fd = tcp_socket();

		connect_to(fd, to);
		send_all(fd, request, length);
		receive_all(fd, answer, ANSWER_LENGTH);
	}
	until_input_ends("kept");
}

/* A process of the crowd; `folder`: the cgroup that it makes for itself, or NULL. Ends with the pipe. */
static void stand(int pipe_end, const char *folder)
{
	char path[512], byte;

	if (folder) {
		FILE *members;

		check(mkdir(folder, 0755), folder);
		snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
		members = fopen(path, "w");
		if (!members || fputs("0", members) < 0 || fclose(members))
			fail(path);
		check(unshare(CLONE_NEWNET), "unshare");
	}
	check(write(STDOUT_FILENO, ".", 1), "write");
	while (read(pipe_end, &byte, 1) > 0)
		;
	_exit(0);
}

static void crowd(unsigned int count, const char *cgroup)
{
	int pipe_ends[2], ready[2], out = dup(STDOUT_FILENO);
	char folder[256], byte;

	if (pipe(pipe_ends) || pipe(ready) || dup2(ready[1], STDOUT_FILENO) < 0)
		fail("pipe");
	for (unsigned int i = 0; i < count; i++) {
		snprintf(folder, sizeof(folder), "%s/imds-bench-%d-%u", cgroup ? cgroup : "", getpid(), i);
		if (check(fork(), "fork") == 0) {
			close(pipe_ends[1]);
			stand(pipe_ends[0], cgroup ? folder : NULL);
		}
	}
	close(ready[1]);
	check(dup2(out, STDOUT_FILENO), "dup2");
	for (unsigned int i = 0; i < count; i++) {
		if (read(ready[0], &byte, 1) != 1)
			fail("a process of the crowd");
	}
	until_input_ends("there");
	close(pipe_ends[1]);
	wait_for_workers();
	for (unsigned int i = 0; cgroup && i < count; i++) {
		snprintf(folder, sizeof(folder), "%s/imds-bench-%d-%u", cgroup, getpid(), i);
		/* Busy for a moment after its last process has ended. */
		for (int tries = 0; rmdir(folder) && tries < 100; tries++)
			usleep(10000);
	}
}

/* ---------------------------------------------------------------------------------------------------------------- */

static unsigned int number(const char *text, unsigned int least)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end || value < least || value > 100000000) {
		fprintf(stderr, "not a number of at least %u: %s\n", least, text);
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	if (argc == 4 && strcmp(mode, "serve") == 0) {
		serve(argv[2], number(argv[3], 1));
	} else if (argc == 8 && strcmp(mode, "request") == 0) {
		struct plan plan = {
			.to = address_of(argv[2], number(argv[3], 1)),
			.address = argv[2],
			.workers = number(argv[4], 1),
			.count = number(argv[5], 1),
			.per_connection = number(argv[6], 1),
			.rate = number(argv[7], 0),
		};
		leave_parent();
		request(&plan);
	} else if (argc == 3 && strcmp(mode, "round-trips") == 0) {
		round_trips(number(argv[2], 1));
	} else if (argc == 3 && strcmp(mode, "connects") == 0) {
		connects(number(argv[2], 1));
	} else if (argc == 3 && strcmp(mode, "bulk") == 0) {
		bulk(number(argv[2], 1));
	} else if (argc == 5 && strcmp(mode, "keep") == 0) {
		struct sockaddr_in to = address_of(argv[2], number(argv[3], 1));

		keep(&to, argv[2], number(argv[4], 1));
	} else if ((argc == 3 || argc == 4) && strcmp(mode, "crowd") == 0) {
		crowd(number(argv[2], 1), argv[3]);
	} else {
		fprintf(stderr, "usage: see the top of traffic.c\n");
		return 2;
	}
	return 0;
}
