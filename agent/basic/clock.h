/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* All reading of clocks. Two clocks are read:
 *
 *   clock_*       CLOCK_BOOTTIME, in nanoseconds since the machine started. For deadlines and durations: no change of
 *                 the time of day and no suspend moves it.
 *   wall_clock_*  the time of day, since 1970. For dates that other machines read or write. */

#include <pthread.h>
#include <time.h>

#include "basic/macros.h"

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_SECOND INT64_C(1000000000)

int64_t clock_ns(void);
/* The value that clock_ns() will have in `ms` milliseconds. */
int64_t clock_deadline_ns(int64_t ms);
bool clock_has_passed(int64_t deadline_ns);
/* How long ago clock_ns() returned `began_ns`. */
double clock_ms_since(int64_t began_ns);
double clock_seconds_since(int64_t began_ns);

int64_t wall_clock_seconds(void);
int64_t wall_clock_ms(void);

/* Sleeps for the whole time: signals do not shorten it. */
void clock_sleep_ms(unsigned ms);

/* A condition variable, and the time until which pthread_cond_timedwait() waits on it. POSIX has no condition variables
 * on CLOCK_BOOTTIME: these two use CLOCK_MONOTONIC. */
void clock_condition_init(pthread_cond_t *condition);
struct timespec clock_condition_deadline(unsigned ms);

/* "2026-11-21T14:00:00Z"; "" for a year that has no four digits. */
enum { DATE_TEXT_SIZE = sizeof "YYYY-MM-DDThh:mm:ssZ" };
void date_text(int64_t wall_seconds, char ret[static DATE_TEXT_SIZE]);
