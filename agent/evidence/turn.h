/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Taking turns at a shared thing across processes, without a file to own, to create or to leave behind: whoever has bound an
 * abstract socket's name has the turn, and loses it however it ends. Names are per network namespace. */

#include "basic/failure.h"

/* Waits up to wait_ms for the turn at `name`; close *ret to pass it on. -EBUSY and FAILURE_TPM_BUSY when others did not. */
int turn_take(const char *name, unsigned wait_ms, int *ret, struct error *e);
