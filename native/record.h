/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The records that travel from the kernel program to TypeScript, and the few tables that the program and its loader
 * share. One layout for all: src/capture/records.ts reads it by constants that a test compares with imds_layout().
 *
 * Integers are in host byte order, addresses in network byte order (IPv4 as ::ffff:a.b.c.d). A record's length is a
 * multiple of 8, so that records follow one another in a batch without padding between them.
 */
#ifndef IMDS_RECORD_H
#define IMDS_RECORD_H

#include <linux/types.h>

#define IMDS_ANCESTORS 8
/* Longest argv kept of a process that connects (one page, as /proc/PID/cmdline once was), and of its ancestors. */
#define IMDS_ARGV_MAX 4096
#define IMDS_EXEC_ARGV_MAX 512
/* Rooms of the paths, powers of two: the program writes them from the end, at offsets masked for the verifier. */
#define IMDS_EXECUTABLE_ROOM 1024
#define IMDS_CGROUP_ROOM 512
/* Most bytes kept of a packet: what an IPv4 header can announce, which generic segmentation offload reaches. */
#define IMDS_PACKET_MAX 65536

enum imds_record_type {
	IMDS_RECORD_CONNECT = 1,
	IMDS_RECORD_PROCESS = 2,
	IMDS_RECORD_PACKET = 3,
	/* Of packet files only, see plain_exchange.h: */
	IMDS_RECORD_HEAD = 4,
	IMDS_RECORD_EXCHANGE = 5,
	IMDS_RECORD_PASSED = 6,
	IMDS_RECORD_TIME = 7, /* a header: the time of a packet that came until here and is part of an exchange */
};

enum imds_record_flags {
	IMDS_FLAG_ARGV_TRUNCATED = 1,
	IMDS_FLAG_EGRESS = 2, /* a packet of the client; otherwise one of the service */
	IMDS_FLAG_SELF_TEST = 4, /* the tracer's own test connection: never leaves imds_next() */
};

struct imds_header {
	__u32 length; /* of the whole record, header included */
	__u16 type;
	__u16 flags;
	__u64 time_ns; /* in the ring since boot; from imds_next() on since the epoch */
};

struct imds_process {
	__u64 start_boot_ns; /* 0 where the kernel has no BTF */
	__u32 pid; /* thread group, initial pid namespace */
	__u32 reserved;
	char comm[16];
};

/* Bytes inside the record, from its start. */
struct imds_span {
	__u16 offset;
	__u16 length;
};

/*
 * A path longer than its room, or deeper than the program walks, keeps its end: it then has no slash in front.
 * Written in place into the ring, so that only argv, which comes last, decides how long the record is. From imds_next()
 * on it is squeezed: only the ancestors that it counts, and behind them, wherever its spans say, what is in the rooms.
 */
struct imds_connect {
	struct imds_header header;
	__u64 cookie;
	__u64 cgroup_id;
	__u8 remote_address[16];
	__u16 remote_port;
	__u8 family; /* 4 or 6: of the connect call, so 6 for an IPv4-mapped address */
	__u8 ancestor_count;
	__u32 netns;
	__u32 uid;
	__u32 gid;
	struct imds_span executable;
	struct imds_span cgroup;
	struct imds_span cgroup_v1;
	struct imds_span argv;
	struct imds_process process;
	struct imds_process ancestors[IMDS_ANCESTORS]; /* parent first */
	char executable_room[IMDS_EXECUTABLE_ROOM];
	char cgroup_room[IMDS_CGROUP_ROOM];
	char cgroup_v1_room[IMDS_CGROUP_ROOM];
	char argv_room[];
};

/*
 * argv of an ancestor, as of its exec; comes before the first connect record that names the ancestor. Twice or more where
 * children connect at the same instant: 5.10 has no atomic exchange to tell who is first.
 */
struct imds_process_record {
	struct imds_header header;
	struct imds_process process;
	struct imds_span argv;
	__u32 reserved;
	char argv_room[];
};

struct imds_packet {
	struct imds_header header;
	__u64 cookie; /* 0: the source knows no sockets */
	__u64 cgroup_id;
	__u8 local_address[16];
	__u8 remote_address[16];
	__u16 local_port;
	__u16 remote_port;
	__u32 wire_length; /* of the IP packet */
	struct imds_span_wide {
		__u32 offset;
		__u32 length;
	} data; /* the IP packet, cut where shorter than wire_length */
	__u8 bytes[];
};

/* A request but for its query, which many exchanges have in common. */
struct imds_head {
	struct imds_header header;
	__u32 number; /* of the head, until another comes with the same number */
	__u32 query; /* where in the bytes the query was */
	struct imds_span_wide data;
	__u8 bytes[];
};

/* Heads with a number at one time: from 0 to this. */
#define IMDS_HEADS 64

