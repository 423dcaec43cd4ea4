/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The one retry policy: exponential backoff with full jitter (each wait is uniform in [0, min(cap, base * 2^n)], so
 * that instances which boot together do not ask together) under one deadline. It counts what went wrong, for the error
 * that ends it. */

#include "basic/failure.h"

struct retry_policy {
        unsigned deadline_ms; /* from retry_begin() to the last attempt's start */
        unsigned base_ms, cap_ms;
};

enum { RETRY_KINDS = 4 };

struct retry {
        struct retry_policy policy;
        int64_t began_ns;
        unsigned attempts; /* that failed */
        struct {
                char what[112];
                unsigned times;
        } tally[RETRY_KINDS];
};

void retry_begin(struct retry *r, const struct retry_policy *policy);

/* Counts one failed attempt, with its reason, and says how long to wait before the next; false when that would be past
 * the deadline. For event loops: nothing blocks. */
bool retry_next(struct retry *r, const struct error *why, unsigned *ret_wait_ms);

/* Adds the counts to the reason of the error that ends it: "... (7 attempts in 30.1 s: 6 x HTTP 503; 1 x ...)". */
void retry_explain(const struct retry *r, struct error *e);
