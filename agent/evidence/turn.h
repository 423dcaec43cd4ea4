/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Taking turns at a TPM across processes: by a lock on a file, which ends with the process that holds it, however that
 * ends.
 *
 * Whoever can open a file can lock it, for as long as they like. So the file is one that nobody can open who may not
 * use the TPM anyway:
 *
 *   /dev/tpmN, /dev/tpmrmN   /dev/tpmrmN itself. Where there is none, the kernel lets only one process open /dev/tpmN
 *   another TCTI             a file in /run/sealboot, when that belongs to the caller or the caller is root: so the
 *                            agent's user and root take turns. Else a file in /run/sealboot-root or /run/user/UID, for
 *                            users of simulators of their own */

#include "basic/failure.h"

/* Waits up to wait_ms for the turn at the TPM that has this device path or TCTI string; close *ret to pass it on
 * (-1: there is nobody to take turns with). -EBUSY and FAILURE_TPM_BUSY when others did not. */
int turn_take(const char *tpm, unsigned wait_ms, int *ret, struct error *e);
