/*
 * Connects that lead nowhere, as there is no way to the address: as many as fit into a time, each from a process that looks like
 * another, with a long command line. None costs more than a microsecond or two.
 *
 * connects ADDRESS SECONDS PADDING: prints how many there were.
 */
#include <arpa/inet.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **arguments)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(80) };
	unsigned int made = 0;
	time_t end;

	if (count != 4 || inet_pton(AF_INET, arguments[1], &to.sin_addr) != 1 || strlen(arguments[3]) < 16)
		errx(2, "connects ADDRESS SECONDS PADDING");
	end = time(NULL) + atoi(arguments[2]);
	while (time(NULL) < end) {
		int client = socket(AF_INET, SOCK_STREAM, 0);

		snprintf(arguments[3], 16, "%010u", made++);
		prctl(PR_SET_NAME, arguments[3]);
		if (client < 0 || connect(client, (struct sockaddr *)&to, sizeof(to)) == 0)
			errx(1, "there is a way to %s", arguments[1]);
		close(client);
	}
	printf("%u\n", made);
	return 0;
}
