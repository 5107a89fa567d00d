/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMDS_CLOCK_H
#define IMDS_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Of the clock that nobody sets, for deadlines. */
static inline int64_t imds_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static inline int64_t imds_now_ms(void)
{
	return imds_now_ns() / 1000000;
}

#endif
