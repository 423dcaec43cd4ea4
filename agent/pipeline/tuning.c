/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/tuning.h"

#include <inttypes.h>

enum { FIRST_PATIENCE = 8, TRIAL = 2 }; /* ticks */

static const double worth_a_trial = 0.25, worth_keeping = 1.1;

unsigned tuning_next(struct tuning *t, unsigned connections, unsigned max, double rate, double idle) {
        unsigned before = t->before;

        if (t->ticks_to_wait > 0) {
                t->ticks_to_wait--;
                return connections;
        }
        if (before > 0 && rate < worth_keeping * t->rate && ++t->ticks < TRIAL)
                return connections;
        t->before = t->ticks = 0;
        if (before > 0 && rate < worth_keeping * t->rate) {
                t->patience = t->patience > 0 ? 2 * t->patience : FIRST_PATIENCE;
                t->ticks_to_wait = t->patience;
                return before;
        }
        if (connections >= max || rate <= 0 || idle < worth_a_trial)
                return connections;
        t->before = connections;
        t->rate = rate;
        return MIN_OF(2 * connections, max);
}

double tuning_idle(struct tuning *t) {
        uint64_t v[8] = { 0 }, idle, total = 0, idle_before = t->cpu_idle, total_before = t->cpu_total;
        _cleanup_fclose_ FILE *f = fopen("/proc/stat", "re");

        /* user, nice, system, idle, iowait, irq, softirq, steal: proc(5) */
        if (!f ||
            fscanf(f,
                   "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
                   &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]) < 8)
                return 1;
        for (size_t i = 0; i < ELEMENTS(v); i++)
                total += v[i];
        idle = v[3] + v[4];
        t->cpu_idle = idle;
        t->cpu_total = total;
        if (total <= total_before || idle < idle_before)
                return 1;
        return (double) (idle - idle_before) / (double) (total - total_before);
}
