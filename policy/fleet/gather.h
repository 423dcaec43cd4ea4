/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The boot reports of a fleet, from the bucket that the agents store them in ("report_to"), or from a directory. */

#include "fleet/record.h"

/* A report that cannot be read, or says what no agent writes. */
struct bad_report {
        char *origin, *reason;
};

struct fleet {
        struct record *records; /* in the order of their names, which is that of time */
        size_t n;
        struct bad_report *bad;
        size_t n_bad;
        size_t left_out; /* older reports than `limit` allowed */
};

/* Reads the files or objects directly below `place` whose names end in ".json": those whose names sort last, at most
 * `limit`. What keeps it from reading any is an error: FAILURE_IO, or those of S3. */
int fleet_gather(const char *place, size_t limit, unsigned connections, struct fleet *ret, struct error *e);
/* Adds one report, or what is wrong with it. Only -ENOMEM is an error. */
int fleet_add(struct fleet *fleet, const char *text, size_t n, const char *origin, struct error *e);
void fleet_done(struct fleet *fleet);
#define _cleanup_fleet_ _cleanup_(fleet_done)
