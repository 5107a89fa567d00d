// SPDX-License-Identifier: Apache-2.0
/*
 * Proof that the attached programs work here: a TCP connection over loopback, over IPv4 and over an IPv6 socket with an
 * IPv4-mapped address, must come through every hook with its process and its bytes. Its traffic has counters of its own.
 */
#include "ebpf.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

/* Generous, for a machine under load or an emulated one; ordinarily this takes a millisecond. */
#define DEADLINE_MS 10000
#define NONCE_SIZE 32

/* What is expected of the connection under test, and what of it has come. */
struct expectation {
	uint64_t cookie;
	uint32_t pid; /* 0: in a pid namespace, where the kernel's number isn't known */
	bool argv_expected;
	char argv[IMDS_ARGV_MAX];
	size_t argv_length;
	uint8_t request[NONCE_SIZE], reply[NONCE_SIZE];
	bool connect, egress, ingress;
	const char *contradiction; /* what came was not what went in */
};

static void check_connect(struct expectation *expected, const struct imds_connect *record, size_t size)
{
	size_t length = record->argv.length < expected->argv_length ? record->argv.length : expected->argv_length;

	if (record->cookie != expected->cookie)
		return;
	expected->connect = true;
	if (expected->pid && record->process.pid != expected->pid)
		expected->contradiction = "names another process";
	else if (expected->argv_expected && record->argv.length == 0)
		expected->contradiction = "could not read the process's arguments";
	else if (expected->argv_expected && (record->argv.offset + length > size ||
					     memcmp((const char *)record + record->argv.offset, expected->argv, length)))
		expected->contradiction = "read other arguments than the process has";
}

static void check_packet(struct expectation *expected, const struct imds_packet *record, size_t size)
{
	bool egress = record->header.flags & IMDS_FLAG_EGRESS;
	const uint8_t *nonce = egress ? expected->request : expected->reply;

	if (record->cookie != expected->cookie || record->data.length < NONCE_SIZE ||
	    (size_t)record->data.offset + record->data.length > size)
		return;
	if (memcmp((const uint8_t *)record + record->data.offset + record->data.length - NONCE_SIZE, nonce, NONCE_SIZE) == 0)
		*(egress ? &expected->egress : &expected->ingress) = true;
}

static int on_record(void *context, void *data, size_t size)
{
	struct expectation *expected = context;
	const struct imds_header *header = data;

	if (size >= sizeof(struct imds_connect) && header->type == IMDS_RECORD_CONNECT)
		check_connect(expected, data, size);
	if (size >= sizeof(struct imds_packet) && header->type == IMDS_RECORD_PACKET)
		check_packet(expected, data, size);
	return 0;
}

static bool wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };
	int64_t left;

	while ((left = deadline - imds_now_ms()) > 0) {
		int ready = poll(&poll_fd, 1, (int)left);

		if (ready > 0)
			return true;
		if (ready < 0 && errno != EINTR)
			return false;
	}
	return false;
}

/* Reads the ring until `seen` (within the context) is true. */
static bool wait_for_record(struct ring_buffer *ring, const bool *seen, int64_t deadline)
{
	do {
		ring_buffer__consume(ring);
	} while (!*seen && imds_now_ms() < deadline && poll(NULL, 0, 1) == 0);
	return *seen;
}

