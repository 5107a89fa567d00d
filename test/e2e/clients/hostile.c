/*
 * What an unprivileged local user may do to a metadata service that is traced, and clients that must be told right
 * meanwhile. Each request's User-Agent is `w-PID` of who connected, of a storm `s-PID`.
 *
 *   hostile sink ADDRESS PORT...           accepts, reads and never answers, until standard input ends; says `ready`
 *   hostile deaf ADDRESS PORT              listens and never accepts; as above
 *   hostile hold ADDRESS PORT COUNT KIND   opens COUNT connections and keeps them until standard input ends; says `held COUNT`.
 *                                          KIND: idle, head (half of one), drip (a byte a second), syn (never answered)
 *   hostile flood ADDRESS PORT COUNT KIND BYTES
 *                                          COUNT connections, one after the other, with BYTES bytes each, 64 KiB a send.
 *                                          KIND: random, endless (a head), body
 *   hostile raw FROM PORT TO PORT COUNT    COUNT TCP segments with sequence numbers, flags and lengths at random, from a raw
 *                                          socket that is connected (needs CAP_NET_RAW)
 *   hostile witness ADDRESS PORT MS        every MS milliseconds a process that gets a token, uses it, and does without, until
 *                                          standard input ends; says how many there were
 *   hostile keep ADDRESS PORT              one connection; says `ready PORT`; a request for each line of standard input; says
 *                                          `answered`
 *   hostile storm ADDRESS PORT COUNT       COUNT processes, 64 at a time, that ask once and exit without reading
 *   hostile reuse ADDRESS PORT             a process that asks for a token, and after its end another of the same pid that does
 *                                          without one; says the pid (needs CAP_SYS_ADMIN)
 *   hostile nets ADDRESS PORT COUNT        COUNT times a user and a network namespace with a service and a client of its own
 *   hostile once ADDRESS PORT [ANY...]     one request, and reads the answer
 *   hostile vanish ADDRESS PORT            the same, after it has deleted its own executable
 *   hostile rename ADDRESS PORT NAME       the same, after prctl(PR_SET_NAME)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEND_BYTES 65536
#define SINKS 8
#define HALF_A_HEAD "GET /latest/meta-data/ HTTP/1.1\r\nHost: half"

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void say(const char *text)
{
	puts(text);
	fflush(stdout);
}

static struct sockaddr_in at(const char *address, const char *port)
{
	struct sockaddr_in place = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };

	if (inet_pton(AF_INET, address, &place.sin_addr) != 1)
		exit(2);
	return place;
}

static void raise_descriptors(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int dial(const char *address, const char *port, int flags)
{
	struct sockaddr_in to = at(address, port);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | flags, 0);

	if (fd < 0 || (connect(fd, (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS))
		fail("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static int serve(const char *address, const char *port, int backlog)
{
	struct sockaddr_in here = at(address, port);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&here, sizeof(here)) || listen(fd, backlog))
		fail("listen");
	return fd;
}

/* Not 0: standard input has ended, or `ms` milliseconds are over and it has not. */
static int input_ended(int ms)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	char bytes[256];

	return poll(&input, 1, ms) > 0 && read(STDIN_FILENO, bytes, sizeof(bytes)) <= 0;
}

static int sink(int argc, char **argv)
{
	static char bytes[1 << 20];
	struct epoll_event event = { .events = EPOLLIN }, events[256];
	int first = -1, last = -1, epoll;

	raise_descriptors();
	for (int i = 3; i < argc; i++) {
		last = serve(argv[2], argv[i], 4096);
		fcntl(last, F_SETFL, O_NONBLOCK);
		first = first < 0 ? last : first;
	}
	say("ready");
	/* As many as it takes: each has so many descriptors, and leaves what it has none for to the others. */
	for (int i = 1; i < SINKS && fork() == 0; i++)
		;
	epoll = epoll_create1(0);
	for (int fd = first; fd <= last; fd++) {
		event.data.fd = fd;
		epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
	}
	event.data.fd = STDIN_FILENO;
	epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event);
	for (;;) {
		int count = epoll_wait(epoll, events, 256, -1);

		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;

			if (fd == STDIN_FILENO) {
				if (input_ended(0))
					return 0;
			} else if (fd >= first && fd <= last) {
				event.data.fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
				if (event.data.fd >= 0)
					epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
				else if (errno == EMFILE)
					usleep(1000);
			} else if (read(fd, bytes, sizeof(bytes)) <= 0) {
				close(fd);
			}
		}
	}
}

