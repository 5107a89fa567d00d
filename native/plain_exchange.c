// SPDX-License-Identifier: Apache-2.0
#include "plain_exchange.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "plain_http.h"
#include "record_queue.h"

/* A stretch of the file: what lies across its end is moved to its beginning, up to half of it. No more than a processor's cache. */
#ifndef STRETCH_BYTES
#define STRETCH_BYTES (512 * 1024)
#endif
#define STRETCH_RECORDS (STRETCH_BYTES / sizeof(struct imds_packet))
#define CONNECTIONS 2048
/* A power of two. */
#define INDEX 8192
#define PROBES 8
#define RESPONSES 8
/* Connections that were given on as an exchange. */
#define PASSED_WAYS 4
#define PASSED_SETS (IMDS_PASSED / PASSED_WAYS)

/* Where several processors capture, a packet may have an earlier time than the one before it. By more: the clock was set. */
#define BACK_NS UINT64_C(10000000)

/*
 * Connections of which src/ gets the packets, by a hash of their addresses: src/wire/flow-table.ts may have them still. The
 * last IMDS_TABLE_FLOWS at least; should it have an older one, FlowTable.replace() ends that as a new connection would.
 */
#define SEEN_BITS (1 << 19)

/* Addresses and ports follow one another. */
#define KEY_OFFSET offsetof(struct imds_packet, local_address)
#define KEY_BYTES (offsetof(struct imds_packet, wire_length) - KEY_OFFSET)
_Static_assert(KEY_BYTES == 36, "two addresses, two ports");

enum state {
	SYN,
	SYN_ACK,
	REQUEST,
	RESPONSE,
	ONE_END,
	OVER, /* all of it was plain */
	NOT_PLAIN,
};

struct connection {
	uint64_t hash;
	uint8_t state;
	uint8_t family;
	uint8_t number; /* of the head */
	bool client_ended, service_ended;
	uint32_t client_sequence, service_sequence;
	uint8_t key[KEY_BYTES];
	uint32_t first, last; /* records, where they are in the stretch; before it: 0 */
	uint32_t request, response; /* payloads, there */
	const uint8_t *saved; /* the query, where the request is not there any more */
	uint32_t request_length, response_length;
	struct imds_plain_request asked;
	struct imds_plain_response answered;
	uint64_t latest_before; /* of all packets up to its SYN */
	uint64_t times[6]; /* SYN, SYN and ACK, request, response, ends */
	uint8_t ends;
};

struct packet {
	uint64_t hash; /* of addresses and ports */
	uint32_t at; /* in the stretch */
	uint16_t connection; /* its number, or NONE */
	bool cut;
	bool is_response;
	bool steps_back; /* the clock was set back before it */
};

#define NONE UINT16_MAX
/* Room for queries of connections of which a part was given on. */
#define SAVED_BYTES (16 * 1024)
#define LAST_HEAD (IMDS_HEADS - 1) /* for those that come once, and are told of each time */

/* A connection that was given on as an exchange, as long as src/ would know it. */
struct passed {
	uint64_t hash; /* 0: none */
	uint64_t last_use_ns;
	uint32_t client_first, client_next, service_first, service_next;
	uint32_t clock; /* how often it had been set back */
};

struct head {
	uint8_t bytes[IMDS_PLAIN_HEAD_MAX]; /* the request that it was first seen in */
	bool told;
};

/* Of a head what nearly all others differ in, apart from their bytes. */
struct shape {
	uint32_t length; /* 0: none */
	struct imds_plain_request asked;
};

struct response {
	uint8_t bytes[IMDS_PLAIN_HEAD_MAX]; /* the head */
	struct imds_plain_response answered;
};

struct imds_fold {
	bool on;
	imds_fold_put *put;
	void *argument;

	/* The stretch. */
	uint8_t *records;
	uint32_t used, packet_count;
	uint16_t connection_count;
	struct packet packets[STRETCH_RECORDS];
	struct connection connections[CONNECTIONS];
	uint16_t numbers[CONNECTIONS]; /* new ones, while those that are over go */
	uint16_t index[INDEX]; /* by hash: number of the connection + 1 */

