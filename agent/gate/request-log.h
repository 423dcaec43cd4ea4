/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The log of requests: who asked for which path, when, and how it ended; never a content, a query or a header. nginx
 * sends a syslog datagram for each request, and the newest are kept. A line is taken only if it has exactly the fields
 * of nginx's log_format, each in its form: whoever can write to the socket can say what is not true, and no more. */

#include "basic/failure.h"

enum { REQUEST_LINE_MAX = 2048, REQUEST_LOG_ENTRIES = 10000 };

struct request_entry {
        char time[26];   /* 2026-11-21T14:00:00+00:00 */
        char caller[80]; /* "": not asked who */
        char path[201];  /* as it is listed, not as it was asked for; "": not listed */
        char id[33];
        unsigned status;
        uint64_t bytes, duration_ms;
};

/* FAILURE_IO with the reason. */
int request_line_parse(const char *line, size_t n, struct request_entry *ret, struct error *e);

struct request_log;

int request_log_new(size_t entries, struct request_log **ret);
void request_log_free(struct request_log *l);
DEFINE_CLEANUP(struct request_log *, request_log_free, request_log_freep)

/* For any thread. */
void request_log_add(struct request_log *l, const struct request_entry *entry);
void request_log_count_refused(struct request_log *l);
/* {"requests": [oldest, ..., newest], "forgotten": n, "refused_lines": n}, malloc'ed; -ENOMEM. */
int request_log_json(struct request_log *l, char **ret, size_t *ret_n);
