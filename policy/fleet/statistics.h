/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What many boots have in common: how long each stage takes, why boots fail, which were slowest. */

#include "fleet/gather.h"

/* Of at least one value, by nearest rank: each is a value that was measured. */
struct spread {
        size_t n;
        double p50_ms, p99_ms, max_ms;
};

/* Of boots that published a model. A stage that was tried several times in a boot counts with its sum. */
struct stage_spread {
        const char *name;
        double began_ms; /* mean, for their order */
        struct spread spread;
};

/* Boots that failed with the same code, for the same reason but for numbers and ids. */
struct failure_group {
        unsigned exit_code;
        const char *name, *title;
        char *reason; /* with "..." for each number or id */
        size_t n;
        const struct record *last;
};

enum { SLOWEST_MAX = 10, FAILURES_SHOWN_MAX = 100 };

/* Borrows from the fleet. */
struct statistics {
        size_t count[RECORD_FAILED + 1]; /* by outcome */
        double first_ms, last_ms;        /* when the first and the last boot began */
        struct spread duration;          /* of boots that published a model, without the time in a warm pool */
        struct spread server;            /* of those, until their inference server was ready */
        struct stage_spread *stages;     /* in the order in which they begin */
        size_t n_stages;
        struct failure_group *failures; /* the most frequent first */
        size_t n_failures;
        const struct record *slowest[SLOWEST_MAX]; /* of those that published a model */
        size_t n_slowest;
};

int statistics_make(const struct fleet *fleet, struct statistics *ret, struct error *e);
void statistics_done(struct statistics *s);
#define _cleanup_statistics_ _cleanup_(statistics_done)
