/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Processes take turns at a TPM: each locks the same file. The kernel ends the lock with the process that holds it,
 * even when that process is killed.
 *
 * Any process that can open a file can lock it for ever. The file is therefore one that only those can open who may use
 * the TPM:
 *
 *   /dev/tpmN, /dev/tpmrmN   /dev/tpmrmN itself. Where there is none, the kernel lets one process alone open /dev/tpmN.
 *   another TCTI             A file in /run/sealboot, if that directory belongs to the caller or the caller is root, so
 *                            that the agent's user and root take turns. Otherwise a file in /run/sealboot-root or
 *                            /run/user/UID, for users who run simulators of their own. */

#include "basic/failure.h"

/* Waits up to wait_ms for the turn at the TPM of this device path or TCTI string. Close *ret to end the turn; -1: there
 * is no file to lock, and nothing to close. -EBUSY and FAILURE_TPM_BUSY when another process kept the turn. */
int turn_take(const char *tpm, unsigned wait_ms, int *ret, struct error *e);
