/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Judges the answer to a question for evidence, and keeps the verdict with the other instances. For one thread. */

#include "connect/question.h"
#include "connect/verdict.h"

struct attestor {
        struct sealboot_verifier *verifier; /* with references, model digests, age and root; borrowed */
        struct instances *instances;
        const struct server *server;
};

enum attestor_answer {
        ATTESTED,
        ATTEST_REFUSED, /* the machine is not what it should be */
        ATTEST_BUSY,    /* ask again after *ret_wait_ms */
        ATTEST_FAILED,  /* no document to judge */
};

/* `status` is that of HTTP, and `easy` its transfer. Fills e unless ATTESTED or ATTEST_BUSY. */
enum attestor_answer attestor_judge(struct attestor *a, CURL *easy, const struct question *q, unsigned *ret_wait_ms,
                                    struct refusal *ret_refusal, struct error *e);
/* Keeps the report that an instance gave, if it is one. */
void attestor_report(struct attestor *a, CURL *easy, const struct question *q);

/* One question on a connection of its own, for `sealboot connect --check`; waits while the server is busy. Returns what
 * the verifier returned, or a negative errno with e filled where there was no document: *ret_document says which. */
int attestor_check(struct attestor *a, struct peer *p, bool *ret_document, struct error *e);
