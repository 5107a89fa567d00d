// SPDX-License-Identifier: Apache-2.0
/*
 * Runs the questions about sockets under the sanitizers. `netlink_driver parse`: answers that are cut, changed or made up.
 * `netlink_driver host`: real connections over the loopback interface, against what the sockets say of themselves.
 */
#undef NDEBUG
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "early_owner.h"
#include "socket_diag.h"

#define SEQUENCE 7

/* ---- parsing ------------------------------------------------------------------------------------------------------ */

/* Each at the very end of an allocation of its own, so that one byte read too many is seen. */
static int parse_socket(const uint8_t *bytes, size_t length, struct imds_socket *found)
{
	uint8_t *copy = malloc(length ? length : 1);
	int result;

	memcpy(copy, bytes, length);
	result = imds_socket_parse(copy, length, SEQUENCE, found);
	free(copy);
	return result;
}

static int parse_dump(const uint8_t *bytes, size_t length, struct imds_address_interfaces *interfaces)
{
	uint8_t *copy = malloc(length ? length : 1);
	int result;

	memcpy(copy, bytes, length);
	result = imds_dump_parse(copy, length, SEQUENCE, interfaces);
	free(copy);
	assert(interfaces->count <= IMDS_ADDRESS_INTERFACES);
	return result;
}

static size_t put(uint8_t *to, uint16_t type, const void *payload, size_t length)
{
	struct nlmsghdr header = { .nlmsg_len = (uint32_t)NLMSG_LENGTH(length), .nlmsg_type = type, .nlmsg_seq = SEQUENCE };

	memset(to, 0, NLMSG_SPACE(length));
	memcpy(to, &header, sizeof(header));
	memcpy(to + NLMSG_HDRLEN, payload, length);
	return NLMSG_SPACE(length);
}

static void test_socket_answers(void)
{
	static const struct {
		int32_t error;
		int result;
	} errors[] = {
		{ -ENOENT, 0 }, { -ESTALE, 0 }, { -EPERM, -EPERM }, { 0, -EBADMSG }, { 5, -EBADMSG },
		{ -EAGAIN, -EBADMSG }, { INT32_MIN, -EBADMSG },
	};
	struct inet_diag_msg message = { .idiag_inode = 4711, .id.idiag_cookie = { 3, 1 } };
	struct imds_socket found;
	uint8_t bytes[512];
	size_t length = put(bytes, SOCK_DIAG_BY_FAMILY, &message, sizeof(message));
	struct nlmsghdr *header = (struct nlmsghdr *)bytes;

	assert(parse_socket(bytes, length, &found) == 1 && found.inode == 4711 && found.cookie == 0x100000003);
	for (size_t cut = 0; cut < length; cut++)
		assert(parse_socket(bytes, cut, &found) == -EBADMSG);
	header->nlmsg_len -= 4; /* says that it is shorter than what it must hold */
	assert(parse_socket(bytes, length, &found) == -EBADMSG);
	header->nlmsg_len = 0;
	assert(parse_socket(bytes, length, &found) == -EBADMSG);
	length = put(bytes, SOCK_DIAG_BY_FAMILY, &message, sizeof(message));
	header->nlmsg_seq = SEQUENCE + 1;
	assert(parse_socket(bytes, length, &found) == -EAGAIN);
	length = put(bytes, RTM_NEWROUTE, &message, sizeof(message));
	assert(parse_socket(bytes, length, &found) == -EBADMSG);
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		struct nlmsgerr error = { .error = errors[i].error };

		length = put(bytes, NLMSG_ERROR, &error, sizeof(error));
		assert(parse_socket(bytes, length, &found) == errors[i].result);
		assert(parse_socket(bytes, NLMSG_HDRLEN, &found) == -EBADMSG);
	}
}

static size_t put_address(uint8_t *to, uint8_t family, uint32_t interface, uint16_t type, const void *address, uint16_t size)
{
	struct {
		struct ifaddrmsg message;
		struct rtattr attribute;
		uint8_t address[16];
	} payload = { .message = { .ifa_family = family, .ifa_index = interface }, .attribute = { RTA_LENGTH(size), type } };

	memcpy(payload.address, address, size);
	return put(to, RTM_NEWADDR, &payload, sizeof(payload.message) + RTA_LENGTH(size));
}

