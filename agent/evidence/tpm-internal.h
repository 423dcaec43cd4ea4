/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What only this room needs of a struct tpm. */

#include "evidence/tpm.h"

/* The device to try next when this one does not pass a command on; NULL when there is none. */
const char *tpm_fallback(const struct tpm *t);

/* Connects anew: ESYS cannot be used after a connection was lost. On error only tpm_close() or tpm_reconnect() may
 * follow.
 */
int tpm_reconnect(struct tpm *t, struct error *e);

/* A TPM may answer with a warning that it did not carry out the command, and that it can do so later. Repeats
 * `rc = (call)` until the TPM gives another answer, or until tpm_busy_wait_ms() have passed. */
#define TPM_PATIENTLY(t, rc, call) \
        do { \
                struct tpm_patience _patience = { .tpm = (t) }; \
                do \
                        (rc) = (call); \
                while (tpm_again(&_patience, (rc))); \
        } while (0)

struct tpm_patience {
        struct tpm *tpm;
        int64_t deadline_ns; /* 0: no answer was seen yet */
};
/* True, after a wait, when the command is to be sent again. */
bool tpm_again(struct tpm_patience *p, TSS2_RC rc);
