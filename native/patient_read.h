/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading files of /proc that may never answer. /proc/PID/cmdline takes the lock of the process's memory map, and whoever runs
 * the process can have it held for ever: one thread reads /proc/self/mem where a file is mapped that never answers (FUSE), a
 * second wants to change the map, and all who only want to read wait behind it. No read of procfs can be made to give up.
 */
#ifndef IMDS_PATIENT_READ_H
#define IMDS_PATIENT_READ_H

#include <stdint.h>

/*
 * Reads the beginning of what fd, which is taken, has to give, on a thread that can be left behind. Its length; -ETIMEDOUT after
 * wait_ms; -EAGAIN while somebody waits for this file in vain, or as many threads as there may be for others; another -errno of
 * the read. Any thread.
 */
int32_t imds_patient_read(int fd, void *to, uint32_t capacity, int32_t wait_ms);

#endif
