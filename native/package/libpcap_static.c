// SPDX-License-Identifier: Apache-2.0
/*
 * Lets Debian's libpcap.a be part of a shared library that needs nothing but glibc. A package can't depend on the shared
 * libpcap: its name is libpcap.so.0.8 on Debian and libpcap.so.1 elsewhere.
 */
#include <stdio.h>

/* libpcap reads these as if they lay in its own image (its archive is compiled with -fPIE), as in static_link.c. */
extern FILE *__real_stdin;
extern FILE *__real_stdout;
__attribute__((visibility("hidden"))) FILE *__wrap_stdin;
__attribute__((visibility("hidden"))) FILE *__wrap_stdout;

__attribute__((constructor)) static void copy_streams(void)
{
	__wrap_stdin = __real_stdin;
	__wrap_stdout = __real_stdout;
}

/*
 * The two entries of libpcap's table of device kinds that stand for D-Bus "devices". Defined here, they keep the linker
 * from taking pcap-dbus.o, and so libdbus and libsystemd. They answer as libpcap does on a machine without D-Bus: no such
 * devices, and "the name is none of mine" (pcap-dbus.c, 1.10.3).
 */
int dbus_findalldevs(void *list, char *error);
void *dbus_create(const char *device, char *error, int *is_ours);

int dbus_findalldevs(void *list, char *error)
{
	(void)list;
	(void)error;
	return 0;
}

void *dbus_create(const char *device, char *error, int *is_ours)
{
	(void)device;
	(void)error;
	*is_ours = 0;
	return NULL;
}