/* libbpf's ring_buffer consumes through the memory that all readers of a ring share, so this one may come and go. */
static const char *check_connection(struct expectation *expected, struct ring_buffer *ring, int client, int listener,
				    const struct sockaddr *address, socklen_t address_length, const char *connect_hook)
{
	int64_t deadline = imds_now_ms() + DEADLINE_MS;
	const char *failed = NULL;
	uint8_t sink[NONCE_SIZE];
	int server = -1;

	if (connect(client, address, address_length) && errno != EINPROGRESS)
		return "connecting over loopback";
	if (!wait_for(listener, POLLIN, deadline) || (server = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
		return "accepting over loopback";
	if (!wait_for_record(ring, &expected->connect, deadline))
		failed = connect_hook;
	else if (!wait_for(client, POLLOUT, deadline) || send(client, expected->request, NONCE_SIZE, MSG_NOSIGNAL) < 0)
		failed = "sending over loopback";
	else if (!wait_for_record(ring, &expected->egress, deadline))
		failed = imds_hooks[IMDS_EGRESS].title;
	else if (send(server, expected->reply, NONCE_SIZE, MSG_NOSIGNAL) < 0 || !wait_for(client, POLLIN, deadline) ||
		 recv(client, sink, sizeof(sink), 0) < 0)
		failed = "receiving over loopback";
	else if (!wait_for_record(ring, &expected->ingress, deadline))
		failed = imds_hooks[IMDS_INGRESS].title;
	close(server);
	return failed;
}

static size_t own_arguments(char *arguments, size_t size)
{
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, arguments, size);

	if (fd >= 0)
		close(fd);
	return length < 0 ? 0 : (size_t)length;
}

/* The inode number that the initial pid namespace has on every kernel (PROC_PID_INIT_INO, linux/proc_ns.h). */
static bool in_initial_pid_namespace(void)
{
	char target[64] = "";

	return readlink("/proc/self/ns/pid", target, sizeof(target) - 1) > 0 && strcmp(target, "pid:[4026531836]") == 0;
}

static int test_family(const struct imds_self_test *test, const struct imds_loaded *loaded, enum imds_variant variant,
		       int family, struct imds_error *error)
{
	static const struct linger reset = { .l_onoff = 1, .l_linger = 0 }; /* leaves no TIME_WAIT behind */
	const char *connect_hook = imds_hooks[family == AF_INET ? IMDS_CONNECT4 : IMDS_CONNECT6].title;
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(test->port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(test->port) };
	struct expectation expected = { .argv_expected = variant == IMDS_CORE };
	socklen_t cookie_size = sizeof(expected.cookie);
	struct ring_buffer *ring;
	const char *failed;
	int client = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), result = 0;

	if (client < 0 && family == AF_INET6)
		return 0; /* no IPv6 in this kernel: nothing to miss */
	if (client < 0)
		return imds_fail(error, IMDS_ERROR_SYSTEM, "self-test: no socket: %s", strerror(errno));
	inet_pton(AF_INET6, "::ffff:127.0.0.1", &v6.sin6_addr);
	setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	expected.argv_length = own_arguments(expected.argv, sizeof(expected.argv));
	expected.argv_expected &= expected.argv_length > 0;
	if (in_initial_pid_namespace())
		expected.pid = (uint32_t)getpid();
	if (getsockopt(client, SOL_SOCKET, SO_COOKIE, &expected.cookie, &cookie_size) ||
	    getrandom(expected.request, NONCE_SIZE, 0) != NONCE_SIZE ||
	    getrandom(expected.reply, NONCE_SIZE, 0) != NONCE_SIZE) {
		close(client);
		return imds_fail(error, IMDS_ERROR_SYSTEM, "self-test: %s", strerror(errno));
	}
	ring = ring_buffer__new(loaded->ring_fd, on_record, &expected, NULL);
	if (libbpf_get_error(ring)) {
		close(client);
		return imds_fail(error, IMDS_ERROR_SYSTEM, "self-test: mapping the ring buffer: %s", strerror(errno));
	}
	errno = 0;
	failed = check_connection(&expected, ring, client, test->listener,
				  family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6,
				  family == AF_INET ? sizeof(v4) : sizeof(v6), connect_hook);
	if (failed)
		result = imds_fail(error, IMDS_ERROR_SELF_TEST,
				   "self-test: attached, but a connection to 127.0.0.1:%u did not get through at %s%s%s",
				   test->port, failed, errno ? ": " : "", errno ? strerror(errno) : "");
	else if (expected.contradiction)
		result = imds_fail(error, IMDS_ERROR_SELF_TEST, "self-test: %s %s", connect_hook,
				   expected.contradiction);
	close(client);
	ring_buffer__consume(ring);
	ring_buffer__free(ring);
	return result;
}

static bool loopback_is_up(int fd)
{
	struct ifreq request = { .ifr_name = "lo" };

	return ioctl(fd, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP);
}

int imds_self_test_listen(struct imds_self_test *test, struct imds_error *error)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int result = 0;

	test->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (test->listener < 0)
		return imds_fail(error, IMDS_ERROR_SYSTEM, "self-test: no socket: %s", strerror(errno));
	if (!loopback_is_up(test->listener))
		result = imds_fail(error, IMDS_ERROR_SELF_TEST,
				   "self-test: the loopback interface of this network namespace is down (ip link set lo up)");
	else if (bind(test->listener, (struct sockaddr *)&address, length) || listen(test->listener, 4) ||
		 getsockname(test->listener, (struct sockaddr *)&address, &length))
		result = imds_fail(error, IMDS_ERROR_SELF_TEST, "self-test: listening on 127.0.0.1: %s", strerror(errno));
	test->port = ntohs(address.sin_port);
	if (result)
		imds_self_test_end(test);
	return result;
}

int imds_self_test_run(struct imds_self_test *test, const struct imds_loaded *loaded, enum imds_variant variant,
		       struct imds_error *error)
{
	struct imds_endpoint_key key = { .port = test->port };
	uint32_t slot = IMDS_SLOT_SELF_TEST;
	int result;

	inet_pton(AF_INET6, "::ffff:127.0.0.1", key.address);
	if (bpf_map_update_elem(loaded->endpoints_fd, &key, &slot, BPF_ANY))
		return imds_fail(error, IMDS_ERROR_SYSTEM, "self-test: writing the endpoint map: %s", strerror(errno));
	result = test_family(test, loaded, variant, AF_INET, error);
	if (!result)
		result = test_family(test, loaded, variant, AF_INET6, error);
	bpf_map_delete_elem(loaded->endpoints_fd, &key);
	return result;
}

void imds_self_test_end(struct imds_self_test *test)
{
	if (test->listener >= 0)
		close(test->listener);
	test->listener = -1;
}
