/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A request to KMS as its key policy sees it: who asks for which action on which key, and the condition keys that KMS
 * fills for it. */

#include "verify/document.h"
#include "verify/reference.h"

/* Zero-initialise. */
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
int request_init(struct request *q, const char *principal, const char *action, const char *resource, struct error *e);
void request_done(struct request *q);
#define _cleanup_request_ _cleanup_(request_done)

/* Adds a value to a condition key; a second one makes it a key of several values. */
int request_add(struct request *q, const char *key, const char *value, struct error *e);
int request_add_context(struct request *q, const char *name, const char *value, struct error *e);
/* Adds the kms:RecipientAttestation keys of a document. Has no effect for an action that takes no document. */
int request_add_document(struct request *q, const struct document *d, struct error *e);
/* Adds the keys that an image is expected to present before it has measured a model: PCR15 is zeros unless the
 * reference has another value. Other PCRs that the reference lacks are not known. */
int request_add_reference(struct request *q, const struct reference *reference, struct error *e);
/* Sets a condition key that none of the above fills; call it after them. FAILURE_USAGE for a key that is known, or
 * known to be absent; the ARN of a session's role can be completed by its path. */
int request_set(struct request *q, const char *key, const char *value, struct error *e);

/* The condition key of this name, or NULL. */
const struct request_key *request_find(const struct request *q, const char *name);
/* Whether a key that request_find() does not find is known to be absent; otherwise its value is not known. */
bool request_lacks(const struct request *q, const char *key);

/* Whether two ARNs name one role: names of roles are unique in an account, whatever their paths. */
bool is_same_role(const char *a, const char *b);
