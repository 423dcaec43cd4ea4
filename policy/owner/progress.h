/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Progress on standard error: a bar with rate and time left on a terminal, otherwise a plain line for each tenth.
 * progress_add() is thread-safe; progress_show() is not. */

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
/* Shows the progress, if the last time is long enough ago. */
void progress_show(struct progress *p);
/* Clears the bar. */
void progress_end(struct progress *p);
/* Since progress_begin(). */
double progress_seconds(const struct progress *p);

/* "12.3 GB", decimal units, three digits; `out` has 16 bytes. */
const char *format_bytes(uint64_t n, char out[static 16]);
