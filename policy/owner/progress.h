/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a person sees while bytes are worked on, on standard error: a bar with rate and time left on a terminal, a plain
 * line now and then otherwise. Counting is for any thread; showing is for one. */

#include <stdatomic.h>

#include "basic/macros.h"

enum progress_mode { PROGRESS_AUTO, PROGRESS_QUIET };

struct progress {
        const char *verb; /* "sealing" */
        uint64_t total;
        atomic_uint_fast64_t done;
        bool quiet, terminal;
        int64_t began_ns, shown_ns;
        unsigned shown_tenths; /* plain lines: one for each tenth at most */
};

void progress_begin(struct progress *p, const char *verb, uint64_t total, enum progress_mode mode);
void progress_add(struct progress *p, uint64_t bytes);
/* Shows where things are, if it is time to. */
void progress_show(struct progress *p);
/* Clears the bar. */
void progress_end(struct progress *p);
/* Since progress_begin(). */
double progress_seconds(const struct progress *p);

/* "12.3 GB", decimal units, three digits; `out` has 16 bytes. */
const char *format_bytes(uint64_t n, char out[static 16]);