static void test_dumps(void)
{
	static const uint8_t v4[4] = { 10, 1, 2, 3 }, v6[16] = { 0xfd, [15] = 9 };
	struct imds_address_interfaces wanted = { .address = { [10] = 0xff, [11] = 0xff, 10, 1, 2, 3 } }, interfaces;
	uint8_t bytes[4096];
	size_t length = 0;
	int32_t done = 0;

	length += put_address(bytes + length, AF_INET, 1, IFA_ADDRESS, v4, 4); /* the other end's */
	length += put_address(bytes + length, AF_INET, 2, IFA_LOCAL, v4, 4);
	length += put_address(bytes + length, AF_INET6, 3, IFA_ADDRESS, v6, 16);
	interfaces = wanted;
	assert(parse_dump(bytes, length, &interfaces) == 0 && interfaces.count == 1 && interfaces.indices[0] == 2);
	memcpy(interfaces.address, v6, 16);
	interfaces.count = 0;
	assert(parse_dump(bytes, length, &interfaces) == 0 && interfaces.count == 1 && interfaces.indices[0] == 3);
	length += put(bytes + length, NLMSG_DONE, &done, sizeof(done));
	assert(parse_dump(bytes, length, &interfaces) == 1);
	for (size_t cut = 1; cut < length; cut++) {
		interfaces = wanted;
		parse_dump(bytes, cut, &interfaces);
	}
	done = -ENOENT;
	length = put(bytes, NLMSG_DONE, &done, sizeof(done));
	assert(parse_dump(bytes, length, &interfaces) == -ENOENT);
	/* An attribute without a length must not be read for ever. */
	length = put_address(bytes, AF_INET, 2, IFA_LOCAL, v4, 4);
	((struct rtattr *)(bytes + NLMSG_HDRLEN + sizeof(struct ifaddrmsg)))->rta_len = 0;
	interfaces = wanted;
	assert(parse_dump(bytes, length, &interfaces) == 0 && interfaces.count == 0);
	length = 0;
	for (uint32_t i = 1; i <= 3 * IMDS_ADDRESS_INTERFACES; i++)
		length += put_address(bytes + length, AF_INET, i, IFA_LOCAL, v4, 4);
	interfaces = wanted;
	assert(parse_dump(bytes, length, &interfaces) == 0 && interfaces.count == IMDS_ADDRESS_INTERFACES);

	srand(1);
	for (int i = 0; i < 20000; i++) {
		uint8_t changed[sizeof(bytes)];
		struct imds_socket found;
		size_t cut = (size_t)rand() % (length + 1);

		memcpy(changed, bytes, length);
		for (int k = 0; k < 4; k++)
			changed[(size_t)rand() % 96] = (uint8_t)(rand() % 3 ? rand() : 0xff);
		interfaces = wanted;
		parse_dump(changed, cut, &interfaces);
		parse_socket(changed, cut, &found);
	}
}

/* ---- asking -------------------------------------------------------------------------------------------------------- */

static struct imds_socket_query query_of(int fd)
{
	struct sockaddr_storage ends[2];
	struct imds_socket_query query = { .cookie = 0 };

	for (int i = 0; i < 2; i++) {
		socklen_t size = sizeof(ends[i]);
		uint8_t *address = i ? query.remote_address : query.local_address;
		struct sockaddr_in *v4 = (struct sockaddr_in *)&ends[i];
		struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ends[i];

		assert((i ? getpeername : getsockname)(fd, (struct sockaddr *)&ends[i], &size) == 0);
		if (ends[i].ss_family == AF_INET6) {
			memcpy(address, &v6->sin6_addr, 16);
		} else {
			memcpy(address + 10, "\xff\xff", 2);
			memcpy(address + 12, &v4->sin_addr, 4);
		}
		*(i ? &query.remote_port : &query.local_port) = ntohs(v4->sin_port);
	}
	return query;
}

static uint32_t inode_of(int fd)
{
	struct stat status;

	assert(fstat(fd, &status) == 0);
	return (uint32_t)status.st_ino;
}

static int connect_to(const char *address, uint16_t port, const char *interface)
{
	struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	assert(inet_pton(AF_INET6, address, &to.sin6_addr) == 1);
	if (interface)
		assert(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface)) == 0);
	assert(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
	return fd;
}

static uint64_t cookie_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);

	assert(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0);
	return cookie;
}

/* A SYN of the connection, as the libpcap source hands it over. */
static struct imds_packet *syn_of(const struct imds_socket_query *query)
{
	struct imds_packet *record = calloc(1, sizeof(*record) + 40);
	uint8_t ip[40] = { 0x45, [3] = 40, [8] = 64, [9] = 6, [32] = 0x50, [33] = 0x02 };

	memcpy(ip + 12, query->local_address + 12, 4);
	memcpy(ip + 16, query->remote_address + 12, 4);
	*(uint16_t *)(ip + 20) = htons(query->local_port);
	*(uint16_t *)(ip + 22) = htons(query->remote_port);
	record->header.flags = IMDS_FLAG_EGRESS;
	memcpy(record->local_address, query->local_address, 16);
	memcpy(record->remote_address, query->remote_address, 16);
	record->local_port = query->local_port;
	record->remote_port = query->remote_port;
	record->wire_length = record->data.length = sizeof(ip);
	memcpy(record->bytes, ip, sizeof(ip));
	return record;
}

