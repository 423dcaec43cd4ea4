/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* JSON in C tests is written with ' for ". */

#include "basic/json.h"
#include "keypolicy/key-policy.h"
#include "unit.h"

/* A copy with double quotes, which the caller frees. */
static inline char *quoted(const char *text) {
        char *copy = strdup(text);

        assert_non_null(copy);
        for (char *c = copy; *c; c++)
                if (*c == '\'')
                        *c = '"';
        return copy;
}

static inline void quoted_policy(const char *text, struct key_policy *ret) {
        _cleanup_free_ char *json = quoted(text);
        struct error e;

        assert_ok(key_policy_parse(json, strlen(json), "t", ret, &e), &e);
}
