/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C ABI that TypeScript calls through FFI: flat, without callbacks, one call for many records. Any thread may call
 * any function; a source that is closed stays safe to name (its calls answer -EBADF or do nothing).
 */
#ifndef IMDS_CAPTURE_H
#define IMDS_CAPTURE_H

#include <stddef.h>
#include <stdint.h>

#include "record.h"

#define IMDS_API __attribute__((visibility("default")))

/* Changes with anything below or in record.h that an older src/capture/ would misread. */
#define IMDS_ABI_VERSION 4

enum imds_error_code {
	IMDS_ERROR_ARGUMENT = 1,
	IMDS_ERROR_PERMISSION = 2, /* a capability is missing */
	IMDS_ERROR_NO_BPF = 3, /* no bpf(2), no ring buffer or no such program type in this kernel */
	IMDS_ERROR_NO_CGROUP2 = 4,
	IMDS_ERROR_VERIFIER = 5, /* text ends with the end of the verifier's log */
	IMDS_ERROR_ATTACH = 6,
	IMDS_ERROR_SELF_TEST = 7, /* text names the hook */
	IMDS_ERROR_MEMLOCK = 8,
	IMDS_ERROR_SYSTEM = 9, /* out of memory, of file descriptors, … */
	IMDS_ERROR_INTERFACE = 10, /* no such network interface, or one that can't be captured on */
	IMDS_ERROR_PCAP = 11, /* libpcap, in its words */
	IMDS_ERROR_FILE = 12, /* it can't be opened */
	IMDS_ERROR_FORMAT = 13, /* it is no packet file */
	IMDS_ERROR_LINK_TYPE = 14, /* the packets' link type is none that is known */
};

struct imds_error {
	int32_t code; /* enum imds_error_code */
	char text[1024]; /* UTF-8, always ended by a NUL */
};

struct imds_endpoint {
	uint8_t address[16]; /* network byte order; IPv4 as ::ffff:a.b.c.d */
	uint16_t port; /* host byte order */
	uint16_t reserved;
};

struct imds_stats {
	uint64_t packets_seen; /* = packets_captured + ring_dropped + packets_passed_over */
	uint64_t packets_captured;
	uint64_t ring_dropped;
	uint64_t packets_passed_over;
	uint64_t truncated;
	uint64_t connects_seen;
	uint64_t connects_dropped;
};

/* How far a packet file was read, and what is wrong with a source. */
struct imds_progress {
	uint64_t bytes_read; /* of the file as it lies there */
	uint64_t bytes_total; /* 0: unknown */
	uint64_t packets; /* in what was read of the file, whosever they are */
	uint64_t unreadable; /* of them with a link type that is not known; set at the end */
	uint64_t first_time_ns; /* of the packets; 0 where there is none */
	uint64_t last_time_ns;
	/* File: at its end, why not all of it could be read. Interface: why nothing is captured at present. Else empty. */
	char problem[256];
};

struct imds_source;

IMDS_API uint32_t imds_abi_version(void);

/* "name offset size" a line, of every field of record.h that travels, then "name value" of its constants. Static. */
IMDS_API const char *imds_layout(void);

/*
 * Loads, attaches and tests the eBPF source. ring_bytes: a power of two, at least a page. NULL on failure, with nothing
 * left attached and `error` filled.
 */
IMDS_API struct imds_source *imds_open_ebpf(const struct imds_endpoint *endpoints, uint32_t count, uint32_t ring_bytes,
					    struct imds_error *error);

/*
 * Captures on a network interface, or on all of them (`any`), through libpcap. interface: NULL for the one that leads to
 * the endpoints. NULL on failure, with `error` filled.
 */
IMDS_API struct imds_source *imds_open_pcap_live(const struct imds_endpoint *endpoints, uint32_t count,
						 const char *interface, struct imds_error *error);

/*
 * Reads a packet file: pcap or pcapng, also compressed with gzip or zstd. path: NULL for what the descriptor fd gives,
 * which stays the caller's. exchanges: not 0 to be told of plain connections as a whole (plain_exchange.h). Waits for the
 * file's header. NULL on failure, with `error` filled.
 */
IMDS_API struct imds_source *imds_open_pcap_file(const char *path, int32_t fd, const struct imds_endpoint *endpoints,
						 uint32_t count, int32_t exchanges, struct imds_error *error);

/*
 * Watches these endpoints from now on, in place of those before. Capture goes on meanwhile: of an endpoint that is in both
 * no packet is missed and none comes twice. 0, or the negative code of `error` with all as before. Live sources only.
 */
IMDS_API int32_t imds_set_endpoints(struct imds_source *source, const struct imds_endpoint *endpoints, uint32_t count,
				    struct imds_error *error);

/* One line: which source, how attached, what is missing. Lives as long as the process. */
IMDS_API const char *imds_description(const struct imds_source *source);