/* A whole connection, from its SYN to its last FIN or a RST, in the place of its response. */
struct imds_exchange {
	struct imds_header header; /* time_ns: of the response */
	__u64 request_time_ns;
	__u16 status;
	__u8 family; /* 4 or 6 */
	__u8 minor; /* HTTP/1.minor of the response */
	__u16 head; /* number of the request's */
	__u16 query_length; /* with its question mark; 0 if there is none */
	__u8 local_address[16];
	__u8 remote_address[16];
	__u16 local_port;
	__u16 remote_port;
	__u32 body_length; /* of the body's first bytes, where they say what is of interest */
	__u8 bytes[]; /* query, body */
};

/*
 * A connection that was told of as an exchange, before a packet that may be its: by the sequence numbers of its first bytes and
 * behind its last, that can be told.
 */
struct imds_passed {
	struct imds_header header; /* time_ns: of that packet */
	__u64 last_use_ns; /* time of one of its own: the first, or the last that came IMDS_REORDER_MS after such a one */
	__u32 client_first, client_next;
	__u8 local_address[16];
	__u8 remote_address[16];
	__u16 local_port;
	__u16 remote_port;
	__u32 service_first, service_next;
	__u32 reserved;
};

/* As far as a document is looked into: ACCESS_KEY_SCAN_BYTES of src/wire/limits.ts. */
#define IMDS_EXCHANGE_BODY 4096

/*
 * When src/wire/flow-table.ts looks for what is overdue, when it notes that a connection was used, and for how long it knows one
 * that is over: constants of it, which a test compares. Packets at which it would do the first are told of by IMDS_RECORD_TIME.
 */
#define IMDS_SWEEP_MS 250
#define IMDS_REORDER_MS 100
#define IMDS_LINGER_MS 10000

/*
 * What takes longer is no exchange (plain_exchange.h): it may have met RESPONSE_DEADLINE_MS of src/pipeline.ts, or HOLE_TIMEOUT_MS of
 * src/wire/limits.ts. Of those that were given on as exchanges so many are remembered, no fewer than flow-table.ts would know
 * (MAX_LINGERING_FLOWS of src/wire/limits.ts), and of the connections that were not, the last so many, no fewer than it can hold (MAX_FLOWS).
 * A test compares these as well.
 */
#define IMDS_EXCHANGE_MS 900
#define IMDS_PASSED 8192
#define IMDS_TABLE_FLOWS 20480

#define IMDS_RECORD_MAX (sizeof(struct imds_packet) + IMDS_PACKET_MAX)

/* Below: shared by the kernel program and its loader only. */

/* Key of the endpoint map. */
struct imds_endpoint_key {
	__u32 address[4]; /* network byte order; words, so that it is aligned on the program's stack */
	__u16 port; /* host byte order */
	__u16 reserved;
};

#define IMDS_MAX_ENDPOINTS 1024

/* Value of the endpoint map: the slot of `counters` that its traffic goes to. */
enum imds_slot { IMDS_SLOT_PUBLIC = 0, IMDS_SLOT_SELF_TEST = 1, IMDS_SLOTS };

struct imds_counters {
	__u64 packets_seen;
	__u64 packets_captured;
	__u64 ring_dropped;
	__u64 packets_passed_over;
	__u64 truncated;
	__u64 connects_seen;
	__u64 connects_dropped;
};

/*
 * What tells nearly every packet of the host apart from an endpoint's with one compare per address: constants of the
 * loaded program, so that the verifier removes the compares that are not used. Every load counts on that path, hence one
 * word for how many there are.
 */
#define IMDS_FILTER_ADDRESSES 8
#define IMDS_FILTER_V4_COUNT(shape) ((shape) & 0xff)
#define IMDS_FILTER_V6_COUNT(shape) ((shape) >> 8 & 0xff)
#define IMDS_FILTER_OFF 0x10000 /* more addresses than fit: ask the map for each packet */
#define IMDS_FILTER_SHAPE(v4_count, v6_count, off) ((v4_count) | (v6_count) << 8 | ((off) ? IMDS_FILTER_OFF : 0))
struct imds_filter {
	__u32 shape;
	__u32 v4[IMDS_FILTER_ADDRESSES]; /* network byte order */
	__u32 v6_tail[IMDS_FILTER_ADDRESSES]; /* last 32 bits */
	__u32 self_test_port; /* on 127.0.0.1, as __sk_buff.remote_port has it */
};

/* argv of a process since its last exec, for the time when it is somebody's ancestor. */
#define IMDS_MAX_EXECS 4096
struct imds_exec {
	__u64 start_boot_ns;
	__u16 length; /* written last: 0 while the entry is being filled */
	__u8 truncated;
	__u8 sent;
	__u32 reserved;
	char argv[IMDS_EXEC_ARGV_MAX];
};

#endif
