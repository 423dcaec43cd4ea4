/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Whether a statement is for the caller: its Principal or NotPrincipal element (IAM user guide, "AWS JSON policy
 * elements: Principal" and "NotPrincipal"). */

#include "keypolicy/condition.h"

/* *ret_delegated: the statement names the caller's account only, so that the account's identity policies decide. */
enum truth statement_is_for_caller(const struct statement *s, const struct request *q, bool *ret_delegated);