/*
 * Waits up to timeout_ms for records and copies as many as fit into the buffer, whole. Returns their bytes, 0 after the
 * time-out or a wake, or -errno: -EINVAL (capacity below IMDS_RECORD_MAX), -EBUSY (another thread is in it), -EBADF
 * (closed), -ENODATA (the end of a file, or all was read since imds_stop()), -EBADMSG (a record that contradicts itself).
 */
IMDS_API int64_t imds_next(struct imds_source *source, uint8_t *buffer, uint32_t capacity, int32_t timeout_ms);

/* Makes a pending imds_next() return, or else the next one. */
IMDS_API void imds_wake(struct imds_source *source);

/* The counters now; those at the end once closed. */
IMDS_API void imds_stats(struct imds_source *source, struct imds_stats *stats);

/* All zeros for a source that has none, and once closed. */
IMDS_API void imds_progress(struct imds_source *source, struct imds_progress *progress);

/*
 * Stops capturing; what was captured until then is there to be read. A pending imds_next() goes on to its time-out, or to
 * imds_wake(). Again: nothing.
 */
IMDS_API void imds_stop(struct imds_source *source);

/* Stops and frees; waits for a pending imds_next(), which it wakes. Again: nothing. */
IMDS_API void imds_close(struct imds_source *source);

/*
 * Tries on this host what the eBPF source needs, each by itself, and writes a JSON object a line. Returns the bytes
 * written (without the ending NUL), cut at a line's end where `capacity` is too small.
 */
IMDS_API uint32_t imds_probe(char *buffer, uint32_t capacity);

/* A network namespace of this host, as one can ask it from outside: the sockets are inside of it, the process is not. */
struct imds_netns {
	uint32_t inode; /* as in /proc/PID/ns/net */
	int32_t diag_fd;
	int32_t route_fd;
};

/* A TCP connection, as its socket has it. */
struct imds_socket_query {
	uint64_t cookie; /* 0: of whatever cookie */
	uint8_t local_address[16]; /* network byte order; IPv4 as ::ffff:a.b.c.d */
	uint8_t remote_address[16];
	uint16_t local_port; /* host byte order */
	uint16_t remote_port;
	uint32_t reserved;
};

struct imds_socket {
	uint64_t cookie;
	uint32_t inode; /* 0: closed by its process, and still known to TCP */
	uint32_t reserved;
};

enum imds_socket_answer {
	IMDS_SOCKET_NONE = 0, /* the namespace has neither the socket nor the local address */
	IMDS_SOCKET_GONE = 1, /* it has the local address, not the socket */
	IMDS_SOCKET_FOUND = 2,
};

/*
 * Enters the network namespace at `path` (/proc/PID/ns/net) on a thread of its own. The namespace lives on until
 * imds_netns_close(), even if all its processes end. 0, or -errno with nothing left open: -EPERM without CAP_SYS_ADMIN,
 * -ENOENT where the kernel has no tcp_diag or there is no such process.
 */
IMDS_API int32_t imds_netns_open(const char *path, struct imds_netns *netns);

/*
 * Asks a namespace for a connection's socket, of IPv4, IPv6 or IPv6 with mapped addresses, in whatever state but
 * listening. Takes microseconds. enum imds_socket_answer, or -errno: then close the namespace. One thread at a time.
 */
IMDS_API int32_t imds_netns_find_socket(const struct imds_netns *netns, const struct imds_socket_query *query,
					struct imds_socket *found);

IMDS_API void imds_netns_close(struct imds_netns *netns);

/* A process that held a connection's socket when its SYN was captured, as /proc showed it then: files as they were, cut at their room. */
struct imds_owner {
	uint32_t pid;
	uint32_t netns; /* of the socket */
	uint32_t inode; /* of the socket */
	int32_t stat_length;
	int32_t status_length;
	int32_t cgroup_length;
	int32_t argv_length;
	int32_t executable_length;
	char stat[1024];
	char status[4096];
	char cgroup[4096];
	char argv[8200]; /* /proc/PID/cmdline */
	char executable[4096]; /* where /proc/PID/exe points to; empty where that may not be seen */
};

/*
 * What the libpcap source has found of a connection at its SYN, once: 1 and `owner` filled, 0 for nothing. The query's
 * cookie has no part in it. Any thread.
 */
IMDS_API int32_t imds_owner_take(const struct imds_socket_query *query, struct imds_owner *owner);

/*
 * Reads the beginning of a file of /proc whose process may keep it from ever answering (cmdline: patient_read.h says how). Its
 * length, or -errno: -ETIMEDOUT after wait_ms, -EAGAIN at once where that was so before, or for too many others. Any thread.
 */
IMDS_API int32_t imds_read_proc(const char *path, void *to, uint32_t capacity, int32_t wait_ms);

/*
 * Sends a state to the service manager (sd_notify(3)). address: NOTIFY_SOCKET, a path or `@` and an abstract name. Never
 * waits. 0, or -errno: -EAGAIN where the manager has too much unread, -EINVAL for an address of neither kind.
 */
IMDS_API int32_t imds_notify(const char *address, const char *text);

#endif