static int deaf(char **argv)
{
	serve(argv[2], argv[3], 0);
	say("ready");
	while (!input_ended(1000))
		;
	return 0;
}

static int hold(char **argv)
{
	int count = atoi(argv[4]), *sockets = calloc(count, sizeof(*sockets));
	int head = strcmp(argv[5], "head") == 0, drip = strcmp(argv[5], "drip") == 0;
	int flags = strcmp(argv[5], "syn") == 0 ? SOCK_NONBLOCK : 0;
	/* closed by a RST: in TIME_WAIT they would use up the ports of the next load */
	struct linger none = { .l_onoff = 1 };
	char text[64];

	raise_descriptors();
	for (int i = 0; i < count; i++) {
		sockets[i] = dial(argv[2], argv[3], flags);
		setsockopt(sockets[i], SOL_SOCKET, SO_LINGER, &none, sizeof(none));
		if (head && send(sockets[i], HALF_A_HEAD, strlen(HALF_A_HEAD), MSG_NOSIGNAL) < 0)
			fail("send");
	}
	snprintf(text, sizeof(text), "held %d", count);
	say(text);
	for (size_t at = 0; !input_ended(1000); at++)
		for (int i = 0; drip && i < count; i++)
			if (send(sockets[i], HALF_A_HEAD + at % strlen(HALF_A_HEAD), 1, MSG_NOSIGNAL) < 0)
				fail("send");
	return 0;
}

static void send_all(int fd, const char *bytes, size_t length)
{
	for (ssize_t sent; length > 0; bytes += sent, length -= sent) {
		sent = send(fd, bytes, length, MSG_NOSIGNAL);
		if (sent < 0)
			fail("send");
	}
}

static int flood(char **argv)
{
	static char bytes[SEND_BYTES];
	size_t total = strtoul(argv[6], NULL, 10);
	char head[256];

	srandom(1);
	if (strcmp(argv[5], "random") == 0) {
		snprintf(head, sizeof(head), "%c", 0);
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = random();
	} else if (strcmp(argv[5], "endless") == 0) {
		snprintf(head, sizeof(head), "GET /endless HTTP/1.1\r\n");
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = "X-Endless: abcdefghijklmnopqrst\r\n"[i % 33];
	} else {
		snprintf(head, sizeof(head), "POST /latest/user-data HTTP/1.1\r\nUser-Agent: w-%d\r\nContent-Length: %zu\r\n\r\n",
			 (int)getpid(), total);
	}
	for (int i = 0; i < atoi(argv[4]); i++) {
		int fd = dial(argv[2], argv[3], 0);

		send_all(fd, head, *head ? strlen(head) : 1);
		for (size_t sent = 0; sent < total; sent += sizeof(bytes))
			send_all(fd, bytes, total - sent < sizeof(bytes) ? total - sent : sizeof(bytes));
		close(fd);
	}
	return 0;
}

