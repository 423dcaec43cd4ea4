/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What an owner should know of each call: whether it was attested, and by which image. */

#include "audit/trail.h"
#include "verify/reference.h"

enum finding_level { LEVEL_ALARM, LEVEL_NOTICE, LEVEL_GOOD };

struct finding {
        const char *name; /* stable: "unattested" */
        enum finding_level level;
        const char *meaning; /* one sentence, for people */
};

struct judged {
        const struct call *call;
        const struct finding *finding;
        const struct reference *image; /* NULL: none that is known */
};

/* What is accepted. Callers are ARNs of roles or users; a role stands for its sessions. */
struct accepted_uses {
        const struct references *images;
        const char *const *keys; /* ARNs; none: every key */
        size_t n_keys;
        const char *const *openers; /* may have plaintext without a document */
        size_t n_openers;
        const char *const *sealers; /* may make data keys without a document */
        size_t n_sealers;
};

struct judgement {
        struct judged *calls; /* alarms, then notices, then the others; each group in the order of time */
        size_t n, n_alarms, n_notices;
};

int judge_trail(const struct trail *t, const struct accepted_uses *uses, struct judgement *ret, struct error *e);
void judgement_done(struct judgement *j);
#define _cleanup_judgement_ _cleanup_(judgement_done)

/* All findings, for the manual's test; an empty row ends them. */
const struct finding *finding_table(void);
