// SPDX-License-Identifier: Apache-2.0
/* Packet files as a source: a thread reads, classic pcap through libpcap, and waits where records are not taken. */
#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_input.h"
#include "packet_tap.h"
#include "pcapng.h"
#include "plain_exchange.h"
#include "record_queue.h"
#include "source.h"

#define QUEUE_BYTES (1024 * 1024)
/* No record waits for longer than it takes to read so many packets of whomever. */
#define HELD_FRAMES 65536

struct file_source {
	struct imds_input *input;
	pcap_t *classic; /* either this */
	FILE *stream;
	struct imds_pcapng *pcapng; /* or that */
	struct imds_tap tap;
	struct imds_queue *queue;
	struct imds_fold *held; /* records that will be put into the queue together */
	uint32_t held_since; /* frames that were read since that was last done */
	pthread_t thread;
	bool running;
	int cancel_fd;
	uint64_t size;
	uint64_t packets;
	uint64_t unreadable; /* packets of link types that are not known, the first of which is: */
	int unreadable_type;
	uint64_t first_time_ns, last_time_ns;
	bool ended; /* with release: problem is written */
	bool damaged;
	char problem[256];
};

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static int next_classic(struct file_source *source, struct imds_frame *frame)
{
	struct pcap_pkthdr *header;
	const u_char *bytes;
	int result = pcap_next_ex(source->classic, &header, &bytes);
	const char *why = imds_input_error(source->input);

	if (result == PCAP_ERROR_BREAK && !why)
		return 0;
	if (result != 1) {
		snprintf(source->problem, sizeof(source->problem), "%s", why ? why : pcap_geterr(source->classic));
		return -1;
	}
	frame->link_type = pcap_datalink(source->classic);
	frame->bytes.at = bytes;
	frame->bytes.captured = header->caplen;
	/* A file may say that less was on the wire than was captured. */
	frame->bytes.wire = header->len < header->caplen ? header->caplen : header->len;
	/* The file's seconds are unsigned, libpcap's are not (before 1.11); the fraction may be anything. */
	frame->time_ns = (uint64_t)(uint32_t)header->ts.tv_sec * 1000000000 +
			 (uint64_t)((uint64_t)header->ts.tv_usec > 999999999 ? 999999999 : header->ts.tv_usec);
	return 1;
}

static int next_frame(struct file_source *source, struct imds_frame *frame)
{
	if (source->classic)
		return next_classic(source, frame);
	return imds_pcapng_next(source->pcapng, frame, source->problem, sizeof(source->problem));
}

static void note_frame(struct file_source *source, const struct imds_frame *frame)
{
	if (source->packets == 0)
		__atomic_store_n(&source->first_time_ns, frame->time_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&source->last_time_ns, frame->time_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&source->packets, source->packets + 1, __ATOMIC_RELAXED);
	if (!imds_link_name(frame->link_type) && source->unreadable++ == 0)
		source->unreadable_type = frame->link_type;
}

/* What the file could not give, where it did not end early. */
static void note_unreadable(struct file_source *source)
{
	const char *name = pcap_datalink_val_to_name(source->unreadable_type);

	if (source->unreadable == 0 || source->damaged)
		return;
	source->damaged = true;
	snprintf(source->problem, sizeof(source->problem), "%llu packets have the link type %s (%d), which can't be read",
		 (unsigned long long)source->unreadable, name ? name : "unknown", source->unreadable_type);
}

/* Puts records into the queue, and waits for room there. False once nobody will take them. */
static bool put_records(void *argument, const void *records, uint32_t length, uint32_t packets, uint32_t cut)
{
	struct file_source *source = argument;
	int result = length == 0 ? 0 : imds_queue_put_all(source->queue, records, length, true);

	if (result == 0)
		imds_tap_count(&source->tap, packets, cut, 0);
	else if (result != -ECANCELED)
		imds_tap_count(&source->tap, 0, 0, packets);
	return result != -ECANCELED;
}

static bool put_held(struct file_source *source)
{
	source->held_since = 0;
	return imds_fold_flush(source->held);
}

