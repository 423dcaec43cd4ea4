/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Evaluations and findings as text and as JSON, the same for `policy check` and `doctor`. */

#include "keypolicy/evaluate.h"
#include "keypolicy/lint.h"

/* Prints the verdict, then each statement about this action with the values that it wanted and found. */
void explain_evaluation(FILE *f, const struct evaluation *v, const char *principal, const char *action);
json_object *explain_evaluation_json(const struct evaluation *v);

void explain_findings(FILE *f, const struct findings *findings);
json_object *explain_findings_json(const struct findings *findings);
