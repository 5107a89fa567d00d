// SPDX-License-Identifier: Apache-2.0
/* RTM_GETROUTE of rtnetlink(7): what `ip route get ADDRESS` asks. */
#include "route.h"

#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "address.h"

struct request {
	struct nlmsghdr header;
	struct rtmsg route;
	struct rtattr attribute;
	uint8_t destination[16];
};

static void fill(struct request *request, const uint8_t *address)
{
	bool v4 = imds_is_v4(address);
	size_t length = v4 ? 4 : 16;

	memset(request, 0, sizeof(*request));
	request->header.nlmsg_len = (uint32_t)(NLMSG_LENGTH(sizeof(request->route)) + RTA_LENGTH(length));
	request->header.nlmsg_type = RTM_GETROUTE;
	request->header.nlmsg_flags = NLM_F_REQUEST;
	request->route.rtm_family = v4 ? AF_INET : AF_INET6;
	request->route.rtm_dst_len = (unsigned char)(length * 8);
	request->attribute.rta_type = RTA_DST;
	request->attribute.rta_len = (unsigned short)RTA_LENGTH(length);
	memcpy(request->destination, address + 16 - length, length);
}

static unsigned int interface_of(const struct nlmsghdr *answer)
{
	const struct rtmsg *route = NLMSG_DATA(answer);
	const struct rtattr *attribute = RTM_RTA(route);
	unsigned int index = 0;
	int left = (int)RTM_PAYLOAD(answer);

	/* An error, or a route that refuses: blackhole, unreachable, prohibit. */
	if (answer->nlmsg_type != RTM_NEWROUTE || (route->rtm_type != RTN_UNICAST && route->rtm_type != RTN_LOCAL))
		return 0;
	for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
		if (attribute->rta_type == RTA_OIF && RTA_PAYLOAD(attribute) == sizeof(index))
			memcpy(&index, RTA_DATA(attribute), sizeof(index));
	}
	return index;
}

unsigned int imds_route_interface(const uint8_t *address)
{
	union {
		struct nlmsghdr header;
		uint8_t room[4096];
	} answer;
	struct request request;
	unsigned int index = 0;
	ssize_t length;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return 0;
	fill(&request, address);
	/* The answer of this request is in the socket's queue when send() returns. */
	if (send(fd, &request, request.header.nlmsg_len, 0) == (ssize_t)request.header.nlmsg_len) {
		length = recv(fd, &answer, sizeof(answer), MSG_DONTWAIT);
		if (length > 0 && NLMSG_OK(&answer.header, (size_t)length))
			index = interface_of(&answer.header);
	}
	close(fd);
	return index;
}