	/* Of the whole file. */
	struct head heads[LAST_HEAD]; /* as src/ knows them, by their numbers */
	struct shape shapes[LAST_HEAD];
	struct response responses[RESPONSES]; /* those last read, which are mostly read again */
	uint8_t free_heads, response_count, next_response;
	uint64_t latest; /* time */
	double swept_ms; /* when src/wire/flow-table.ts looked for what is overdue */
	bool swept;
	uint32_t clock; /* how often it was set back */
	double swept_before_ms; /* as swept_ms, when it was last set back */
	/* Whose packets were given on as they are: connections that src/ may have open. All up to the last turn, and since. */
	uint64_t seen_before[SEEN_BITS / 64], seen[SEEN_BITS / 64];
	uint32_t seen_count;
	struct passed passed[PASSED_SETS][PASSED_WAYS]; /* of each set the latest first */
	uint64_t seed; /* who makes the packets must not choose which hashes are alike */

	/* Of connections that lie across the end of the stretch before, and of this one. */
	uint8_t saved[2][SAVED_BYTES];
	uint8_t saving;

	/* What is given on. */
	uint8_t *out;
	uint32_t out_used, out_packets, out_cut;
};

struct imds_fold *imds_fold_new(bool on, imds_fold_put *put, void *argument)
{
	struct imds_fold *fold = calloc(1, sizeof(*fold));

	if (!fold)
		return NULL;
	if (getrandom(&fold->seed, sizeof(fold->seed), GRND_NONBLOCK) < 0) {
		/* Early at boot. The hashes are the same each time then. */
	}
	fold->on = on;
	fold->free_heads = LAST_HEAD;
	fold->put = put;
	fold->argument = argument;
	fold->records = malloc(STRETCH_BYTES);
	fold->out = malloc(IMDS_PUT_MAX);
	if (fold->records && fold->out)
		return fold;
	imds_fold_free(fold);
	return NULL;
}

void imds_fold_free(struct imds_fold *fold)
{
	if (!fold)
		return;
	free(fold->records);
	free(fold->out);
	free(fold);
}

/* ---- whose packet ----------------------------------------------------------------------------------------------- */

