/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/retry.h"

#include <sys/random.h>

#include "basic/clock.h"
#include "basic/utf8.h"

void retry_begin(struct retry *r, const struct retry_policy *policy) {
        *r = (struct retry) { .policy = *policy, .began_ns = clock_ns() };
}

/* Uniform in [0, limit], nearly: a wait needs no better. */
static unsigned jitter(unsigned limit) {
        uint32_t random = 0;

        if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
                random = (uint32_t) (clock_ns() >> 8);
        return (unsigned) (random % ((uint64_t) limit + 1));
}

static void count(struct retry *r, const struct error *why) {
        size_t i = 0;

        while (i < RETRY_KINDS - 1 && r->tally[i].times > 0 &&
               strncmp(r->tally[i].what, why->reason, sizeof r->tally[i].what - 1) != 0)
                i++;
        snprintf(r->tally[i].what, sizeof r->tally[i].what, "%.*s", (int) sizeof r->tally[i].what - 1, why->reason);
        r->tally[i].times++;
        r->attempts++;
}

bool retry_next(struct retry *r, const struct error *why, unsigned *ret_wait_ms) {
        unsigned doublings = MIN_OF(r->attempts, 16u), wait;

        count(r, why);
        wait = jitter((unsigned) MIN_OF((uint64_t) r->policy.base_ms << doublings, (uint64_t) r->policy.cap_ms));
        if (clock_deadline_ns(wait) > r->began_ns + r->policy.deadline_ms * NS_PER_MS)
                return false;
        *ret_wait_ms = wait;
        return true;
}

void retry_explain(const struct retry *r, struct error *e) {
        double seconds = clock_seconds_since(r->began_ns);
        size_t n;

        if (!e || r->attempts < 2)
                return;
        n = strlen(e->reason);
        n += (size_t) snprintf(e->reason + n, sizeof e->reason - n, " (%u attempts in %.1f s", r->attempts, seconds);
        for (size_t i = 0; i < RETRY_KINDS && r->tally[i].times > 0 && r->tally[1].times > 0 && n < sizeof e->reason;
             i++)
                n += (size_t) snprintf(e->reason + n, sizeof e->reason - n, "%s%u x %s", i == 0 ? ": " : "; ",
                                       r->tally[i].times, r->tally[i].what);
        if (n < sizeof e->reason)
                snprintf(e->reason + n, sizeof e->reason - n, ")");
        utf8_make_printable(e->reason); /* where a character was cut */
}
