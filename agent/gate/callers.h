/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who asks, and whether they may: the answer to nginx's auth_request. A caller is known by a bearer token, by a client
 * certificate that a configured authority issued, or by one that holds the document of an accepted image; any one that
 * is valid will do. nginx has made sure that the client has the certificate's key. Not for use by two threads at once.
 */

#include "gate/gate-config.h"

struct callers;

/* What nginx tells of a request; NULL: nothing. */
struct caller_question {
        const char *method, *path;
        const char *authorization; /* the header as it came */
        const char *certificate;   /* escaped PEM */
        const char *address;       /* the client's */
};

enum caller_verdict {
        CALLER_MAY,
        CALLER_UNKNOWN, /* presented nothing, or a token that is not known */
        CALLER_MAY_NOT,
        CALLER_TOO_OFTEN,
};

struct caller_answer {
        enum caller_verdict verdict;
        char name[80];        /* printable, without quotes and spaces: "app", "partner/alice", "peer/i-0123" */
        char reason[400];     /* printable ASCII that fits into a JSON text; empty for CALLER_MAY */
        unsigned retry_after; /* in seconds, for CALLER_TOO_OFTEN */
};

/* Reads the files that the configuration names, below the directory `root` if that is not NULL. FAILURE_CONFIG.
 * Borrows the configuration. */
int callers_new(const struct gate_config *c, const char *root, struct callers **ret, struct error *e);
void callers_free(struct callers *l);
DEFINE_CLEANUP(struct callers *, callers_free, callers_freep)
#define _cleanup_callers_ _cleanup_(callers_freep)

void callers_judge(struct callers *l, const struct caller_question *q, struct caller_answer *ret);
