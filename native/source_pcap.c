// SPDX-License-Identifier: Apache-2.0
/*
 * The libpcap source. A thread of its own takes packets out of the kernel's buffer at once, as that has room for few of
 * them: it is divided into slots for the longest packets, which immediate delivery takes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "address.h"
#include "clock.h"
#include "early_owner.h"
#include "packet_tap.h"
#include "record_queue.h"
#include "route.h"
#include "source.h"

/* What an IP packet can be long, with a link-layer header. */
#define SNAP_LENGTH (IMDS_PACKET_MAX + 256)
#define KERNEL_BUFFER_BYTES (16 * 1024 * 1024)
#define QUEUE_BYTES (8 * 1024 * 1024)
/* With more endpoints the kernel hands over all TCP packets: a filter has a bounded length. */
#define FILTER_ENDPOINTS 64
#define FILTER_BYTES (FILTER_ENDPOINTS * 192)
/* After the interface went away it is looked for this often. */
#define RETRY_MS 500
/* How much later than the first handle a second one may get the same packet. */
#define COPY_DELAY_NS UINT64_C(100000000)
/* Network namespaces that were entered are let go of within this time. */
#define SWEEP_MS 1000

/* What is to be watched next, and where. The thread takes it over between two looks into the kernel's buffer. */
struct next_watch {
	struct imds_endpoint *endpoints; /* NULL: there is nothing to take over */
	uint32_t count;
	pcap_t *handle; /* captures already; NULL while the interface is away */
	char interface[IF_NAMESIZE];
};

struct live_source {
	char interface[IF_NAMESIZE];
	bool automatic; /* the interface is the one of the routes */
	pcap_t *handle; /* NULL while the interface is away */
	pthread_mutex_t lock; /* of all that follows up to `tap`, and of handle and interface */
	pthread_cond_t taken;
	struct next_watch next;
	bool ended; /* the thread takes nothing over any more */
	uint64_t kernel_dropped; /* of handles that are closed */
	char problem[256];
	struct imds_tap tap;
	struct imds_early_owners *owners;
	struct imds_queue *queue;
	pthread_t thread;
	bool running;
	int quit_fd;
	int next_fd; /* says that there is something to take over */
	int link_type;
};

/* ---- the filter ------------------------------------------------------------------------------------------------- */

static size_t append(char *text, size_t size, size_t used, const char *format, ...) __attribute__((format(printf, 4, 5)));

static size_t append(char *text, size_t size, size_t used, const char *format, ...)
{
	va_list arguments;
	int count;

	va_start(arguments, format);
	count = vsnprintf(text + used, size - used, format, arguments);
	va_end(arguments);
	return count < 0 || (size_t)count >= size - used ? size - 1 : used + (size_t)count;
}

/*
 * TCP from or to the endpoints. For libpcap's `tcp port` an IPv6 packet with extension headers is none: such packets
 * pass with any port. What passes is looked at again.
 */
static void write_filter(char *text, size_t size, const struct imds_endpoint *endpoints, uint32_t count)
{
	char address[INET6_ADDRSTRLEN];
	size_t used = 0;

	text[0] = '\0';
	if (count > FILTER_ENDPOINTS) {
		append(text, size, 0, "tcp or ip6");
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		const struct imds_endpoint *endpoint = &endpoints[i];
		bool v4 = imds_is_v4(endpoint->address);

		inet_ntop(v4 ? AF_INET : AF_INET6, endpoint->address + (v4 ? 12 : 0), address, sizeof(address));
		if (v4)
			used = append(text, size, used, "%s(ip host %s and tcp port %u)", i ? " or " : "", address,
				      endpoint->port);
		else
			used = append(text, size, used,
				      "%s(ip6 host %s and (tcp port %u or (ip6[6] != 6 and ip6[6] != 17 and ip6[6] != 58)))",
				      i ? " or " : "", address, endpoint->port);
	}
}

