/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Principals as a key policy names them. What counts is the account: whoever administers an account can act as each
 * of its users and roles, by changing who may assume them, and so has whatever any of them is allowed. */

#include "basic/macros.h"

/* The twelve digits of the account, from there on; NULL of "*" and of a unique id, which do not tell it. */
const char *principal_account(const char *principal);

/* Whether what one may do, the other may get at: they are of one account, or the same unique id. */
bool principals_share_account(const char *a, const char *b);