static uint16_t checksum(const void *bytes, size_t length, uint32_t sum)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < length; i++)
		sum += i % 2 ? at[i] : at[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static int raw(char **argv)
{
	struct sockaddr_in from = at(argv[2], argv[3]), to = at(argv[4], argv[5]);
	/* connected to a port, so that the socket has the address of the service as its own TCP sockets have it */
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_TCP), one = 1;
	struct {
		struct iphdr ip;
		struct tcphdr tcp;
		char bytes[1400];
	} packet;
	static const char REQUEST[] = "GET /latest/user-data HTTP/1.1\r\nHost: raw\r\n\r\n";
	uint32_t base;

	srandom(7);
	base = random();
	if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_HDRINCL, &one, sizeof(one)) ||
	    connect(fd, (struct sockaddr *)&to, sizeof(to)))
		fail("raw socket");
	for (int i = 0; i < atoi(argv[6]); i++) {
		size_t length = random() % sizeof(packet.bytes), all = sizeof(packet.ip) + sizeof(packet.tcp) + length;
		uint32_t pseudo = 0;

		memset(&packet, 0, sizeof(packet));
		packet.ip.version = 4;
		packet.ip.ihl = 5;
		packet.ip.ttl = 64;
		packet.ip.protocol = IPPROTO_TCP;
		packet.ip.saddr = from.sin_addr.s_addr;
		packet.ip.daddr = to.sin_addr.s_addr;
		packet.ip.tot_len = htons(all);
		packet.tcp.source = from.sin_port;
		packet.tcp.dest = to.sin_port;
		/* one in three overlaps, one is ahead by less than a window, one is anywhere */
		packet.tcp.seq = htonl(base + (i % 3 == 0 ? random() % 4096 : i % 3 == 1 ? random() % 4000000 : random() * 2));
		packet.tcp.ack_seq = htonl(random() * 2);
		packet.tcp.doff = 5;
		packet.tcp.ack = 1;
		packet.tcp.syn = i == 0 || random() % 64 == 0;
		packet.tcp.fin = random() % 64 == 0;
		packet.tcp.psh = random() % 2;
		packet.tcp.urg = random() % 16 == 0;
		packet.tcp.window = htons(random());
		for (size_t b = 0; b < length; b++)
			packet.bytes[b] = REQUEST[(b + i) % (sizeof(REQUEST) - 1)];
		for (int half = 0; half < 2; half++) {
			uint32_t address = ntohl(half ? packet.ip.daddr : packet.ip.saddr);

			pseudo += (address >> 16) + (address & 0xffff);
		}
		pseudo += IPPROTO_TCP + sizeof(packet.tcp) + length;
		packet.tcp.check = htons(checksum(&packet.tcp, sizeof(packet.tcp) + length, pseudo));
		if (send(fd, &packet, all, 0) < 0 && errno != ENOBUFS)
			fail("send");
	}
	return 0;
}

/* Sends a request and reads the whole answer into `answer`, with a 0 behind it; gives its body. */
static const char *ask(int fd, const char *method, const char *path, const char *header, char *answer, size_t room)
{
	char request[1024], *body = NULL;
	size_t got = 0;
	int length = snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: metadata\r\nUser-Agent: w-%d\r\n%s\r\n", method,
			      path, (int)getpid(), header);

	send_all(fd, request, length);
	while (got < room - 1) {
		ssize_t more = read(fd, answer + got, room - 1 - got);
		const char *stated;

		if (more <= 0)
			fail("no answer");
		answer[got += more] = 0;
		body = strstr(answer, "\r\n\r\n");
		stated = strcasestr(answer, "content-length:");
		if (body && stated && strlen(body + 4) >= strtoul(stated + 15, NULL, 10))
			return body + 4;
	}
	exit(1);
}

static int once(char **argv)
{
	char answer[4096];

	ask(dial(argv[2], argv[3], 0), "GET", "/latest/instance_id", "", answer, sizeof(answer));
	return 0;
}

static void get_token(int fd, char *header, size_t room)
{
	char answer[4096];

	snprintf(header, room, "X-volc-ecs-metadata-token: %s\r\n",
		 ask(fd, "PUT", "/latest/api/token", "X-volc-ecs-metadata-token-ttl-seconds: 60\r\n", answer, sizeof(answer)));
}

static int witness(char **argv)
{
	int count = 0, status, failed = 0;
	char text[64];

	do {
		if (fork() == 0) {
			char header[2048], answer[4096];
			int fd = dial(argv[2], argv[3], 0);

			get_token(fd, header, sizeof(header));
			ask(fd, "GET", "/latest/instance_id", header, answer, sizeof(answer));
			close(fd);
			once(argv);
			_exit(0);
		}
		count++;
		while (waitpid(-1, &status, WNOHANG) > 0)
			failed |= status;
	} while (!input_ended(atoi(argv[4])));
	while (wait(&status) > 0)
		failed |= status;
	snprintf(text, sizeof(text), "%d", count);
	say(text);
	return failed != 0;
}

static int keep(char **argv)
{
	int fd = dial(argv[2], argv[3], 0);
	char line[64], answer[4096];
	struct sockaddr_in here;
	socklen_t length = sizeof(here);

	getsockname(fd, (struct sockaddr *)&here, &length);
	snprintf(line, sizeof(line), "ready %d", ntohs(here.sin_port));
	say(line);
	while (fgets(line, sizeof(line), stdin)) {
		ask(fd, "GET", "/latest/instance_id", "", answer, sizeof(answer));
		say("answered");
	}
	return 0;
}

