/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Principals as a key policy names them. The account decides: its administrator can act as each of its users and roles,
 * by changing who may assume them, and so has the permissions of all of them. */

#include "basic/macros.h"

/* The principal from the twelve digits of its account on; NULL for "*" and for a unique id, which have no account. */
const char *principal_account(const char *principal);

/* Whether one principal can get the permissions of the other: they are of one account, or the same unique id. */
bool principals_share_account(const char *a, const char *b);
