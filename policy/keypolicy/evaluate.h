/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Evaluates a key policy as KMS does (IAM user guide, "Policy evaluation logic"), and remembers why: KMS itself answers
 * AccessDeniedException and no more.
 *
 * Only the key policy is judged. A caller from another account also needs an identity policy that allows the request,
 * and so does one whom the key policy admits by account only (evaluation.delegated). A condition on something that
 * cannot be known here (aws:SourceIp, a policy variable), or not compared here (dates, numbers, addresses), is neither
 * met nor unmet. */

#include "keypolicy/key-policy.h"
#include "verify/document.h"
#include "verify/reference.h"

enum truth {
        TRUTH_NO,
        TRUTH_UNKNOWN,
        TRUTH_YES,
};

/* Who asks for what, and the condition keys that KMS fills. Zero-initialise. */
struct request {
        char *principal; /* as given: a role, a role session, a user */
        char *role;      /* behind a session, else NULL */
        char account[13];
        const char *action, *resource; /* resource: NULL when not known */
        struct request_key {
                char *name;
                char **values;
                size_t n;
                bool set;        /* by request_set() */
                bool hides_path; /* the ARN of a role known by a session, which does not tell the role's path */
        } * keys;
        size_t n;
        bool partial;  /* PCRs of this kind that are not there are not known, rather than absent */
        bool nitrotpm; /* of the document or reference */
};

/* principal: an IAM user, role or assumed-role session ARN. action such as "kms:Decrypt" and resource (a key's ARN, or
 * NULL) are borrowed. FAILURE_USAGE. */
int request_init(struct request *r, const char *principal, const char *action, const char *resource, struct error *e);
/* Adds a value to a condition key; a second one makes it a key of several values. */
int request_add(struct request *r, const char *key, const char *value, struct error *e);
int request_add_context(struct request *r, const char *name, const char *value, struct error *e);
/* The kms:RecipientAttestation keys of a document, and of what an image is expected to present before it has measured a
 * model: PCR15 is zeros unless the reference says otherwise. Without effect for an action that takes no document. */
int request_add_document(struct request *r, const struct document *d, struct error *e);
int request_add_reference(struct request *r, const struct reference *reference, struct error *e);
/* A condition key that nothing above tells, after all of them: FAILURE_USAGE for one that is known, or known to be
 * absent, but for the full ARN of a session's role. */
int request_set(struct request *r, const char *key, const char *value, struct error *e);
void request_done(struct request *r);
#define _cleanup_request_ _cleanup_(request_done)

struct element_result {
        const char *element;          /* "Principal", "Action", "Resource", or a condition's operator */
        const char *key;              /* of a condition, else NULL */
        const struct strings *wanted; /* NULL: anyone */
        char *found;                  /* NULL: absent, or a key that was not given */
        enum truth truth;
};

struct statement_result {
        const struct statement *statement;
        enum truth truth;
        struct element_result *elements;
        size_t n;
};

enum decision {
        DECISION_DENIED,
        DECISION_UNKNOWN,
        DECISION_ALLOWED,
};

struct evaluation {
        enum decision decision;
        bool explicit_deny;
        bool delegated;                      /* allowed to the account: its identity policies decide */
        struct statement_result *statements; /* as many as the policy has, in its order */
        size_t n;
};

/* Borrows from the policy. */
int evaluate(const struct key_policy *policy, const struct request *request, struct evaluation *ret, struct error *e);
void evaluation_done(struct evaluation *v);
#define _cleanup_evaluation_ _cleanup_(evaluation_done)

bool is_key_arn(const char *arn);

/* Whether this condition is true for a request that does not have its key: Null, a negated operator, IfExists,
 * ForAllValues. */
bool met_without_key(const struct condition *c);

const char *decision_name(enum decision d);
const char *truth_name(enum truth t);
