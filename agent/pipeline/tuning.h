/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "basic/macros.h"

/* How many connections to S3 to use. S3 gives about 85 MB/s on each. How many an instance's network can use depends on
 * the instance, and changes with time. So their number is doubled on trial. It stays if the rate grew by a tenth; less
 * is noise. A trial has two ticks for that: new connections begin with handshakes, and slowly. Otherwise the number
 * goes back, and the wait until the next trial is doubled: the cause may pass. If the CPUs are the limit, there is no
 * trial: more connections would only cost time, since what arrives on them no longer fits the caches. Source: S3 User
 * Guide, "Performance design patterns for Amazon S3". */

struct tuning {
        unsigned before; /* the number of connections before the trial; 0: there is no trial now */
        double rate;     /* before the trial */
        unsigned ticks;  /* of the trial so far */
        unsigned patience, ticks_to_wait;
        uint64_t cpu_idle, cpu_total; /* of /proc/stat, at the last tick */
};

/* The number of connections for the next tick. `connections` and `rate` (bytes per second) are those of this tick.
 * `idle` is the share of this machine's CPU time that was not used, 0 to 1. */
unsigned tuning_next(struct tuning *t, unsigned connections, unsigned max, double rate, double idle);

/* This share since the last call; 1: not known. */
double tuning_idle(struct tuning *t);