static void test_early_owner(const struct imds_socket_query *query, uint32_t inode)
{
	struct imds_early_owners *owners = imds_early_owners_new();
	struct imds_packet *record = syn_of(query);
	struct imds_owner *owner = malloc(sizeof(*owner));
	char stat[32];

	imds_early_owners_packet(owners, record);
	imds_early_owners_sweep(owners);
	imds_early_owners_packet(owners, record); /* sent again: it is kept once */
	assert(imds_owner_take(query, owner) == 1);
	snprintf(stat, sizeof(stat), "%d (", (int)getpid());
	assert(owner->pid == (uint32_t)getpid() && owner->inode == inode);
	assert(memmem(owner->argv, (size_t)owner->argv_length, "host", 5) && owner->executable[0] == '/');
	assert(strncmp(owner->stat, stat, strlen(stat)) == 0 && owner->cgroup_length > 0);
	assert(imds_owner_take(query, owner) == 0);
	record->bytes[33] = 0x10; /* no SYN */
	imds_early_owners_packet(owners, record);
	assert(imds_owner_take(query, owner) == 0);
	record->bytes[33] = 0x02;
	for (int i = 0; i < 1000; i++) { /* more than are kept, and nobody's */
		record->local_port = (uint16_t)(i + 1);
		imds_early_owners_packet(owners, record);
	}
	assert(imds_owner_take(query, owner) == 0);
	imds_early_owners_free(owners);
	free(record);
	free(owner);
}

static void test_host(void)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
	int listener = socket(AF_INET6, SOCK_STREAM, 0);
	socklen_t size = sizeof(any);
	struct imds_socket_query query;
	struct imds_netns netns;
	struct imds_socket found;
	int accepted, mapped, v6, bound;
	uint16_t port;

	assert(imds_netns_open("/proc/self/ns/nosuch", &netns) == -ENOENT && netns.diag_fd == -1);
	assert(imds_netns_open("/proc/self/status", &netns) == -EINVAL && netns.route_fd == -1);
	assert(bind(listener, (struct sockaddr *)&any, sizeof(any)) == 0 && listen(listener, 8) == 0);
	assert(getsockname(listener, (struct sockaddr *)&any, &size) == 0);
	port = ntohs(any.sin6_port);
	assert(imds_netns_open("/proc/self/ns/net", &netns) == 0);

	mapped = connect_to("::ffff:127.0.0.1", port, NULL);
	v6 = connect_to("::1", port, NULL);
	bound = connect_to("::1", port, "lo");
	for (int i = 0; i < 3; i++) {
		int fd = (int[]){ mapped, v6, bound }[i];

		query = query_of(fd);
		assert(imds_netns_find_socket(&netns, &query, &found) == IMDS_SOCKET_FOUND);
		assert(found.inode == inode_of(fd) && found.cookie == cookie_of(fd));
		query.cookie = found.cookie;
		assert(imds_netns_find_socket(&netns, &query, &found) == IMDS_SOCKET_FOUND);
		query.cookie ^= 1;
		assert(imds_netns_find_socket(&netns, &query, &found) == IMDS_SOCKET_GONE);
	}
	query = query_of(mapped);
	test_early_owner(&query, inode_of(mapped));
	accepted = accept(listener, NULL, NULL);
	close(mapped); /* and the other end stays open: FIN_WAIT2 */
	assert(imds_netns_find_socket(&netns, &query, &found) == IMDS_SOCKET_FOUND && found.inode == 0);
	query.local_port = 1;
	assert(imds_netns_find_socket(&netns, &query, &found) == IMDS_SOCKET_GONE);
	memcpy(query.local_address + 12, "\xc6\x33\x64\x09", 4);
	assert(imds_netns_find_socket(&netns, &query, &found) == IMDS_SOCKET_NONE);
	imds_netns_close(&netns);
	imds_netns_close(&netns);
	assert(imds_netns_find_socket(&netns, &query, &found) == -EBADF);
	close(accepted);
	close(v6);
	close(bound);
	close(listener);
}

int main(int count, char **arguments)
{
	if (count == 2 && strcmp(arguments[1], "parse") == 0) {
		test_socket_answers();
		test_dumps();
	} else if (count == 2 && strcmp(arguments[1], "host") == 0) {
		test_host();
	} else {
		return 2;
	}
	puts("passed");
	return 0;
}