static int storm(char **argv)
{
	int status, failed = 0, running = 0;

	for (int i = 0; i < atoi(argv[4]); i++) {
		pid_t pid = fork();

		if (pid == 0) {
			char request[256];
			int fd = dial(argv[2], argv[3], 0);
			int length = snprintf(request, sizeof(request),
					      "GET /latest/instance_id HTTP/1.1\r\nHost: x\r\nUser-Agent: s-%d\r\n\r\n", (int)getpid());

			send_all(fd, request, length);
			_exit(0);
		}
		if (pid < 0)
			fail("fork");
		if (++running == 64) {
			wait(&status);
			failed |= status;
			running--;
		}
	}
	while (wait(&status) > 0)
		failed |= status;
	return failed != 0;
}

static int reuse(char **argv)
{
	char header[2048], text[64];
	pid_t first = fork(), second = -1;
	int status;

	if (first == 0) {
		get_token(dial(argv[2], argv[3], 0), header, sizeof(header));
		_exit(0);
	}
	if (waitpid(first, &status, 0) != first || status != 0)
		return 1;
	struct clone_args args = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&first, .set_tid_size = 1 };
	/* A process is told by its pid and the clock tick that it started in, of which there are 100 a second. */
	usleep(20000);
	/* somebody else may have been given it meanwhile */
	for (int i = 0; i < 1000 && second < 0; i++) {
		second = syscall(SYS_clone3, &args, sizeof(args));
		if (second == 0) {
			/* glibc has no part in clone3, and getpid() is a system call */
			once(argv);
			_exit(0);
		}
		if (second < 0 && errno != EEXIST)
			fail("clone3");
		if (second < 0)
			usleep(1000);
	}
	if (second != first || waitpid(second, &status, 0) != second || status != 0)
		return 1;
	snprintf(text, sizeof(text), "%d", (int)first);
	say(text);
	return 0;
}

static void own_network(char **argv)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	struct sockaddr_in here = at(argv[2], argv[3]);
	char bytes[4096], answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	int fd, status, listening;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		fail("unshare");
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (ioctl(fd, SIOCSIFFLAGS, &request))
		fail("lo");
	strcpy(request.ifr_name, "lo:1");
	memcpy(&request.ifr_addr, &here, sizeof(here));
	if (ioctl(fd, SIOCSIFADDR, &request))
		fail("address");
	close(fd);
	listening = serve(argv[2], argv[3], 1);
	if (fork() == 0)
		_exit(once(argv));
	fd = accept(listening, NULL, NULL);
	if (read(fd, bytes, sizeof(bytes)) <= 0)
		fail("read");
	send_all(fd, answer, sizeof(answer) - 1);
	if (wait(&status) < 0 || status != 0)
		exit(1);
	exit(0);
}

static int nets(char **argv)
{
	int status;

	for (int i = 0; i < atoi(argv[4]); i++) {
		if (fork() == 0)
			own_network(argv);
		if (wait(&status) < 0 || status != 0)
			return 1;
	}
	return 0;
}

static int vanish(char **argv)
{
	char path[4096];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (length < 0)
		fail("readlink");
	path[length] = 0;
	if (unlink(path))
		fail("unlink");
	return once(argv);
}

static int renamed(char **argv)
{
	prctl(PR_SET_NAME, argv[4]);
	return once(argv);
}

static const struct {
	const char *name;
	int arguments;
	int (*run)(char **argv);
} ROLES[] = {
	{ "deaf", 2, deaf },	   { "hold", 4, hold },	    { "flood", 5, flood }, { "raw", 5, raw },	{ "witness", 3, witness },
	{ "keep", 2, keep },	   { "storm", 3, storm },   { "reuse", 2, reuse }, { "nets", 3, nets }, { "once", 2, once },
	{ "vanish", 2, vanish }, { "rename", 3, renamed },
};

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc >= 4 && strcmp(argv[1], "sink") == 0)
		return sink(argc, argv);
	for (size_t i = 0; i < sizeof(ROLES) / sizeof(*ROLES); i++)
		if (argc >= ROLES[i].arguments + 2 && strcmp(argv[1], ROLES[i].name) == 0)
			return ROLES[i].run(argv);
	fprintf(stderr, "usage: see the head of hostile.c\n");
	return 2;
}
