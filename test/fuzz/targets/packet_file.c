// SPDX-License-Identifier: Apache-2.0
/* A packet file of any content: gives whole records, counters that add up and an end, or a clear refusal. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

static uint8_t buffer[256 * 1024];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct imds_progress progress;
	struct imds_stats stats;
	struct imds_error error;
	struct imds_source *source;
	uint64_t count = 0;
	int64_t used;

	if (fd < 0)
		fd = memfd_create("input", 0);
	MUST(fd >= 0 && ftruncate(fd, 0) == 0);
	MUST(pwrite(fd, data, size, 0) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0);
	source = imds_open_pcap_file(NULL, fd, ENDPOINTS, ENDPOINT_COUNT, 0, &error);
	if (!source) {
		MUST(error.code != 0 && error.text[0] != '\0');
		return 0;
	}
	while ((used = imds_next(source, buffer, sizeof(buffer), 20000)) > 0)
		count += check_packets(buffer, (size_t)used);
	MUST(used == -ENODATA);
	imds_stats(source, &stats);
	imds_progress(source, &progress);
	MUST(stats.packets_captured == count && stats.ring_dropped == 0);
	MUST(stats.packets_seen == stats.packets_captured + stats.packets_passed_over);
	MUST(progress.packets >= stats.packets_seen);
	imds_close(source);
	return 0;
}
