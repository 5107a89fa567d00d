// SPDX-License-Identifier: Apache-2.0
/*
 * Finds the socket of a TCP connection by sock_diag(7): an exact question, answered in microseconds by a look into the
 * kernel's hash table, where /proc/PID/net/tcp walks all of it (milliseconds, whatever is in it).
 */
#include "socket_diag.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "address.h"

/* The kernel fills datagrams of a dump up to 32 KiB, but no more than what the reader has room for. */
#define ANSWER_BYTES (16 * 1024)
/* Some 30,000 addresses. */
#define MAX_DATAGRAMS 256

union answer {
	struct nlmsghdr header;
	uint8_t bytes[ANSWER_BYTES];
};

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* The payload of the message at `bytes`, of which `left` are there; `step` to the next. NULL where it is no whole message. */
static const uint8_t *read_header(const uint8_t *bytes, size_t left, struct nlmsghdr *header, size_t *step)
{
	if (left < sizeof(*header))
		return NULL;
	memcpy(header, bytes, sizeof(*header));
	if (header->nlmsg_len < sizeof(*header) || header->nlmsg_len > left)
		return NULL;
	*step = NLMSG_ALIGN((size_t)header->nlmsg_len);
	if (*step > left)
		*step = left;
	return bytes + sizeof(*header);
}

/* The errno, negative, that a message of type NLMSG_ERROR or NLMSG_DONE begins with; DONE may do without. */
static int read_error(const struct nlmsghdr *header, const uint8_t *payload)
{
	int32_t error = 0;

	if (header->nlmsg_len >= sizeof(*header) + sizeof(error))
		memcpy(&error, payload, sizeof(error));
	else if (header->nlmsg_type == NLMSG_ERROR)
		return -EBADMSG;
	/* Nothing that the caller would take for an answer. */
	return error > 0 || error < -4095 || error == -EAGAIN ? -EBADMSG : error;
}

int imds_socket_parse(const void *bytes, size_t length, uint32_t sequence, struct imds_socket *found)
{
	struct inet_diag_msg message;
	struct nlmsghdr header;
	const uint8_t *payload;
	size_t step;
	int error;

	payload = read_header(bytes, length, &header, &step);
	if (!payload)
		return -EBADMSG;
	if (header.nlmsg_seq != sequence)
		return -EAGAIN;
	if (header.nlmsg_type == NLMSG_ERROR) {
		error = read_error(&header, payload);
		/* ESTALE: there is a socket with these addresses, and it has another cookie. */
		return error == -ENOENT || error == -ESTALE ? 0 : error ? error : -EBADMSG;
	}
	if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY || header.nlmsg_len < sizeof(header) + sizeof(message))
		return -EBADMSG;
	memcpy(&message, payload, sizeof(message));
	found->cookie = (uint64_t)message.id.idiag_cookie[1] << 32 | message.id.idiag_cookie[0];
	found->inode = message.idiag_inode;
	return 1;
}

/* Notes the interface of an RTM_NEWADDR message where it has the address. */
static void read_address(const uint8_t *payload, size_t left, struct imds_address_interfaces *interfaces)
{
	bool v4 = imds_is_v4(interfaces->address);
	size_t size = v4 ? 4 : 16;
	struct ifaddrmsg message;
	struct rtattr attribute;

	if (left < NLMSG_ALIGN(sizeof(message)))
		return;
	memcpy(&message, payload, sizeof(message));
	if (message.ifa_family != (v4 ? AF_INET : AF_INET6))
		return;
	payload += NLMSG_ALIGN(sizeof(message));
	left -= NLMSG_ALIGN(sizeof(message));
	while (left >= sizeof(attribute)) {
		size_t step;

		memcpy(&attribute, payload, sizeof(attribute));
		if (attribute.rta_len < sizeof(attribute) || attribute.rta_len > left)
			return;
		/* Between two points IFA_ADDRESS is the other end's and IFA_LOCAL this one's; IPv6 may have only the former. */
		if ((attribute.rta_type == IFA_LOCAL || (attribute.rta_type == IFA_ADDRESS && !v4)) &&
		    attribute.rta_len == RTA_LENGTH(size) &&
		    memcmp(payload + RTA_LENGTH(0), interfaces->address + 16 - size, size) == 0) {
			if (interfaces->count < IMDS_ADDRESS_INTERFACES)
				interfaces->indices[interfaces->count++] = message.ifa_index;
			return;
		}
		step = RTA_ALIGN((size_t)attribute.rta_len);
		if (step > left)
			return;
		payload += step;
		left -= step;
	}
}

