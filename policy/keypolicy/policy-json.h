/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Builds the JSON of IAM policies. json-c takes ownership of a value that is added. It reports that memory is exhausted
 * by NULL, which all of these pass on. */

#include "basic/json.h"
#include "keypolicy/compose.h"

void policy_add(json_object *to, const char *key, json_object *value);
void policy_add_text(json_object *to, const char *key, const char *value);
/* An array of these texts; of one, the text alone. */
json_object *policy_list(const char *const *items, size_t n);

/* A policy without statements. *ret_statements is borrowed from it. */
json_object *policy_new(json_object **ret_statements);
/* Adds a statement, and returns it, borrowed. `principals` may be NULL. Resource is "*", which in a key policy is the
 * key, until another is added. */
json_object *policy_add_statement(json_object *statements, const char *sid, const char *effect,
                                  const struct names *principals, const char *const *actions, size_t n_actions);