static uint64_t hash_of(const struct imds_fold *fold, const struct imds_packet *record)
{
	const uint8_t *key = (const uint8_t *)record + KEY_OFFSET;
	uint64_t words[4], hash = fold->seed;
	uint32_t ports;

	memcpy(words, key, sizeof(words));
	memcpy(&ports, key + sizeof(words), sizeof(ports));
	for (int i = 0; i < 4; i++) {
		hash = (hash ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 29;
	}
	hash = (hash ^ ports) * UINT64_C(0xbf58476d1ce4e5b9);
	return hash ^ hash >> 32;
}

static struct imds_packet *record_at(struct imds_fold *fold, uint32_t at)
{
	return (void *)(fold->records + at);
}

/* Where in the index the connection is or may be put; NULL where it has no place. The latest of several of the same key. */
static uint16_t *place_of(struct imds_fold *fold, const struct imds_packet *record, uint64_t hash)
{
	for (uint32_t i = 0; i < PROBES; i++) {
		uint16_t *place = &fold->index[(hash + i) & (INDEX - 1)];
		const struct connection *connection;

		if (*place == 0)
			return place;
		connection = &fold->connections[*place - 1];
		if (connection->hash == hash &&
		    memcmp(connection->key, (const uint8_t *)record + KEY_OFFSET, KEY_BYTES) == 0)
			return place;
	}
	return NULL;
}

static bool test_bit(const uint64_t *bits, uint32_t bit)
{
	return bits[bit / 64] >> bit % 64 & 1;
}

static bool was_seen(const struct imds_fold *fold, uint64_t hash)
{
	uint32_t bit = hash % SEEN_BITS;

	return test_bit(fold->seen, bit) || test_bit(fold->seen_before, bit);
}

static void note_seen(struct imds_fold *fold, uint64_t hash)
{
	uint32_t bit = hash % SEEN_BITS;

	if (test_bit(fold->seen, bit))
		return;
	if (fold->seen_count == IMDS_TABLE_FLOWS) {
		memcpy(fold->seen_before, fold->seen, sizeof(fold->seen));
		memset(fold->seen, 0, sizeof(fold->seen));
		fold->seen_count = 0;
	}
	fold->seen[bit / 64] |= UINT64_C(1) << bit % 64;
	fold->seen_count++;
}

static struct passed *find_passed(struct imds_fold *fold, uint64_t hash)
{
	struct passed *set = fold->passed[hash % PASSED_SETS];

	for (int i = 0; hash && i < PASSED_WAYS; i++) {
		if (set[i].hash == hash)
			return &set[i];
	}
	return NULL;
}

/* ---- what is plain ---------------------------------------------------------------------------------------------- */

enum { PSH = 0x08, ACK = 0x10, URG = 0x20, ALL = 0x3f }; /* beyond these: congestion control, which changes nothing here */

static bool is_whole(const struct imds_packet *record, const struct imds_tcp_packet *packet)
{
	const uint8_t *ip = packet->ip.at;

	/* Where the header says no length, what counts as payload depends on who reads. */
	if (!packet->whole_header || packet->ip.captured != packet->ip.wire || record->data.length != packet->ip.captured)
		return false;
	return ip[0] >> 4 == 4 ? ip[2] || ip[3] : ip[4] || ip[5];
}

/* Whether a request is the same but for its query. */
static bool is_alike(const struct head *head, const struct shape *shape, const uint8_t *request, uint32_t length,
		     struct imds_plain_request *asked)
{
	uint32_t query = shape->asked.query, end = query + shape->asked.query_length, behind = shape->length - end;

	if (length < query + behind || request[length - behind] != head->bytes[end] ||
	    memcmp(request + length - behind, head->bytes + end, behind) != 0 || memcmp(request, head->bytes, query) != 0)
		return false;
	asked->query = query;
	asked->query_length = length - query - behind;
	return imds_plain_query(request + query, asked->query_length);
}

/* The number of the head that a request has in common with others; LAST_HEAD where there are too many. False: not plain. */
static bool find_head(struct imds_fold *fold, struct connection *connection)
{
	const uint8_t *request = fold->records + connection->request;
	uint32_t length = connection->request_length;
	uint8_t free = LAST_HEAD;

	for (uint8_t i = 0; i < LAST_HEAD; i++) {
		if (fold->shapes[i].length == 0) {
			free = i;
		} else if (is_alike(&fold->heads[i], &fold->shapes[i], request, length, &connection->asked)) {
			connection->number = i;
			return true;
		}
	}
	if (!imds_plain_request(request, length, &connection->asked))
		return false;
	connection->number = free;
	if (free == LAST_HEAD)
		return true;
	memcpy(fold->heads[free].bytes, request, length);
	fold->heads[free].told = false;
	fold->shapes[free].length = length;
	fold->shapes[free].asked = connection->asked;
	fold->free_heads--;
	return true;
}

/* Where there is no room for heads, all go but those that connections wait with. */
static void free_heads(struct imds_fold *fold)
{
	bool used[IMDS_HEADS] = { false };

	for (uint32_t i = 0; i < fold->connection_count; i++) {
		if (fold->connections[i].state >= REQUEST)
			used[fold->connections[i].number] = true;
	}
	for (uint8_t i = 0; i < LAST_HEAD; i++) {
		if (used[i] || fold->shapes[i].length == 0)
			continue;
		fold->shapes[i].length = 0;
		fold->free_heads++;
	}
}

/* A response that is plain and whole. */
static bool read_response(struct imds_fold *fold, struct connection *connection)
{
	const uint8_t *response = fold->records + connection->response;
	uint32_t length = connection->response_length;
	struct imds_plain_response *answered = &connection->answered;

	for (uint32_t i = 0; i < fold->response_count; i++) {
		*answered = fold->responses[i].answered;
		if (length == answered->head_length + answered->body_length &&
		    memcmp(response, fold->responses[i].bytes, answered->head_length) == 0)
			return true;
	}
	if (!imds_plain_response(response, length, answered) || length != answered->head_length + answered->body_length)
		return false;
	memcpy(fold->responses[fold->next_response].bytes, response, answered->head_length);
	fold->responses[fold->next_response].answered = *answered;
	fold->next_response = (fold->next_response + 1) % RESPONSES;
	if (fold->response_count < RESPONSES)
		fold->response_count++;
	return true;
}

/* An end of the connection. False where it is none, or not at its number. */
static bool take_end(struct connection *connection, const struct imds_tcp_packet *packet, bool egress)
{
	uint32_t client_next = connection->client_sequence + 1 + connection->request_length;
	uint32_t service_next = connection->service_sequence + 1 + connection->response_length;
	uint32_t next = egress ? client_next + connection->client_ended : service_next + connection->service_ended;
	bool reset = packet->flags & IMDS_TCP_RST;

	if (packet->payload_length > 0 || packet->seq != next || (packet->flags & IMDS_TCP_SYN))
		return false;
	/* What the service says to have received shows what the capture missed. */
	if (!egress && (packet->flags & ACK) && packet->ack != client_next &&
	    packet->ack != client_next + connection->client_ended)
		return false;
	if (reset) {
		connection->state = OVER;
	} else {
		bool *ended = egress ? &connection->client_ended : &connection->service_ended;

		if (!(packet->flags & IMDS_TCP_FIN) || *ended)
			return false;
		*ended = true;
		connection->state = connection->client_ended && connection->service_ended ? OVER : ONE_END;
	}
	return true;
}

/* Whether a connection's next packet is what is expected. */
static bool goes_on(struct imds_fold *fold, struct connection *connection, const struct imds_packet *record,
		    const struct imds_tcp_packet *packet)
{
	bool egress = record->header.flags & IMDS_FLAG_EGRESS;
	uint32_t at = (uint32_t)((const uint8_t *)record - fold->records), payload = (uint32_t)(packet->payload.at - packet->ip.at);
	uint8_t flags = packet->flags & ALL;
	uint64_t time_ns = record->header.time_ns;

	if (!is_whole(record, packet) || fold->latest - connection->latest_before > IMDS_EXCHANGE_MS * UINT64_C(1000000))
		return false;
	payload += at + (uint32_t)sizeof(*record);
	connection->last = at;
	switch ((enum state)connection->state) {
	case SYN:
		if (egress || flags != (IMDS_TCP_SYN | ACK) || packet->payload_length > 0 ||
		    packet->ack != connection->client_sequence + 1)
			return false;
		connection->service_sequence = packet->seq;
		connection->times[1] = time_ns;
		connection->state = SYN_ACK;
		return true;
	case SYN_ACK:
		if (!egress || (flags & ~PSH) != ACK || packet->payload_length == 0 ||
		    packet->seq != connection->client_sequence + 1 || packet->ack != connection->service_sequence + 1)
			return false;
		connection->request = payload;
		connection->request_length = packet->payload_length;
		connection->times[2] = time_ns;
		connection->state = REQUEST;
		return find_head(fold, connection);
	case REQUEST:
		if (egress || (flags & ~(PSH | IMDS_TCP_FIN)) != ACK || packet->payload_length == 0 ||
		    packet->seq != connection->service_sequence + 1 ||
		    packet->ack != connection->client_sequence + 1 + connection->request_length)
			return false;
		connection->response = payload;
		connection->response_length = packet->payload_length;
		connection->times[3] = time_ns;
		connection->state = RESPONSE;
		if (flags & IMDS_TCP_FIN) {
			connection->service_ended = true;
			connection->state = ONE_END;
		}
		return read_response(fold, connection);
	case RESPONSE:
	case ONE_END:
		if (!take_end(connection, packet, egress))
			return false;
		connection->times[4 + connection->ends++] = time_ns;
		return true;
	case OVER:
	case NOT_PLAIN:
		break;
	}
	return false;
}

static bool begins(const struct imds_packet *record, const struct imds_tcp_packet *packet)
{
	return (record->header.flags & IMDS_FLAG_EGRESS) && (packet->flags & ALL) == IMDS_TCP_SYN && packet->payload_length == 0 &&
	       is_whole(record, packet);
}

/* A connection that begins with this packet, if it can be followed. */
static bool begin(struct imds_fold *fold, const struct imds_packet *record, const struct imds_tcp_packet *packet, uint64_t hash,
		  uint16_t *place)
{
	struct connection *connection = &fold->connections[fold->connection_count];
	const struct passed *passed = find_passed(fold, hash);

	if (!place || fold->connection_count == CONNECTIONS || was_seen(fold, hash))
		return false;
	/* What may pass for a retransmission is for src/ to tell. */
	if (passed && passed->client_first == packet->seq + 1)
		return false;
	memset(connection, 0, sizeof(*connection));
	connection->hash = hash;
	connection->state = SYN;
	connection->family = packet->ip.at[0] >> 4;
	connection->client_sequence = packet->seq;
	memcpy(connection->key, (const uint8_t *)record + KEY_OFFSET, KEY_BYTES);
	connection->first = connection->last = (uint32_t)((const uint8_t *)record - fold->records);
	connection->latest_before = fold->latest;
	connection->times[0] = record->header.time_ns;
	*place = ++fold->connection_count;
	return true;
}

/* Finds whose packet it is, and whether that is plain up to here. The number of its connection, or NONE. */
static uint16_t follow(struct imds_fold *fold, const struct imds_packet *record, const struct imds_tcp_packet *packet,
		       uint64_t hash)
{
	uint16_t *place = place_of(fold, record, hash);
	struct connection *connection = place && *place ? &fold->connections[*place - 1] : NULL;

	if (connection && connection->state < OVER) {
		if (!goes_on(fold, connection, record, packet)) {
			connection->state = NOT_PLAIN;
			note_seen(fold, hash);
		}
		return (uint16_t)(*place - 1);
	}
	/* Also where the port of one that is over is used again, but for what may pass for a retransmission, as in begin(). */
	if (begins(record, packet) && !(connection && connection->client_sequence == packet->seq) && begin(fold, record, packet, hash, place))
		return (uint16_t)(*place - 1);
	note_seen(fold, hash);
	return NONE;
}

/* ---- giving on -------------------------------------------------------------------------------------------------- */

static bool put_out(struct imds_fold *fold)
{
	uint32_t length = fold->out_used, packets = fold->out_packets, cut = fold->out_cut;

	fold->out_used = fold->out_packets = fold->out_cut = 0;
	return (length == 0 && packets == 0) || fold->put(fold->argument, fold->out, length, packets, cut);
}

/* Room for a record of `size` bytes, with its length in its header; NULL once `put` was false. */
static void *put_record(struct imds_fold *fold, uint32_t size, uint16_t type, uint64_t time_ns)
{
	uint32_t length = (size + 7) & ~7u;
	struct imds_header *header;

	if (fold->out_used + length > IMDS_PUT_MAX && !put_out(fold))
		return NULL;
	header = (void *)(fold->out + fold->out_used);
	memset((uint8_t *)header + length - 8, 0, 8);
	header->length = length;
	header->type = type;
	header->flags = 0;
	header->time_ns = time_ns;
	fold->out_used += length;
	return header;
}

static bool put_packet(struct imds_fold *fold, const struct packet *packet)
{
	const struct imds_packet *record = record_at(fold, packet->at);
	void *put = put_record(fold, record->header.length, IMDS_RECORD_PACKET, 0);

	if (!put)
		return false;
	memcpy(put, record, record->header.length);
	return true;
}

static bool put_head(struct imds_fold *fold, const struct connection *connection)
{
	struct head *head = connection->number == LAST_HEAD ? NULL : &fold->heads[connection->number];
	const uint8_t *request = head ? head->bytes : fold->records + connection->request;
	const struct shape own = { connection->request_length, connection->asked };
	const struct shape *shape = head ? &fold->shapes[connection->number] : &own;
	uint32_t query = shape->asked.query, end = query + shape->asked.query_length;
	uint32_t length = shape->length - shape->asked.query_length;
	struct imds_head *put;

	if (head && head->told)
		return true;
	if (head)
		head->told = true;
	put = put_record(fold, (uint32_t)sizeof(*put) + length, IMDS_RECORD_HEAD, connection->times[3]);
	if (!put)
		return false;
	put->number = connection->number;
	put->query = query;
	put->data.offset = sizeof(*put);
	put->data.length = length;
	memcpy(put->bytes, request, query);
	memcpy(put->bytes + query, request + end, length - query);
	return true;
}

static double milliseconds(uint64_t time_ns)
{
	uint64_t high = time_ns >> 32, low = time_ns & UINT32_MAX;

	/* As src/capture/records.ts has it. All but the last step is exact. */
	return (double)high * 4294 + ((double)high * 967296 + (double)low) / 1e6;
}

static double distance(double a, double b)
{
	return a < b ? b - a : a - b;
}

static uint64_t last_use(const struct connection *connection)
{
	uint64_t used = connection->times[0];

	for (uint32_t i = 1; i < 4u + connection->ends; i++) {
		if (distance(milliseconds(used), milliseconds(connection->times[i])) > IMDS_REORDER_MS)
			used = connection->times[i];
	}
	return used;
}

/* Late packets of it may come. */
static void note_passed(struct imds_fold *fold, const struct connection *connection)
{
	struct passed *set = fold->passed[connection->hash % PASSED_SETS];
	struct passed *known = find_passed(fold, connection->hash);

	memmove(set + 1, set, (size_t)((known ? known - set : PASSED_WAYS - 1)) * sizeof(*set));
	set->hash = connection->hash;
	set->last_use_ns = last_use(connection);
	set->client_first = connection->client_sequence + 1;
	set->client_next = set->client_first + connection->request_length;
	set->service_first = connection->service_sequence + 1;
	set->service_next = set->service_first + connection->response_length;
	set->clock = fold->clock;
}

/* Whether src/wire/flow-table.ts would not know it any more. */
static bool is_forgotten(const struct imds_fold *fold, const struct passed *passed)
{
	double used_ms = milliseconds(passed->last_use_ns);

	return distance(used_ms, fold->swept_ms) > IMDS_LINGER_MS ||
	       (passed->clock != fold->clock && distance(used_ms, fold->swept_before_ms) > IMDS_LINGER_MS);
}

/* Where a packet may be a late one of a connection that was given on as an exchange, src/ is told what is left of that. */
static bool put_passed(struct imds_fold *fold, const struct packet *packet)
{
	const struct imds_packet *record = record_at(fold, packet->at);
	struct passed *passed = find_passed(fold, packet->hash);
	struct imds_passed *put;

	if (!passed)
		return true;
	passed->hash = 0;
	if (is_forgotten(fold, passed))
		return true;
	put = put_record(fold, sizeof(*put), IMDS_RECORD_PASSED, record->header.time_ns);
	if (!put)
		return false;
	put->last_use_ns = passed->last_use_ns;
	put->client_first = passed->client_first;
	put->client_next = passed->client_next;
	put->service_first = passed->service_first;
	put->service_next = passed->service_next;
	memcpy(put->local_address, record->local_address, KEY_BYTES);
	return true;
}

/* Bytes of a response's body that src/wire/access-key-id.ts is to see: of nearly all none. */
static uint32_t body_of_interest(const struct imds_fold *fold, const struct connection *connection)
{
	static const char name[] = "\"AccessKeyId\"";
	const struct imds_plain_response *answered = &connection->answered;
	uint32_t length = answered->body_length < IMDS_EXCHANGE_BODY ? answered->body_length : IMDS_EXCHANGE_BODY;
	const uint8_t *body = fold->records + connection->response + answered->head_length;

	return answered->status == 200 && memmem(body, length, name, sizeof(name) - 1) ? length : 0;
}

static bool put_exchange(struct imds_fold *fold, const struct connection *connection)
{
	const uint8_t *asked = connection->saved ? connection->saved
						 : fold->records + connection->request + connection->asked.query;
	const struct imds_plain_response *answered = &connection->answered;
	uint32_t query = connection->asked.query_length, body = body_of_interest(fold, connection);
	struct imds_exchange *put;

	if (!put_head(fold, connection))
		return false;
	put = put_record(fold, (uint32_t)sizeof(*put) + query + body, IMDS_RECORD_EXCHANGE, connection->times[3]);
	if (!put)
		return false;
	put->request_time_ns = connection->times[2];
	put->status = answered->status;
	put->family = connection->family;
	put->minor = answered->minor;
	put->head = connection->number;
	put->query_length = (uint16_t)query;
	memcpy(put->local_address, connection->key, KEY_BYTES);
	put->body_length = body;
	memcpy(put->bytes, asked, query);
	memcpy(put->bytes + query, fold->records + connection->response + answered->head_length, body);
	note_passed(fold, connection);
	return true;
}
_Static_assert(offsetof(struct imds_exchange, body_length) - offsetof(struct imds_exchange, local_address) == KEY_BYTES &&
		       offsetof(struct imds_passed, service_first) - offsetof(struct imds_passed, local_address) == KEY_BYTES,
	       "addresses and ports as in a packet's record");

static bool put_time(struct imds_fold *fold, uint64_t time_ns)
{
	return put_record(fold, sizeof(struct imds_header), IMDS_RECORD_TIME, time_ns) != NULL;
}

/* Gives on the first `count` packets. */
static bool put_packets(struct imds_fold *fold, uint32_t count)
{
	/* The latest time of packets that are part of an exchange, since the last record that was given on. */
	uint64_t untold = 0, last_ns;

	for (uint32_t i = 0; i < count; i++) {
		const struct packet *packet = &fold->packets[i];
		const struct imds_packet *record = record_at(fold, packet->at);
		const struct connection *connection =
			packet->connection == NONE ? NULL : &fold->connections[packet->connection];
		bool folded = connection && connection->state == OVER;
		bool given = !folded || packet->is_response;
		uint64_t time_ns = record->header.time_ns;
		double now_ms = milliseconds(time_ns);
		bool sweeps = !fold->swept || distance(fold->swept_ms, now_ms) >= IMDS_SWEEP_MS;

		if (packet->steps_back) {
			fold->clock++;
			fold->swept_before_ms = fold->swept_ms;
		}
		if (sweeps) {
			fold->swept = true;
			fold->swept_ms = now_ms;
		}
		/* What a time leads to is led to by any later time, too, but for the sweeps; by an earlier one it is not. */
		if (given && untold > time_ns && !put_time(fold, untold))
			return false;
		if (given)
			untold = 0;
		else if (time_ns > untold)
			untold = time_ns;
		if (!folded ? !put_passed(fold, packet) || !put_packet(fold, packet) : given && !put_exchange(fold, connection))
			return false;
		if (!given && (sweeps || packet->steps_back) && !put_time(fold, time_ns))
			return false;
		fold->out_packets++;
		fold->out_cut += packet->cut;
	}
	if (untold == 0)
		return true;
	/* So that the next stretch, or the end, finds the time as it is. */
	last_ns = record_at(fold, fold->packets[count - 1].at)->header.time_ns;
	return put_time(fold, untold) && (untold == last_ns || put_time(fold, last_ns));
}

/* The head of a request that is about to go has to be told of while its bytes are there. */
static bool save(struct imds_fold *fold, struct connection *connection, uint32_t *used)
{
	uint32_t query = connection->asked.query_length;
	uint8_t *to = fold->saved[fold->saving] + *used;

	/* One that is told of by itself is not kept. */
	if (connection->number == LAST_HEAD || query > SAVED_BYTES - *used)
		return false;
	memcpy(to, fold->records + connection->request + connection->asked.query, query);
	connection->saved = to;
	*used += query;
	return true;
}

/* Where the part of the stretch ends that is given on: no connection that may still turn out to be plain begins before. */
static uint32_t find_cut(const struct imds_fold *fold)
{
	uint32_t cut = fold->used;

	for (uint32_t i = 0; i < fold->connection_count; i++) {
		const struct connection *connection = &fold->connections[i];

		if (connection->state < OVER && connection->first < cut && connection->first >= STRETCH_BYTES / 2)
			cut = connection->first;
	}
	return cut;
}

/* What begins before the cut and goes on behind it: it is known to be plain, or given on packet by packet. */
static void settle(struct imds_fold *fold, uint32_t cut)
{
	uint32_t saved = 0;

	fold->saving ^= 1;
	for (uint32_t i = 0; i < fold->connection_count; i++) {
		struct connection *connection = &fold->connections[i];
		bool across = connection->first < cut && connection->last >= cut;

		if (connection->state < OVER ? connection->first < cut
					     : connection->state == OVER && across && connection->request < cut &&
						       connection->response >= cut && !save(fold, connection, &saved)) {
			connection->state = NOT_PLAIN;
			note_seen(fold, connection->hash);
		}
	}
}

static void move(uint32_t *at, uint32_t cut)
{
	*at = *at < cut ? 0 : *at - cut;
}

/* Takes the first `count` packets away, up to `cut`, and the connections that have none behind it. */
static void drop(struct imds_fold *fold, uint32_t count, uint32_t cut)
{
	uint16_t kept = 0, *numbers = fold->numbers;

	if (fold->connection_count > 0)
		memset(fold->index, 0, sizeof(fold->index));
	for (uint16_t i = 0; i < fold->connection_count; i++) {
		struct connection *connection = &fold->connections[i];

		numbers[i] = NONE;
		if (connection->last < cut || connection->state == NOT_PLAIN)
			continue;
		move(&connection->first, cut);
		move(&connection->last, cut);
		move(&connection->request, cut);
		move(&connection->response, cut);
		numbers[i] = kept;
		fold->connections[kept] = *connection;
		for (uint32_t probe = 0; probe < PROBES; probe++) {
			uint16_t *place = &fold->index[(connection->hash + probe) & (INDEX - 1)];

			if (*place == 0 || fold->connections[*place - 1].hash == connection->hash) {
				*place = (uint16_t)(kept + 1);
				break;
			}
		}
		kept++;
	}
	fold->connection_count = kept;
	for (uint32_t i = count; i < fold->packet_count; i++) {
		struct packet packet = fold->packets[i];

		packet.at -= cut;
		if (packet.connection != NONE)
			packet.connection = numbers[packet.connection];
		fold->packets[i - count] = packet;
	}
	fold->packet_count -= count;
	fold->used -= cut;
	memmove(fold->records, fold->records + cut, fold->used);
}

static bool give_on(struct imds_fold *fold, uint32_t cut)
{
	uint32_t count = fold->packet_count;
	bool done;

	while (count > 0 && fold->packets[count - 1].at >= cut)
		count--;
	settle(fold, cut);
	done = put_packets(fold, count);
	drop(fold, count, cut);
	if (fold->free_heads == 0)
		free_heads(fold);
	return done;
}

bool imds_fold_flush(struct imds_fold *fold)
{
	return give_on(fold, fold->used) && put_out(fold);
}

static bool is_full(const struct imds_fold *fold, const struct imds_packet *record)
{
	return fold->used + record->header.length > STRETCH_BYTES || fold->packet_count == STRETCH_RECORDS;
}

bool imds_fold_add(struct imds_fold *fold, const struct imds_packet *record, const struct imds_tcp_packet *packet)
{
	uint64_t time_ns = record->header.time_ns;
	bool steps_back = time_ns < fold->latest && fold->latest - time_ns > BACK_NS;
	struct packet *added;

	/* What is known of a connection by the times of its packets holds while these go on. */
	if (steps_back && !give_on(fold, fold->used))
		return false;
	/* The part of which nothing more is to be known; all of it, should a record need more room than that. */
	if (is_full(fold, record) && !give_on(fold, find_cut(fold)))
		return false;
	if (is_full(fold, record) && !give_on(fold, fold->used))
		return false;
	added = &fold->packets[fold->packet_count++];
	memset(added, 0, sizeof(*added));
	added->at = fold->used;
	added->cut = record->data.length < record->wire_length;
	added->steps_back = steps_back;
	added->connection = NONE;
	memcpy(fold->records + fold->used, record, record->header.length);
	fold->used += record->header.length;
	if (!fold->on)
		return true;
	if (steps_back || time_ns > fold->latest)
		fold->latest = time_ns;
	added->hash = hash_of(fold, record);
	added->connection = follow(fold, record_at(fold, added->at), packet, added->hash);
	if (added->connection != NONE) {
		uint32_t response = fold->connections[added->connection].response;

		added->is_response = response > added->at && response < fold->used;
	}
	return true;
}