int imds_dump_parse(const void *bytes, size_t length, uint32_t sequence, struct imds_address_interfaces *interfaces)
{
	const uint8_t *at = bytes;
	const uint8_t *payload;
	struct nlmsghdr header;
	size_t step;
	int error;

	for (; length > 0; at += step, length -= step) {
		payload = read_header(at, length, &header, &step);
		if (!payload)
			return -EBADMSG;
		if (header.nlmsg_seq != sequence)
			return -EAGAIN;
		if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) {
			error = read_error(&header, payload);
			return error ? error : 1;
		}
		if (header.nlmsg_type == RTM_NEWADDR)
			read_address(payload, header.nlmsg_len - sizeof(header), interfaces);
	}
	return 0;
}

/* ---- asking ----------------------------------------------------------------------------------------------------- */

/* Sends a request, numbered anew. 0 or -errno. */
static int send_request(int fd, struct nlmsghdr *header, uint32_t *sequence)
{
	static uint32_t last; /* 0 is the number of what the kernel says unasked */

	do
		*sequence = __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
	while (*sequence == 0);
	header->nlmsg_seq = *sequence;
	return send(fd, header, header->nlmsg_len, 0) < 0 ? -errno : 0;
}

/* A datagram of the kernel's: its length, or -errno. What answers a request is there when send() returns. */
static ssize_t receive(int fd, union answer *answer)
{
	for (int i = 0; i < MAX_DATAGRAMS; i++) {
		struct sockaddr_nl sender = { .nl_pid = ~0u };
		socklen_t size = sizeof(sender);
		ssize_t length = recvfrom(fd, answer, sizeof(*answer), MSG_DONTWAIT, (struct sockaddr *)&sender, &size);

		if (length < 0 && errno != EINTR)
			return -errno;
		if (length >= 0 && sender.nl_pid == 0)
			return length;
	}
	return -EBADMSG;
}

/* Reads the datagrams of a dump up to its end. 0 or -errno. */
static int read_dump(int fd, uint32_t sequence, struct imds_address_interfaces *interfaces)
{
	union answer answer;

	for (int i = 0; i < MAX_DATAGRAMS; i++) {
		ssize_t length = receive(fd, &answer);
		int result = length < 0 ? (int)length : imds_dump_parse(&answer, (size_t)length, sequence, interfaces);

		if (length < 0 || (result != 0 && result != -EAGAIN))
			return result == 1 ? 0 : result;
	}
	return -EMSGSIZE;
}

static void fill(struct inet_diag_req_v2 *request, const struct imds_socket_query *query)
{
	bool v4 = imds_is_v4(query->local_address) && imds_is_v4(query->remote_address);
	size_t from = v4 ? 12 : 0;

	/* With AF_INET an IPv6 socket with mapped addresses is found as well (inet_diag_find_one_icsk). */
	request->sdiag_family = v4 ? AF_INET : AF_INET6;
	request->sdiag_protocol = IPPROTO_TCP;
	request->idiag_states = ~0u;
	request->id.idiag_sport = htons(query->local_port);
	request->id.idiag_dport = htons(query->remote_port);
	memcpy(request->id.idiag_src, query->local_address + from, 16 - from);
	memcpy(request->id.idiag_dst, query->remote_address + from, 16 - from);
	request->id.idiag_cookie[0] = query->cookie ? (uint32_t)query->cookie : INET_DIAG_NOCOOKIE;
	request->id.idiag_cookie[1] = query->cookie ? (uint32_t)(query->cookie >> 32) : INET_DIAG_NOCOOKIE;
}

/* A socket that is bound to an interface (SO_BINDTODEVICE) is found by that one only, any other with 0 as well. */
static int ask_socket(int fd, const struct imds_socket_query *query, uint32_t interface, struct imds_socket *found)
{
	struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 diag;
	} request = {
		.header = { .nlmsg_len = sizeof(request), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST },
	};
	union answer answer;
	uint32_t sequence;
	int result;

	fill(&request.diag, query);
	request.diag.id.idiag_if = interface;
	result = send_request(fd, &request.header, &sequence);
	for (int i = 0; result == 0 && i < MAX_DATAGRAMS; i++) {
		ssize_t length = receive(fd, &answer);

		if (length < 0)
			return (int)length;
		result = imds_socket_parse(&answer, (size_t)length, sequence, found);
		if (result != -EAGAIN)
			return result;
		result = 0;
	}
	return result ? result : -EBADMSG;
}

