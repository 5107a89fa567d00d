// SPDX-License-Identifier: Apache-2.0
#include "pcapng.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum block_type {
	INTERFACE = 1,
	OLD_PACKET = 2,
	SIMPLE_PACKET = 3,
	ENHANCED_PACKET = 6,
};

#define BYTE_ORDER_MAGIC UINT32_C(0x1a2b3c4d)
/* Longest block that is kept; those that are not looked at may have any length. */
#define BLOCK_MAX (16 * 1024 * 1024)
#define INTERFACES_MAX 65536

struct interface {
	int link_type;
	uint32_t snap_length; /* 0: none */
	int64_t offset_s;
	uint8_t resolution; /* option if_tsresol */
};

struct imds_pcapng {
	struct imds_input *input;
	bool swapped;
	struct interface *interfaces;
	uint32_t interface_count, interface_room;
	uint8_t *block; /* body of the current block */
	uint32_t block_room;
	uint64_t last_time_ns; /* for packets that have none */
};

static int fail(char *error, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int fail(char *error, size_t size, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(error, size, format, arguments);
	va_end(arguments);
	return -1;
}

static uint32_t word(const struct imds_pcapng *reader, const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return reader->swapped ? __builtin_bswap32(value) : value;
}

static uint16_t half(const struct imds_pcapng *reader, const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return reader->swapped ? __builtin_bswap16(value) : value;
}

/* Reads all of `count` bytes. 1, 0 where the file ends before the first, -1 where it ends in the middle. */
static int read_all(struct imds_pcapng *reader, uint8_t *to, uint64_t count, char *error, size_t size)
{
	int64_t done = imds_input_read(reader->input, to, count);

	if (done == (int64_t)count)
		return 1;
	if (imds_input_error(reader->input))
		return fail(error, size, "%s", imds_input_error(reader->input));
	return done == 0 ? 0 : fail(error, size, "the file ends in the middle of a block");
}

/* The same where the file must not end. */
static int read_rest(struct imds_pcapng *reader, uint8_t *to, uint64_t count, char *error, size_t size)
{
	int result = read_all(reader, to, count, error, size);

	return result == 0 && count > 0 ? fail(error, size, "the file ends in the middle of a block") : result;
}

/* Body and trailing length of a block whose type and length were read. */
static int read_body(struct imds_pcapng *reader, uint32_t length, char *error, size_t size)
{
	uint32_t body = length - 12;
	uint8_t trailer[4];

	if (body > reader->block_room) {
		uint8_t *block = realloc(reader->block, body);

		if (!block)
			return fail(error, size, "out of memory");
		reader->block = block;
		reader->block_room = body;
	}
	if (read_rest(reader, reader->block, body, error, size) < 0 || read_rest(reader, trailer, 4, error, size) < 0)
		return -1;
	if (word(reader, trailer) != length)
		return fail(error, size, "the file is damaged: a block has two lengths, %u and %u", length,
			    word(reader, trailer));
	return 1;
}

/* A section begins: its byte order holds for its own length, too, of which the type was read. */
static int begin_section(struct imds_pcapng *reader, char *error, size_t size)
{
	uint8_t start[8];
	uint32_t length;

	if (read_rest(reader, start, sizeof(start), error, size) < 0)
		return -1;
	reader->swapped = false;
	if (word(reader, start + 4) != BYTE_ORDER_MAGIC) {
		reader->swapped = true;
		if (word(reader, start + 4) != BYTE_ORDER_MAGIC)
			return fail(error, size, "the file is damaged: a section without byte-order magic");
	}
	length = word(reader, start);
	/* Version, section length and options follow, and the length again. */
	if (length < 28 || length % 4)
		return fail(error, size, "the file is damaged: a section header of %u bytes", length);
	reader->interface_count = 0;
	return read_rest(reader, NULL, length - 12, error, size);
}

static int add_interface(struct imds_pcapng *reader, uint32_t length, char *error, size_t size)
{
	struct interface *interface;
	uint32_t at = 8;

	if (length < 8)
		return fail(error, size, "the file is damaged: an interface description of %u bytes", length);
	if (reader->interface_count == INTERFACES_MAX)
		return fail(error, size, "the file is damaged: more than %d interfaces", INTERFACES_MAX);
	if (reader->interface_count == reader->interface_room) {
		uint32_t room = reader->interface_room ? reader->interface_room * 2 : 4;
		struct interface *grown = realloc(reader->interfaces, room * sizeof(*grown));

		if (!grown)
			return fail(error, size, "out of memory");
		reader->interfaces = grown;
		reader->interface_room = room;
	}
	interface = &reader->interfaces[reader->interface_count++];
	*interface = (struct interface){
		.link_type = half(reader, reader->block),
		.snap_length = word(reader, reader->block + 4),
		.resolution = 6,
	};
	while (length - at >= 4) {
		uint16_t code = half(reader, reader->block + at), option = half(reader, reader->block + at + 2);

		at += 4;
		if (code == 0 || option > length - at)
			break;
		if (code == 9 && option == 1)
			interface->resolution = reader->block[at];
		if (code == 14 && option == 8) {
			memcpy(&interface->offset_s, reader->block + at, 8);
			if (reader->swapped)
				interface->offset_s = (int64_t)__builtin_bswap64((uint64_t)interface->offset_s);
		}
		at += (option + 3u) & ~3u;
		if (at > length)
			break;
	}
	return 1;
}

/* Nanoseconds since the epoch of a time in the interface's units (section 4.2, if_tsresol, if_tsoffset); 0 before it. */
static uint64_t time_of(const struct interface *interface, const struct imds_pcapng *reader, const uint8_t *at)
{
	uint64_t units = (uint64_t)word(reader, at) << 32 | word(reader, at + 4);
	unsigned int exponent = interface->resolution & 0x7f;
	__int128 ns = units;

	if (interface->resolution & 0x80) {
		ns = exponent >= 94 ? 0 : (ns * 1000000000) >> exponent; /* 64 + 30 bits */
	} else if (exponent <= 9) {
		for (; exponent < 9; exponent++)
			ns *= 10;
	} else {
		for (; exponent > 9 && ns; exponent--)
			ns /= 10;
	}
	ns += (__int128)interface->offset_s * 1000000000;
	return ns < 0 ? 0 : ns > (__int128)UINT64_MAX ? UINT64_MAX : (uint64_t)ns;
}

/* Where the parts of a packet block lie; none: NO. */
#define NO UINT32_MAX
static const struct packet_layout {
	uint32_t type;
	uint32_t interface, interface_size, time, captured, wire, bytes;
} packet_layouts[] = {
	{ ENHANCED_PACKET, 0, 4, 4, 12, 16, 20 },
	{ OLD_PACKET, 0, 2, 4, 12, 16, 20 },
	{ SIMPLE_PACKET, NO, 0, NO, NO, 0, 4 },
};

static int read_packet(struct imds_pcapng *reader, const struct packet_layout *layout, uint32_t length,
		       struct imds_frame *frame, char *error, size_t size)
{
	const struct interface *interface;
	const uint8_t *block = reader->block;
	uint32_t number = 0, captured;

	if (length < layout->bytes)
		return fail(error, size, "the file is damaged: a packet block of %u bytes", length);
	if (layout->interface != NO)
		number = layout->interface_size == 4 ? word(reader, block + layout->interface) :
						       half(reader, block + layout->interface);
	if (number >= reader->interface_count)
		return fail(error, size, "the file is damaged: a packet of interface %u of %u", number,
			    reader->interface_count);
	interface = &reader->interfaces[number];
	if (layout->time != NO)
		reader->last_time_ns = time_of(interface, reader, block + layout->time);
	frame->time_ns = reader->last_time_ns;
	frame->link_type = interface->link_type;
	frame->bytes.at = block + layout->bytes;
	frame->bytes.wire = word(reader, block + layout->wire);
	captured = layout->captured != NO ? word(reader, block + layout->captured) : frame->bytes.wire;
	if (layout->captured == NO) {
		if (interface->snap_length && captured > interface->snap_length)
			captured = interface->snap_length;
		if (captured > length - layout->bytes)
			captured = length - layout->bytes;
	}
	if (captured > length - layout->bytes)
		return fail(error, size, "the file is damaged: a packet of %u bytes in a block of %u", captured, length);
	frame->bytes.captured = captured;
	return 1;
}

int imds_pcapng_next(struct imds_pcapng *reader, struct imds_frame *frame, char *error, size_t size)
{
	for (;;) {
		const struct packet_layout *layout = NULL;
		uint8_t start[8];
		uint32_t type, length;
		int result = read_all(reader, start, 4, error, size);

		if (result <= 0)
			return result;
		memcpy(&type, start, 4);
		if (type == IMDS_PCAPNG_MAGIC) {
			if (begin_section(reader, error, size) < 0)
				return -1;
			continue;
		}
		if (read_rest(reader, start + 4, 4, error, size) < 0)
			return -1;
		type = word(reader, start);
		length = word(reader, start + 4);
		if (length < 12 || length % 4)
			return fail(error, size, "the file is damaged: a block of %u bytes", length);
		for (size_t i = 0; i < sizeof(packet_layouts) / sizeof(packet_layouts[0]); i++) {
			if (packet_layouts[i].type == type)
				layout = &packet_layouts[i];
		}
		if (!layout && type != INTERFACE) {
			if (read_rest(reader, NULL, length - 8, error, size) < 0)
				return -1;
			continue;
		}
		if (length > BLOCK_MAX)
			return fail(error, size, "the file is damaged: a block of %u bytes", length);
		if (read_body(reader, length, error, size) < 0)
			return -1;
		if (layout)
			return read_packet(reader, layout, length - 12, frame, error, size);
		if (add_interface(reader, length - 12, error, size) < 0)
			return -1;
	}
}

struct imds_pcapng *imds_pcapng_open(struct imds_input *input, char *error, size_t size)
{
	struct imds_pcapng *reader = calloc(1, sizeof(*reader));
	uint8_t type[4];

	if (!reader) {
		fail(error, size, "out of memory");
		return NULL;
	}
	reader->input = input;
	/* Its type is what told the caller that this is pcapng. */
	if (read_rest(reader, type, sizeof(type), error, size) < 0 || begin_section(reader, error, size) < 0) {
		imds_pcapng_free(reader);
		return NULL;
	}
	return reader;
}

void imds_pcapng_free(struct imds_pcapng *reader)
{
	free(reader->interfaces);
	free(reader->block);
	free(reader);
}
