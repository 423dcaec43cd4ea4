/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/clock.h"

static int64_t read_ns(clockid_t clock) {
        struct timespec t;

        clock_gettime(clock, &t);
        return t.tv_sec * NS_PER_SECOND + t.tv_nsec;
}

static struct timespec timespec_of(int64_t ns) {
        return (struct timespec) { .tv_sec = (time_t) (ns / NS_PER_SECOND), .tv_nsec = (long) (ns % NS_PER_SECOND) };
}

int64_t clock_ns(void) {
        return read_ns(CLOCK_BOOTTIME);
}

int64_t clock_deadline_ns(int64_t ms) {
        return clock_ns() + ms * NS_PER_MS;
}

bool clock_has_passed(int64_t deadline_ns) {
        return clock_ns() >= deadline_ns;
}

double clock_ms_since(int64_t began_ns) {
        return (double) (clock_ns() - began_ns) / (double) NS_PER_MS;
}

double clock_seconds_since(int64_t began_ns) {
        return (double) (clock_ns() - began_ns) / (double) NS_PER_SECOND;
}

int64_t wall_clock_seconds(void) {
        return read_ns(CLOCK_REALTIME) / NS_PER_SECOND;
}

int64_t wall_clock_ms(void) {
        return read_ns(CLOCK_REALTIME) / NS_PER_MS;
}

void clock_sleep_ms(unsigned ms) {
        struct timespec left = timespec_of(ms * NS_PER_MS);

        while (nanosleep(&left, &left) < 0 && errno == EINTR)
                ;
}

void clock_condition_init(pthread_cond_t *condition) {
        pthread_condattr_t attributes;

        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(condition, &attributes);
        pthread_condattr_destroy(&attributes);
}

struct timespec clock_condition_deadline(unsigned ms) {
        return timespec_of(read_ns(CLOCK_MONOTONIC) + ms * NS_PER_MS);
}

void date_text(int64_t wall_seconds, char ret[static DATE_TEXT_SIZE]) {
        time_t t = (time_t) wall_seconds;
        struct tm tm;

        if (!gmtime_r(&t, &tm) || strftime(ret, DATE_TEXT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm) != DATE_TEXT_SIZE - 1)
                ret[0] = '\0';
}