static void put_before_wait(void *argument)
{
	put_held(argument);
}

/* A record waits for others that it may belong to; but not for long. */
static bool hold(struct file_source *source, const struct imds_packet *record)
{
	if (record && !imds_fold_add(source->held, record, &source->tap.packet))
		return false;
	return ++source->held_since < HELD_FRAMES || put_held(source);
}

static void *read_file(void *argument)
{
	struct file_source *source = argument;
	int result;

	imds_input_on_wait(source->input, put_before_wait, source);
	for (;;) {
		struct imds_frame frame = { 0 };

		result = next_frame(source, &frame);
		if (result <= 0)
			break;
		note_frame(source, &frame);
		if (!hold(source, imds_tap_frame(&source->tap, &frame)))
			break;
	}
	put_held(source);
	source->damaged = result == -1;
	note_unreadable(source);
	__atomic_store_n(&source->ended, true, __ATOMIC_RELEASE);
	imds_queue_end(source->queue);
	return NULL;
}

/* ---- as a source ------------------------------------------------------------------------------------------------ */

static int source_next(void *state, struct imds_batch *batch, int wake_fd, int timeout_ms)
{
	struct file_source *source = state;

	return imds_queue_take(source->queue, batch, wake_fd, timeout_ms);
}

static void source_stats(void *state, struct imds_stats *stats)
{
	const struct file_source *source = state;

	imds_tap_stats(&source->tap, 0, stats);
}

static void source_progress(void *state, struct imds_progress *progress)
{
	const struct file_source *source = state;

	progress->bytes_read = imds_input_bytes(source->input);
	progress->bytes_total = source->size;
	progress->packets = __atomic_load_n(&source->packets, __ATOMIC_RELAXED);
	progress->first_time_ns = __atomic_load_n(&source->first_time_ns, __ATOMIC_RELAXED);
	progress->last_time_ns = __atomic_load_n(&source->last_time_ns, __ATOMIC_RELAXED);
	if (!__atomic_load_n(&source->ended, __ATOMIC_ACQUIRE))
		return;
	progress->unreadable = source->unreadable;
	if (source->damaged)
		snprintf(progress->problem, sizeof(progress->problem), "%s", source->problem);
}

static void source_stop(void *state)
{
	static const uint64_t one = 1;
	struct file_source *source = state;

	if (!source->running)
		return;
	if (write(source->cancel_fd, &one, sizeof(one)) < 0) {
		/* Only when it is signalled already. */
	}
	imds_queue_cancel(source->queue);
	pthread_join(source->thread, NULL);
	source->running = false;
}

static void source_free(void *state)
{
	struct file_source *source = state;

	if (source->classic)
		pcap_close(source->classic); /* closes the stream as well */
	else if (source->stream)
		fclose(source->stream);
	if (source->pcapng)
		imds_pcapng_free(source->pcapng);
	imds_input_free(source->input);
	imds_queue_free(source->queue);
	imds_fold_free(source->held);
	imds_tap_free(&source->tap);
	if (source->cancel_fd >= 0)
		close(source->cancel_fd);
	free(source);
}

static const struct imds_source_kind file_kind = {
	.next = source_next,
	.stats = source_stats,
	.progress = source_progress,
	.stop = source_stop,
	.free = source_free,
};

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static int not_a_capture(struct imds_error *error, const char *why)
{
	return imds_fail(error, IMDS_ERROR_FORMAT, "no pcap or pcapng file: %s", why);
}

static int open_classic(struct file_source *source, struct imds_error *error)
{
	char text[PCAP_ERRBUF_SIZE] = "";
	int type;

	source->stream = imds_input_stream(source->input);
	if (!source->stream)
		return imds_fail(error, IMDS_ERROR_SYSTEM, "out of memory");
	source->classic =
		pcap_fopen_offline_with_tstamp_precision(source->stream, PCAP_TSTAMP_PRECISION_NANO, text);
	if (!source->classic) {
		const char *why = imds_input_error(source->input);

		return not_a_capture(error, why ? why : text);
	}
	type = pcap_datalink(source->classic);
	if (!imds_link_name(type)) {
		const char *name = pcap_datalink_val_to_name(type);

		return imds_fail(error, IMDS_ERROR_LINK_TYPE, "its packets have the link type %s (%d), which can't be read",
				 name ? name : "unknown", type);
	}
	return 0;
}