/* 0 or -1, with libpcap's words in the handle. */
static int set_filter(pcap_t *handle, const struct imds_endpoint *endpoints, uint32_t count)
{
	char plain[FILTER_BYTES], tagged[3 * FILTER_BYTES + 64];
	struct bpf_program program;
	int result;

	write_filter(plain, sizeof(plain), endpoints, count);
	/* Each `vlan` moves what follows it behind one more tag. Only Ethernet frames have any. */
	snprintf(tagged, sizeof(tagged), "(%s) or (vlan and ((%s) or (vlan and (%s))))", plain, plain, plain);
	if (pcap_compile(handle, &program, pcap_datalink(handle) == DLT_EN10MB ? tagged : plain, 1,
			 PCAP_NETMASK_UNKNOWN))
		return -1;
	result = pcap_setfilter(handle, &program);
	pcap_freecode(&program);
	return result;
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static void list_interfaces(char *text, size_t size)
{
	struct if_nameindex *all = if_nameindex();
	size_t used = 0;

	text[0] = '\0';
	for (const struct if_nameindex *one = all; one && one->if_index; one++)
		used = append(text, size, used, "%s%s", used ? ", " : "", one->if_name);
	if (all)
		if_freenameindex(all);
}

static int fail_activate(struct imds_error *error, int status, pcap_t *handle, const char *interface)
{
	char names[512];

	switch (status) {
	case PCAP_ERROR_PERM_DENIED:
	case PCAP_ERROR_PROMISC_PERM_DENIED:
		return imds_fail(error, IMDS_ERROR_PERMISSION, "capturing on %s is not permitted: CAP_NET_RAW is missing",
				 interface);
	case PCAP_ERROR_NO_SUCH_DEVICE:
		list_interfaces(names, sizeof(names));
		return imds_fail(error, IMDS_ERROR_INTERFACE, "there is no network interface %s; there are: %s, any", interface,
				 names);
	case PCAP_ERROR_IFACE_NOT_UP:
		return imds_fail(error, IMDS_ERROR_INTERFACE, "the network interface %s is down", interface);
	default:
		return imds_fail(error, IMDS_ERROR_PCAP, "capturing on %s: %s", interface,
				 pcap_geterr(handle)[0] ? pcap_geterr(handle) : pcap_statustostr(status));
	}
}

/* Settings of a handle before it is activated. Fails only on handles that are active. */
static void configure(pcap_t *handle)
{
	pcap_set_snaplen(handle, SNAP_LENGTH);
	pcap_set_promisc(handle, 0);
	/* A client may be gone a millisecond after its SYN, and is looked for in /proc until then. */
	pcap_set_immediate_mode(handle, 1);
	pcap_set_buffer_size(handle, KERNEL_BUFFER_BYTES);
	pcap_set_tstamp_precision(handle, PCAP_TSTAMP_PRECISION_NANO);
}

static int open_handle(const char *interface, const struct imds_endpoint *endpoints, uint32_t count, pcap_t **opened,
		       struct imds_error *error)
{
	char text[PCAP_ERRBUF_SIZE] = "";
	pcap_t *handle = pcap_create(interface, text);
	int result;

	if (!handle)
		return imds_fail(error, IMDS_ERROR_PCAP, "capturing on %s: %s", interface, text);
	configure(handle);
	result = pcap_activate(handle);
	if (result < 0) {
		result = fail_activate(error, result, handle, interface);
		goto fail;
	}
	/* v1 where libpcap (before 1.10) has no v2, and on a single interface neither. */
	pcap_set_datalink(handle, DLT_LINUX_SLL2);
	if (!imds_link_name(pcap_datalink(handle))) {
		const char *name = pcap_datalink_val_to_name(pcap_datalink(handle));

		result = imds_fail(error, IMDS_ERROR_LINK_TYPE, "the packets of %s have the link type %s (%d), which can't be read",
				   interface, name ? name : "unknown", pcap_datalink(handle));
		goto fail;
	}
	if (set_filter(handle, endpoints, count) || pcap_setnonblock(handle, 1, text) < 0) {
		result = imds_fail(error, IMDS_ERROR_PCAP, "capturing on %s: %s", interface,
				   text[0] ? text : pcap_geterr(handle));
		goto fail;
	}
	*opened = handle;
	return 0;
fail:
	pcap_close(handle);
	return result;
}

/* The interface that leads to all the endpoints, or `any` where they are several or none does. */
static void choose_interface(const struct imds_endpoint *endpoints, uint32_t count, char *name)
{
	unsigned int chosen = 0;

	for (uint32_t i = 0; i < count; i++) {
		unsigned int index = imds_route_interface(endpoints[i].address);

		if (index == 0 || index == chosen)
			continue;
		if (chosen) {
			chosen = 0;
			break;
		}
		chosen = index;
	}
	if (!chosen || !if_indextoname(chosen, name))
		snprintf(name, IF_NAMESIZE, "any");
}

/* ---- the thread ------------------------------------------------------------------------------------------------- */

static void on_packet(u_char *argument, const struct pcap_pkthdr *header, const u_char *bytes)
{
	struct live_source *source = (struct live_source *)argument;
	struct imds_frame frame = {
		.link_type = source->link_type,
		.bytes = { bytes, header->caplen, header->len < header->caplen ? header->caplen : header->len },
		.time_ns = (uint64_t)header->ts.tv_sec * 1000000000 + (uint64_t)header->ts.tv_usec,
	};
	const struct imds_packet *record = imds_tap_frame(&source->tap, &frame);

	if (!record)
		return;
	/* Before the record is handed over, so that what was found is there when it is asked for. */
	imds_early_owners_packet(source->owners, record);
	if (imds_queue_put(source->queue, record, false) == 0)
		imds_tap_captured(&source->tap, record);
	else
		imds_tap_dropped(&source->tap);
}

/* Of the packets that passed the filter, how many the kernel had no slot for. */
static uint64_t dropped_by(pcap_t *handle)
{
	struct pcap_stat stat;

	return handle && pcap_stats(handle, &stat) == 0 ? stat.ps_drop : 0;
}

static void close_handle(struct live_source *source, const char *why)
{
	source->kernel_dropped += dropped_by(source->handle);
	snprintf(source->problem, sizeof(source->problem), "capturing on %s has stopped, and is tried again: %s",
		 source->interface, why);
	pcap_close(source->handle);
	source->handle = NULL;
}

static void reopen(struct live_source *source)
{
	struct imds_error error;
	pcap_t *handle;

	/* Without the lock: it may take long, and the handle is not there for anybody yet. */
	if (open_handle(source->interface, source->tap.endpoints, source->tap.count, &handle, &error))
		return;
	pthread_mutex_lock(&source->lock);
	source->handle = handle;
	source->link_type = pcap_datalink(handle);
	source->problem[0] = '\0';
	pthread_mutex_unlock(&source->lock);
}

/* What is in the kernel's buffer. */
static void read_buffer(struct live_source *source)
{
	pthread_mutex_lock(&source->lock);
	if (pcap_dispatch(source->handle, -1, on_packet, (u_char *)source) < 0)
		close_handle(source, pcap_geterr(source->handle));
	pthread_mutex_unlock(&source->lock);
}

static uint64_t realtime_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/*
 * From one handle to the next: both have captured until now, so what the first still has is read, and what the second has of
 * the same is told apart by the tap. pcap_setfilter() on the first would drop what comes while it works.
 */
static void take_over(struct live_source *source)
{
	struct next_watch *next = &source->next;

	pthread_mutex_lock(&source->lock);
	if (next->endpoints) {
		if (next->handle) {
			while (source->handle && pcap_dispatch(source->handle, -1, on_packet, (u_char *)source) > 0)
				;
			source->kernel_dropped += dropped_by(source->handle);
			if (source->handle)
				pcap_close(source->handle);
			source->handle = next->handle;
			source->link_type = pcap_datalink(source->handle);
			source->problem[0] = '\0';
			snprintf(source->interface, sizeof(source->interface), "%s", next->interface);
		}
		imds_tap_watch(&source->tap, next->endpoints, next->count);
		/* On a busy host the second handle may get its copy a while after the first. */
		source->tap.copies_until_ns = realtime_ns() + COPY_DELAY_NS;
		/* The interface came back while the next was prepared without it. */
		if (!next->handle && source->handle && set_filter(source->handle, source->tap.endpoints, source->tap.count))
			close_handle(source, pcap_geterr(source->handle));
		memset(next, 0, sizeof(*next));
		pthread_cond_broadcast(&source->taken);
	}
	pthread_mutex_unlock(&source->lock);
}

static void *read_packets(void *argument)
{
	struct live_source *source = argument;
	struct pollfd fds[] = { { .fd = source->quit_fd, .events = POLLIN },
				{ .events = POLLIN },
				{ .fd = source->next_fd, .events = POLLIN } };
	uint64_t wakes;
	int64_t swept_ms = imds_now_ms();

	for (;;) {
		if (imds_now_ms() - swept_ms >= SWEEP_MS) {
			swept_ms = imds_now_ms();
			imds_early_owners_sweep(source->owners);
		}
		fds[1].fd = source->handle ? pcap_get_selectable_fd(source->handle) : -1;
		if (poll(fds, 3, source->handle ? SWEEP_MS : RETRY_MS) < 0 && errno != EINTR)
			break;
		if (source->handle)
			read_buffer(source);
		if (fds[0].revents)
			break;
		if (fds[2].revents && read(source->next_fd, &wakes, sizeof(wakes)) > 0)
			take_over(source);
		if (!source->handle)
			reopen(source);
	}
	pthread_mutex_lock(&source->lock);
	source->ended = true;
	pthread_cond_broadcast(&source->taken);
	pthread_mutex_unlock(&source->lock);
	imds_queue_end(source->queue);
	return NULL;
}

/* ---- as a source ------------------------------------------------------------------------------------------------ */

static int source_next(void *state, struct imds_batch *batch, int wake_fd, int timeout_ms)
{
	struct live_source *source = state;

	return imds_queue_take(source->queue, batch, wake_fd, timeout_ms);
}

static void source_stats(void *state, struct imds_stats *stats)
{
	struct live_source *source = state;
	uint64_t dropped;

	pthread_mutex_lock(&source->lock);
	dropped = source->kernel_dropped + dropped_by(source->handle);
	pthread_mutex_unlock(&source->lock);
	imds_tap_stats(&source->tap, dropped, stats);
}

static void source_progress(void *state, struct imds_progress *progress)
{
	struct live_source *source = state;

	pthread_mutex_lock(&source->lock);
	snprintf(progress->problem, sizeof(progress->problem), "%s", source->problem);
	pthread_mutex_unlock(&source->lock);
}

/* Leaves to the thread what is to be watched next, and waits until it has taken that over. False where it never will. */
static bool hand_over(struct live_source *source, const struct next_watch *next)
{
	static const uint64_t one = 1;
	bool taken;

	pthread_mutex_lock(&source->lock);
	source->next = *next;
	if (write(source->next_fd, &one, sizeof(one)) < 0) {
		/* Only when it is signalled already. */
	}
	while (source->next.endpoints && !source->ended)
		pthread_cond_wait(&source->taken, &source->lock);
	taken = !source->next.endpoints;
	memset(&source->next, 0, sizeof(source->next));
	pthread_mutex_unlock(&source->lock);
	return taken;
}

static int source_set_endpoints(void *state, const struct imds_endpoint *endpoints, uint32_t count,
				struct imds_error *error)
{
	struct live_source *source = state;
	struct next_watch next = { .count = count };
	int result = 0;
	bool away;

	next.endpoints = imds_tap_endpoints(endpoints, count, error);
	if (!next.endpoints)
		return -error->code;
	pthread_mutex_lock(&source->lock);
	away = !source->handle;
	snprintf(next.interface, sizeof(next.interface), "%s", source->interface);
	/* From here on two handles capture the same. */
	source->tap.copies_until_ns = UINT64_MAX;
	pthread_mutex_unlock(&source->lock);
	if (source->automatic)
		choose_interface(endpoints, count, next.interface);
	if (!away)
		result = open_handle(next.interface, endpoints, count, &next.handle, error);
	if (!result && !hand_over(source, &next))
		result = imds_fail(error, IMDS_ERROR_PCAP, "capturing on %s has ended", source->interface);
	if (result) {
		if (next.handle)
			pcap_close(next.handle);
		free(next.endpoints);
		pthread_mutex_lock(&source->lock);
		source->tap.copies_until_ns = 0;
		pthread_mutex_unlock(&source->lock);
	}
	return result;
}

static void source_stop(void *state)
{
	static const uint64_t one = 1;
	struct live_source *source = state;

	if (!source->running)
		return;
	if (write(source->quit_fd, &one, sizeof(one)) < 0) {
		/* Only when it is signalled already. */
	}
	pthread_join(source->thread, NULL);
	source->running = false;
}

static void source_free(void *state)
{
	struct live_source *source = state;

	if (source->handle)
		pcap_close(source->handle);
	imds_early_owners_free(source->owners);
	imds_queue_free(source->queue);
	imds_tap_free(&source->tap);
	if (source->quit_fd >= 0)
		close(source->quit_fd);
	if (source->next_fd >= 0)
		close(source->next_fd);
	pthread_cond_destroy(&source->taken);
	pthread_mutex_destroy(&source->lock);
	free(source);
}

static const struct imds_source_kind live_kind = {
	.next = source_next,
	.stats = source_stats,
	.progress = source_progress,
	.set_endpoints = source_set_endpoints,
	.stop = source_stop,
	.free = source_free,
};

static int start(struct live_source *source, const struct imds_endpoint *endpoints, uint32_t count,
		 const char *interface, struct imds_error *error)
{
	int result;

	if ((result = imds_tap_init(&source->tap, endpoints, count, error)))
		return result;
	if (interface && strlen(interface) >= sizeof(source->interface))
		return imds_fail(error, IMDS_ERROR_INTERFACE, "\"%.32s…\" is longer than the name of a network interface",
				 interface);
	if (interface)
		snprintf(source->interface, sizeof(source->interface), "%s", interface);
	else
		choose_interface(source->tap.endpoints, source->tap.count, source->interface);
	source->automatic = !interface;
	if (source->quit_fd < 0 || source->next_fd < 0 || !source->queue || !source->owners)
		return imds_fail(error, IMDS_ERROR_SYSTEM, "no memory or no file descriptor left");
	if ((result = open_handle(source->interface, source->tap.endpoints, source->tap.count, &source->handle, error)))
		return result;
	source->link_type = pcap_datalink(source->handle);
	if ((result = pthread_create(&source->thread, NULL, read_packets, source)))
		return imds_fail(error, IMDS_ERROR_SYSTEM, "starting a thread: %s", strerror(result));
	source->running = true;
	return 0;
}

struct imds_source *imds_open_pcap_live(const struct imds_endpoint *endpoints, uint32_t count, const char *interface,
					struct imds_error *error)
{
	struct live_source *source = calloc(1, sizeof(*source));
	struct imds_source *opened = NULL;
	char description[256];

	memset(error, 0, sizeof(*error));
	if (!source) {
		imds_fail(error, IMDS_ERROR_SYSTEM, "out of memory");
		return NULL;
	}
	pthread_mutex_init(&source->lock, NULL);
	pthread_cond_init(&source->taken, NULL);
	source->quit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	source->next_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	source->queue = imds_queue_new(QUEUE_BYTES);
	source->owners = imds_early_owners_new();
	if (start(source, endpoints, count, interface, error) == 0) {
		snprintf(description, sizeof(description), "%s on %s (%s%s)", pcap_lib_version(), source->interface,
			 imds_link_name(source->link_type), interface ? "" : "; chosen by the routes to the endpoints");
		opened = imds_source_new(&live_kind, source, description);
		if (!opened)
			imds_fail(error, IMDS_ERROR_SYSTEM, "no memory or no file descriptor left");
	}
	if (!opened) {
		source_stop(source);
		source_free(source);
	}
	return opened;
}
