// SPDX-License-Identifier: Apache-2.0
/* What a service tells the service manager: sd_notify(3) without libsystemd. Node has no datagram sockets of AF_UNIX. */
#include "capture.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int32_t imds_notify(const char *address, const char *text)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t length = address ? strlen(address) : 0;
	int32_t result = 0;
	int fd;

	if (!text || length < 2 || length >= sizeof(to.sun_path) || (address[0] != '/' && address[0] != '@'))
		return -EINVAL;
	memcpy(to.sun_path, address, length);
	/* An abstract socket: its name has no end mark but its length (unix(7)). */
	if (address[0] == '@')
		to.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (sendto(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&to,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0)
		result = -errno;
	close(fd);
	return result;
}