static int open_pcapng(struct file_source *source, struct imds_error *error)
{
	char text[200];

	source->pcapng = imds_pcapng_open(source->input, text, sizeof(text));
	return source->pcapng ? 0 : not_a_capture(error, text);
}

static int open_format(struct file_source *source, struct imds_error *error)
{
	uint8_t magic[4];
	uint32_t value;
	int64_t count = imds_input_peek(source->input, magic, sizeof(magic));

	if (imds_input_error(source->input))
		return not_a_capture(error, imds_input_error(source->input));
	if (count < (int64_t)sizeof(magic))
		return not_a_capture(error, count > 0 ? "it is shorter than any" : "it is empty");
	memcpy(&value, magic, sizeof(value));
	return value == IMDS_PCAPNG_MAGIC ? open_pcapng(source, error) : open_classic(source, error);
}

static void describe(const struct file_source *source, const char *name, char *text, size_t size)
{
	const char *compression = imds_input_compression(source->input);

	snprintf(text, size, "packet file %s (%s%s%s%s)", name, source->pcapng ? "pcapng" : "pcap, ",
		 source->classic ? imds_link_name(pcap_datalink(source->classic)) : "", compression ? ", " : "",
		 compression ? compression : "");
}

/* Takes fd, also on failure. */
static struct imds_source *open_fd(int fd, const char *name, const struct imds_endpoint *endpoints, uint32_t count,
				   bool exchanges, struct imds_error *error)
{
	struct file_source *source = calloc(1, sizeof(*source));
	struct imds_source *opened = NULL;
	char description[512];
	struct stat status;
	int result;

	if (!source) {
		close(fd);
		imds_fail(error, IMDS_ERROR_SYSTEM, "out of memory");
		return NULL;
	}
	source->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	source->input = imds_input_new(fd, source->cancel_fd);
	source->queue = imds_queue_new(QUEUE_BYTES);
	source->held = imds_fold_new(exchanges, put_records, source);
	if (!source->input)
		close(fd);
	if (source->cancel_fd < 0 || !source->input || !source->queue || !source->held) {
		result = imds_fail(error, IMDS_ERROR_SYSTEM, "no memory or no file descriptor left");
		goto end;
	}
	if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
		source->size = (uint64_t)status.st_size;
	if ((result = imds_tap_init(&source->tap, endpoints, count, error)) || (result = open_format(source, error)))
		goto end;
	describe(source, name, description, sizeof(description));
	if ((result = pthread_create(&source->thread, NULL, read_file, source))) {
		result = imds_fail(error, IMDS_ERROR_SYSTEM, "starting a thread: %s", strerror(result));
		goto end;
	}
	source->running = true;
	opened = imds_source_new(&file_kind, source, description);
	if (!opened)
		result = imds_fail(error, IMDS_ERROR_SYSTEM, "no memory or no file descriptor left");
end:
	if (result) {
		source_stop(source);
		source_free(source);
	}
	return opened;
}

struct imds_source *imds_open_pcap_file(const char *path, int32_t fd, const struct imds_endpoint *endpoints, uint32_t count,
					int32_t exchanges, struct imds_error *error)
{
	struct stat status;
	int own;

	memset(error, 0, sizeof(*error));
	own = path ? open(path, O_RDONLY | O_CLOEXEC) : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (own < 0) {
		imds_fail(error, IMDS_ERROR_FILE, "%s", strerror(errno));
		return NULL;
	}
	if (fstat(own, &status) == 0 && S_ISDIR(status.st_mode)) {
		close(own);
		imds_fail(error, IMDS_ERROR_FILE, "it is a directory");
		return NULL;
	}
	return open_fd(own, path ? path : "from standard input", endpoints, count, exchanges, error);
}
