/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One CloudTrail record of a use of a KMS key, or of a change to one. A trail is read strictly: a record of KMS that
 * does not have the members that it needs, each of its type, is bad, and the audit is not complete.
 * Source: CloudTrail's record contents; AWS KMS Developer Guide, "Monitoring attested requests". */

#include "basic/json.h"
#include "evidence/registers.h"

enum call_class {
        CALL_RELEASE,  /* gives out what was encrypted under the key */
        CALL_GENERATE, /* gives out new key material under the key */
        CALL_RANDOM,   /* GenerateRandom, which uses no key; only of interest with a document */
        CALL_CHANGE,   /* changes who may use the key, or whether it can be used */
};

/* Texts are borrowed from the record, and "" where it has none. They are of others: filter them. */
struct call {
        const char *operation; /* "Decrypt" */
        enum call_class class;
        const char *time;                /* "2026-11-30T02:59:30Z" */
        const char *caller, *account;    /* account: the caller's */
        const char *address, *agent;     /* of the caller */
        const char *key;                 /* an ARN where the record has one */
        const char *asked;               /* how the request names it */
        json_object *resources;          /* the keys that it used; NULL: not known */
        const char *model, *version;     /* of the encryption context */
        json_object *context;            /* NULL: none */
        const char *error, *error_words; /* "AccessDenied"; "": the request was granted */
        const char *request_id, *event_id, *shared_id;
        bool attested;         /* the request had a document that KMS accepted as signed */
        const char *module_id; /* "i-0123456789abcdef0-tpm0000000000000000" */
        char instance[32];     /* of the module id; "" */
        bool enclave;
        uint32_t present; /* PCRs that the record shows */
        uint8_t pcr[PCR_COUNT_MAX][SHA384_SIZE];
};

/* 1: *ret is a call of the table of operations; 0: a record of no interest; -EINVAL: a bad record, with the reason. */
int call_parse(json_object *record, struct call *ret, struct error *e);

/* Whether the call is of this key; replicas of a multi-Region key count as one. A call that names no key may be. */
bool call_is_of_key(const struct call *c, const char *key_arn);
