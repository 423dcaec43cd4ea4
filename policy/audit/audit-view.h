/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An audit for a terminal, and for programs. */

#include "audit/judgement.h"

/* Alarms and notices one by one; what is good in groups, or one by one, too, if `all`. */
void audit_print(FILE *f, const struct trail *t, const struct judgement *j, bool all);
json_object *audit_json(const struct trail *t, const struct judgement *j);
