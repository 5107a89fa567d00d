// SPDX-License-Identifier: Apache-2.0
/*
 * Packets of few connections in any order, with any numbers and bytes: as exchanges and as packets they are as many, each
 * record is whole, and what was not told of as a part of an exchange comes as it is and in its order.
 */
#include "check.h"
#include "packet_tap.h"
#include "plain_exchange.h"

/* An input: packets, each of a head as this and as many bytes of payload as it says (or as there are). */
struct head {
	uint8_t connection; /* low bits: which; high: how far its time is from that of the one before */
	uint8_t what; /* flags of TCP, and in the two highest bits whether numbers are as they have to be */
	uint8_t egress;
	uint8_t length;
};

/* What a connection has sent, so that inputs need not guess numbers. */
static uint32_t next[4][2];

static struct {
	uint64_t packets, cut, given, exchanges, heads;
	bool head_told[IMDS_HEADS];
} told;

static void check_exchange(const struct imds_exchange *record)
{
	struct imds_exchange exchange;

	memcpy(&exchange, record, sizeof(exchange));
	MUST(exchange.head < IMDS_HEADS && told.head_told[exchange.head]);
	MUST(exchange.status >= 200 && exchange.status < 600 && exchange.minor <= 1);
	MUST(exchange.family == 4 && exchange.body_length <= IMDS_EXCHANGE_BODY);
	MUST(sizeof(exchange) + exchange.query_length + exchange.body_length <= exchange.header.length);
	MUST(exchange.query_length == 0 || record->bytes[0] == '?');
	told.exchanges++;
}

static bool take(void *argument, const void *records, uint32_t length, uint32_t packets, uint32_t cut)
{
	(void)argument;
	for (uint32_t at = 0; at < length;) {
		const void *record = (const uint8_t *)records + at;
		struct imds_header header;

		MUST(length - at >= sizeof(header));
		memcpy(&header, record, sizeof(header));
		MUST(header.length >= sizeof(header) && header.length % 8 == 0 && header.length <= length - at);
		switch (header.type) {
		case IMDS_RECORD_PACKET:
			check_packet(record, length - at);
			told.given++;
			break;
		case IMDS_RECORD_HEAD: {
			struct imds_head head;

			memcpy(&head, record, sizeof(head));
			MUST(head.number < IMDS_HEADS && head.query <= head.data.length);
			MUST(head.data.offset == sizeof(head) && sizeof(head) + head.data.length <= header.length);
			told.head_told[head.number] = true;
			break;
		}
		case IMDS_RECORD_EXCHANGE:
			MUST(header.length >= sizeof(struct imds_exchange));
			check_exchange(record);
			break;
		case IMDS_RECORD_PASSED:
			MUST(header.length == sizeof(struct imds_passed));
			break;
		default:
			MUST(header.type == IMDS_RECORD_TIME && header.length == sizeof(header));
		}
		at += header.length;
	}
	told.packets += packets;
	told.cut += cut;
	return true;
}

/* An IPv4 packet of a connection; its length. */
static size_t build(uint8_t *ip, const struct head *head, const uint8_t *payload, uint8_t length)
{
	unsigned int which = head->connection & 3;
	bool egress = head->egress & 1;
	uint32_t seq = next[which][egress], ack = next[which][!egress];
	uint8_t flags = head->what & 0x3f;
	uint8_t *tcp = ip + 20;

	if (flags & IMDS_TCP_SYN)
		seq = next[which][egress] = (uint32_t)head->egress * 0x01010101;
	if (head->what & 0x40)
		seq += head->egress;
	if (head->what & 0x80)
		ack -= head->egress;
	memset(ip, 0, 40);
	ip[0] = 0x45;
	ip[3] = (uint8_t)(40 + length);
	ip[2] = (uint8_t)((40 + length) >> 8);
	ip[9] = 6;
	memcpy(ip + (egress ? 16 : 12), "\x64\x64\x64\xc8", 4);
	memcpy(ip + (egress ? 12 : 16), "\x0a\x00\x00\x05", 4);
	tcp[egress ? 3 : 1] = 80;
	tcp[egress ? 0 : 2] = 0x80;
	tcp[egress ? 1 : 3] = (uint8_t)which;
	for (int i = 0; i < 4; i++) {
		tcp[4 + i] = (uint8_t)(seq >> (24 - 8 * i));
		tcp[8 + i] = (uint8_t)(ack >> (24 - 8 * i));
	}
	tcp[12] = 0x50;
	tcp[13] = flags;
	memcpy(ip + 40, payload, length);
	if (!(head->what & 0x40))
		next[which][egress] = seq + length + ((flags & (IMDS_TCP_SYN | IMDS_TCP_FIN)) != 0);
	return 40u + length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct imds_fold *fold = imds_fold_new(true, take, NULL);
	struct imds_tap tap;
	struct imds_error error;
	uint64_t time_ns = UINT64_C(1790000000000000000), packets = 0, cut = 0;

	memset(&told, 0, sizeof(told));
	memset(next, 0, sizeof(next));
	MUST(fold && imds_tap_init(&tap, ENDPOINTS, ENDPOINT_COUNT, &error) == 0);
	while (size >= sizeof(struct head)) {
		static const int64_t STEPS_MS[] = { 0, 0, 0, 1, 40, 101, 251, 990, 11000, -5, -9, -11, -1500, 61000, 0, 1 };
		uint8_t ip[40 + 256], *bytes;
		const struct imds_packet *record;
		struct imds_frame frame = { .link_type = 101 };
		struct head head;
		size_t length, kept;

		memcpy(&head, data, sizeof(head));
		data += sizeof(head);
		size -= sizeof(head);
		if (head.length > size)
			head.length = (uint8_t)size;
		length = kept = build(ip, &head, data, head.length);
		data += head.length;
		size -= head.length;
		time_ns += (uint64_t)(STEPS_MS[head.connection >> 4] * 1000000);
		/* Memory of just this size, so that a byte read too much is seen. */
		if ((head.connection & 0x0c) == 0x0c && length > 60)
			kept = 60;
		bytes = malloc(kept);
		MUST(bytes != NULL);
		memcpy(bytes, ip, kept);
		frame.bytes.at = bytes;
		frame.bytes.captured = (uint32_t)kept;
		frame.bytes.wire = (uint32_t)length;
		frame.time_ns = time_ns;
		record = imds_tap_frame(&tap, &frame);
		if (record) {
			packets++;
			cut += record->data.length < record->wire_length;
			MUST(imds_fold_add(fold, record, &tap.packet));
		}
		free(bytes);
		if (head.egress == 0xff)
			MUST(imds_fold_flush(fold));
	}
	MUST(imds_fold_flush(fold));
	MUST(told.packets == packets && told.cut == cut);
	/* An exchange takes five packets at least. */
	MUST(told.given + 5 * told.exchanges <= packets && (told.exchanges > 0 || told.given == packets));
	imds_fold_free(fold);
	imds_tap_free(&tap);
	return 0;
}