/* A dump of no state ends at once, and fails where the kernel has no tcp_diag: a question for a socket fails alike for both. */
static int probe(int fd)
{
	struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 diag;
	} request = {
		.header = {
			.nlmsg_len = sizeof(request),
			.nlmsg_type = SOCK_DIAG_BY_FAMILY,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		},
		.diag = { .sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_TCP },
	};
	struct imds_address_interfaces none = { .count = 0 };
	uint32_t sequence;
	int result = send_request(fd, &request.header, &sequence);

	return result ? result : read_dump(fd, sequence, &none);
}

static int ask_address(int fd, struct imds_address_interfaces *interfaces)
{
	struct {
		struct nlmsghdr header;
		struct ifaddrmsg address;
	} request = {
		.header = { .nlmsg_len = sizeof(request), .nlmsg_type = RTM_GETADDR, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.address = { .ifa_family = imds_is_v4(interfaces->address) ? AF_INET : AF_INET6 },
	};
	uint32_t sequence;
	int result = send_request(fd, &request.header, &sequence);

	return result ? result : read_dump(fd, sequence, interfaces);
}

int32_t imds_netns_find_socket(const struct imds_netns *netns, const struct imds_socket_query *query,
			       struct imds_socket *found)
{
	struct imds_address_interfaces interfaces = { .count = 0 };
	bool loopback = imds_is_v4(query->local_address) && query->local_address[12] == 127;
	int result;

	memset(found, 0, sizeof(*found));
	result = ask_socket(netns->diag_fd, query, 0, found);
	if (result != 0)
		return result == 1 ? IMDS_SOCKET_FOUND : result;
	memcpy(interfaces.address, query->local_address, sizeof(interfaces.address));
	result = ask_address(netns->route_fd, &interfaces);
	if (result)
		return result;
	for (uint32_t i = 0; i < interfaces.count; i++) {
		result = ask_socket(netns->diag_fd, query, interfaces.indices[i], found);
		if (result != 0)
			return result == 1 ? IMDS_SOCKET_FOUND : result;
	}
	return interfaces.count > 0 || loopback ? IMDS_SOCKET_GONE : IMDS_SOCKET_NONE;
}

/* ---- entering ---------------------------------------------------------------------------------------------------- */

struct entry {
	const char *path;
	struct imds_netns *netns;
	int result;
};

/* Entering the namespace that one is in changes nothing, yet needs CAP_SYS_ADMIN all the same, which the service lacks. */
static bool is_own(const struct stat *netns)
{
	struct stat own;

	return stat("/proc/thread-self/ns/net", &own) == 0 && own.st_ino == netns->st_ino && own.st_dev == netns->st_dev;
}

static int open_sockets(const char *path, struct imds_netns *netns)
{
	struct stat status;
	int result = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &status) < 0 || (!is_own(&status) && setns(fd, CLONE_NEWNET) < 0)) {
		result = -errno;
		goto out;
	}
	netns->inode = (uint32_t)status.st_ino;
	netns->diag_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (netns->diag_fd >= 0)
		netns->route_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	result = netns->diag_fd < 0 || netns->route_fd < 0 ? -errno : probe(netns->diag_fd);
out:
	close(fd);
	return result;
}

static void *enter(void *argument)
{
	struct entry *entry = argument;

	entry->result = open_sockets(entry->path, entry->netns);
	return NULL;
}

int32_t imds_netns_open(const char *path, struct imds_netns *netns)
{
	struct entry entry = { .path = path, .netns = netns };
	pthread_t thread;
	int result;

	*netns = (struct imds_netns){ .diag_fd = -1, .route_fd = -1 };
	/* A thread of its own: the caller's never leaves its namespace, and this one ends, so that it need not return. */
	result = -pthread_create(&thread, NULL, enter, &entry);
	if (result == 0) {
		pthread_join(thread, NULL);
		result = entry.result;
	}
	if (result)
		imds_netns_close(netns);
	return result;
}

void imds_netns_close(struct imds_netns *netns)
{
	if (netns->diag_fd >= 0)
		close(netns->diag_fd);
	if (netns->route_fd >= 0)
		close(netns->route_fd);
	netns->diag_fd = -1;
	netns->route_fd = -1;
}
