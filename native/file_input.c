// SPDX-License-Identifier: Apache-2.0
#include "file_input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#ifdef IMDS_HAVE_ZSTD
#include <zstd.h>
#endif

#define RAW_BYTES (128 * 1024)
#define PLAIN_BYTES (256 * 1024)
#define PAUSE_MS 10
/* Decompression needs this much memory at most; zstd's own default, which files made with --long=28 and up exceed. */
#define ZSTD_WINDOW_LOG 27

struct window {
	uint8_t *bytes;
	size_t at, end;
};

struct imds_input {
	int fd, cancel_fd;
	bool waits; /* a pipe or the like: reading it may have to wait */
	bool raw_ended, started;
	uint64_t raw_read;
	struct window raw; /* as in the file */
	struct window plain; /* decompressed; not used for a plain file */
	const struct codec *codec; /* NULL: plain */
	z_stream gzip;
#ifdef IMDS_HAVE_ZSTD
	ZSTD_DStream *zstd;
#endif
	bool in_frame; /* a compressed stream has begun and not ended */
	void (*on_wait)(void *argument);
	void *on_wait_argument;
	char error[160];
};

struct codec {
	const char *name;
	uint8_t magic[4];
	size_t magic_length;
	bool (*start)(struct imds_input *input);
	/* Decompresses some of raw into plain, which is empty. False with `error` set. */
	bool (*more)(struct imds_input *input);
	void (*stop)(struct imds_input *input);
};

struct imds_input *imds_input_new(int fd, int cancel_fd)
{
	struct imds_input *input = calloc(1, sizeof(*input));
	struct stat status;

	if (!input)
		return NULL;
	input->raw.bytes = malloc(RAW_BYTES);
	input->plain.bytes = malloc(PLAIN_BYTES);
	if (!input->raw.bytes || !input->plain.bytes) {
		free(input->raw.bytes);
		free(input->plain.bytes);
		free(input);
		return NULL;
	}
	input->fd = fd;
	input->cancel_fd = cancel_fd;
	input->waits = fstat(fd, &status) || !S_ISREG(status.st_mode);
	return input;
}

void imds_input_on_wait(struct imds_input *input, void (*on_wait)(void *argument), void *argument)
{
	input->on_wait = on_wait;
	input->on_wait_argument = argument;
}

void imds_input_free(struct imds_input *input)
{
	if (!input)
		return;
	if (input->codec)
		input->codec->stop(input);
	close(input->fd);
	free(input->raw.bytes);
	free(input->plain.bytes);
	free(input);
}

/* Waits until there is something to read. False once cancelled, which then is the end of the input. */
static bool wait_for_bytes(struct imds_input *input)
{
	struct pollfd fds[] = {
		{ .fd = input->cancel_fd, .events = POLLIN },
		{ .fd = input->fd, .events = POLLIN },
	};

	/* Whoever holds something back hands it on before a longer wait: one that writes as fast as it can has pauses, too. */
	if (input->waits && input->on_wait && poll(fds, 2, PAUSE_MS) == 0)
		input->on_wait(input->on_wait_argument);
	do {
		if (poll(fds, input->waits ? 2 : 1, input->waits ? -1 : 0) < 0 && errno != EINTR)
			return false;
		if (fds[0].revents)
			return false;
	} while (input->waits && !fds[1].revents);
	return true;
}

/* Reads some more of the file behind what is in `raw`. False at its end or on errors. */
static bool fill_raw(struct imds_input *input)
{
	struct window *raw = &input->raw;
	ssize_t count;

	if (input->raw_ended)
		return false;
	if (raw->at > 0) {
		memmove(raw->bytes, raw->bytes + raw->at, raw->end - raw->at);
		raw->end -= raw->at;
		raw->at = 0;
	}
	do {
		count = wait_for_bytes(input) ? read(input->fd, raw->bytes + raw->end, RAW_BYTES - raw->end) : 0;
	} while (count < 0 && (errno == EINTR || errno == EAGAIN));
	if (count <= 0) {
		if (count < 0)
			snprintf(input->error, sizeof(input->error), "reading it failed: %s", strerror(errno));
		input->raw_ended = true;
		return false;
	}
	raw->end += (size_t)count;
	__atomic_store_n(&input->raw_read, input->raw_read + (uint64_t)count, __ATOMIC_RELAXED);
	return true;
}

/* ---- gzip (RFC 1952) -------------------------------------------------------------------------------------------- */

static bool gzip_start(struct imds_input *input)
{
	return inflateInit2(&input->gzip, 15 + 16) == Z_OK; /* the largest window, gzip's header */
}

static bool gzip_more(struct imds_input *input)
{
	int result;

	input->gzip.next_in = input->raw.bytes + input->raw.at;
	input->gzip.avail_in = (uInt)(input->raw.end - input->raw.at);
	input->gzip.next_out = input->plain.bytes;
	input->gzip.avail_out = PLAIN_BYTES;
	input->in_frame = true;
	result = inflate(&input->gzip, Z_NO_FLUSH);
	input->raw.at = input->raw.end - input->gzip.avail_in;
	input->plain.end = PLAIN_BYTES - input->gzip.avail_out;
	if (result == Z_STREAM_END) {
		/* Another member may follow: pigz and appended logs have several. */
		input->in_frame = false;
		result = inflateReset(&input->gzip);
	}
	if (result == Z_OK || result == Z_BUF_ERROR)
		return true;
	snprintf(input->error, sizeof(input->error), "its gzip compression is damaged: %s",
		 input->gzip.msg ? input->gzip.msg : "no memory");
	return false;
}

static void gzip_stop(struct imds_input *input)
{
	inflateEnd(&input->gzip);
}

