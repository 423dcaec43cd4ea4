/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Evaluations and findings in words, for people and in JSON: `policy check` and `doctor` say the same. */

#include "keypolicy/evaluate.h"
#include "keypolicy/lint.h"

/* The verdict, then every statement that was meant for this action, with what it wanted and found. */
void explain_evaluation(FILE *f, const struct evaluation *v, const char *principal, const char *action);
json_object *explain_evaluation_json(const struct evaluation *v);

void explain_findings(FILE *f, const struct findings *findings);
json_object *explain_findings_json(const struct findings *findings);
