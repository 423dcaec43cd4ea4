/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "basic/macros.h"

/* How many connections to S3 are worth having. S3 gives about 85 MB/s on each, an instance's network takes many of
 * them, and how many depends on the hour, too. So, tick by tick, their number is doubled on trial, and stays if that
 * brought a tenth more; the rest is noise. Else it goes back, and the next trial is later each time: what held them up
 * may pass. Where the CPUs are the limit, more connections only cost: what arrives on them no longer fits the caches.
 * So there is no trial then. Source: S3 User Guide, "Performance design patterns for Amazon S3". */

struct tuning {
        unsigned before; /* the trial under way; 0: none */
        double rate;     /* then */
        unsigned patience, ticks_to_wait;
        uint64_t cpu_idle, cpu_total; /* of /proc/stat, at the last tick */
};

/* The connections for the next tick, given those of this one and the bytes per second they brought. `idle` is the share
 * of this machine's CPU time that nobody used, 0 to 1. */
unsigned tuning_next(struct tuning *t, unsigned connections, unsigned max, double rate, double idle);

/* That share, since the last call; 1 where it cannot be known. */
double tuning_idle(struct tuning *t);