/* ---- zstd (RFC 8878) -------------------------------------------------------------------------------------------- */

#ifdef IMDS_HAVE_ZSTD
static bool zstd_start(struct imds_input *input)
{
	input->zstd = ZSTD_createDStream();
	return input->zstd && !ZSTD_isError(ZSTD_DCtx_setParameter(input->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG));
}

static bool zstd_more(struct imds_input *input)
{
	ZSTD_inBuffer in = { input->raw.bytes, input->raw.end, input->raw.at };
	ZSTD_outBuffer out = { input->plain.bytes, PLAIN_BYTES, 0 };
	size_t result = ZSTD_decompressStream(input->zstd, &out, &in);

	if (ZSTD_isError(result)) {
		snprintf(input->error, sizeof(input->error), "its zstd compression can't be read: %s",
			 ZSTD_getErrorName(result));
		return false;
	}
	input->in_frame = result != 0;
	input->raw.at = in.pos;
	input->plain.end = out.pos;
	return true;
}

static void zstd_stop(struct imds_input *input)
{
	ZSTD_freeDStream(input->zstd);
}
#else
static bool zstd_start(struct imds_input *input)
{
	snprintf(input->error, sizeof(input->error),
		 "it is compressed with zstd, which this build can't read: pass it through `zstd -dc FILE |`");
	return false;
}

static bool zstd_more(struct imds_input *input)
{
	(void)input;
	return false;
}

static void zstd_stop(struct imds_input *input)
{
	(void)input;
}
#endif

static const struct codec codecs[] = {
	{ "gzip", { 0x1f, 0x8b }, 2, gzip_start, gzip_more, gzip_stop },
	{ "zstd", { 0x28, 0xb5, 0x2f, 0xfd }, 4, zstd_start, zstd_more, zstd_stop },
};

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* Looks at the first bytes, once: is it compressed? */
static bool start(struct imds_input *input)
{
	input->started = true;
	while (input->raw.end < sizeof(codecs[0].magic) && fill_raw(input)) {
	}
	for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++) {
		const struct codec *codec = &codecs[i];

		if (input->raw.end < codec->magic_length || memcmp(input->raw.bytes, codec->magic, codec->magic_length))
			continue;
		input->codec = codec;
		if (codec->start(input))
			return true;
		if (!input->error[0])
			snprintf(input->error, sizeof(input->error), "out of memory");
		return false;
	}
	return !input->error[0];
}

/* Makes sure that the window that readers see holds something. NULL at the end or on errors. */
static struct window *fill(struct imds_input *input)
{
	struct window *window = input->codec ? &input->plain : &input->raw;

	while (window->at == window->end) {
		if (!input->codec)
			return fill_raw(input) ? window : NULL;
		window->at = window->end = 0;
		if (input->raw.at == input->raw.end && !fill_raw(input)) {
			if (!input->in_frame || input->error[0])
				return NULL;
			/* The decompressor keeps output back where its buffer was full. */
			if (input->codec->more(input) && input->plain.end > 0)
				continue;
			if (!input->error[0])
				snprintf(input->error, sizeof(input->error), "its %s compression ends too early",
					 input->codec->name);
			return NULL;
		}
		if (!input->codec->more(input))
			return NULL;
	}
	return window;
}

int64_t imds_input_read(struct imds_input *input, uint8_t *to, uint64_t count)
{
	uint64_t done = 0;

	if (!input->started && !start(input))
		return -1;
	while (done < count) {
		struct window *window = fill(input);
		size_t part;

		if (!window)
			break;
		part = window->end - window->at;
		if (part > count - done)
			part = count - done;
		if (to)
			memcpy(to + done, window->bytes + window->at, part);
		window->at += part;
		done += part;
	}
	return done == 0 && count > 0 && input->error[0] ? -1 : (int64_t)done;
}

int64_t imds_input_peek(struct imds_input *input, uint8_t *to, size_t count)
{
	struct window *window;

	if (!input->started && !start(input))
		return -1;
	window = fill(input);
	if (!window)
		return input->error[0] ? -1 : 0;
	/* A plain pipe may have given less at first. A compressed one gives its first block in one piece. */
	while (!input->codec && window->end - window->at < count && fill_raw(input)) {
	}
	if (count > window->end - window->at)
		count = window->end - window->at;
	memcpy(to, window->bytes + window->at, count);
	return (int64_t)count;
}

/*
 * Gives what is there and waits only where nothing is, so that stdio's buffer costs a slow pipe no delay. Without that
 * buffer stdio asks for byte after byte.
 */
static ssize_t stream_read(void *cookie, char *to, size_t count)
{
	struct imds_input *input = cookie;
	struct window *window = input->started || start(input) ? fill(input) : NULL;

	if (!window) {
		errno = EIO;
		return input->error[0] ? -1 : 0;
	}
	if (count > window->end - window->at)
		count = window->end - window->at;
	memcpy(to, window->bytes + window->at, count);
	window->at += count;
	return (ssize_t)count;
}

FILE *imds_input_stream(struct imds_input *input)
{
	FILE *stream = fopencookie(input, "r", (cookie_io_functions_t){ .read = stream_read });

	/* One thread at a time reads, twice for each packet. */
	if (stream)
		__fsetlocking(stream, FSETLOCKING_BYCALLER);
	return stream;
}

uint64_t imds_input_bytes(const struct imds_input *input)
{
	return __atomic_load_n(&input->raw_read, __ATOMIC_RELAXED);
}

const char *imds_input_compression(const struct imds_input *input)
{
	return input->codec ? input->codec->name : NULL;
}

const char *imds_input_error(const struct imds_input *input)
{
	return input->error[0] ? input->error : NULL;
}
