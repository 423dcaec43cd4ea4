/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A KMS key policy as a table of statements (IAM user guide, "IAM JSON policy elements"; KMS developer guide, "Key
 * policies"). What KMS would not take as a key policy is refused here, so that evaluation, the search for findings and
 * comparison all use the same reading. */

#include "basic/json.h"

enum { KEY_POLICY_MAX = 32 * 1024 };

/* Borrowed from the policy's JSON. */
struct strings {
        const char **items;
        size_t n;
};

enum match_kind {
        MATCH_STRING_EQUALS,
        MATCH_STRING_EQUALS_IGNORE_CASE,
        MATCH_STRING_LIKE,
        MATCH_ARN, /* ArnEquals and ArnLike are the same to IAM */
        MATCH_BOOL,
        MATCH_NULL,  /* whether the key is absent */
        MATCH_OTHER, /* numbers, dates, addresses, bytes: IAM's, but not compared here */
};

enum quantifier {
        QUANTIFIER_NONE,
        QUANTIFIER_ALL, /* ForAllValues: true also when there is no value */
        QUANTIFIER_ANY, /* ForAnyValue */
};

struct condition {
        const char *operator_name; /* as written: "ForAllValues:StringEquals" */
        const char *key;
        struct strings values;
        enum match_kind match;
        enum quantifier quantifier;
        bool negated;   /* StringNotEquals and its like: true also when the key is absent */
        bool if_exists; /* ...IfExists: true when the key is absent */
};

struct statement {
        char name[160]; /* its Sid, or "statement 2" */
        bool has_sid, allow;
        bool not_principal, not_action, not_resource;
        bool anyone;               /* "*" or {"AWS": "*"} */
        struct strings principals; /* AWS */
        struct strings services;   /* Service */
        struct strings actions, resources;
        struct condition *conditions;
        size_t n_conditions;
};

/* Zero-initialise. */
struct key_policy {
        json_object *json;
        struct statement *statements;
        size_t n;
        bool variables; /* Version 2012-10-17, in which "${aws:username}" is a policy variable */
};

/* FAILURE_POLICY. */
int key_policy_parse(const char *text, size_t size, const char *source, struct key_policy *ret, struct error *e);
/* Also FAILURE_IO. Takes what `aws kms get-key-policy` prints too: {"Policy": "<the policy as text>"}. */
int key_policy_read(const char *path, struct key_policy *ret, struct error *e);

void key_policy_done(struct key_policy *p);
#define _cleanup_key_policy_ _cleanup_(key_policy_done)

/* Whether this is a unique id, such as AROA...: IAM writes it in the place of a user or role that was deleted, and it
 * names nobody any more. */
bool is_unique_id(const char *principal);

/* Whether "${" is in one of these texts. In a policy with policy variables it begins one, or an escaped character, so
 * that KMS compares another text than the one that is written. */
bool strings_have_variable(const struct strings *s);

/* IAM's wildcards, * and ?. */
bool glob_matches(const char *pattern, const char *text, bool ignore_case);

/* Whether an Action or NotAction element covers this action, names being case-insensitive. */
bool statement_covers_action(const struct statement *s, const char *action);
