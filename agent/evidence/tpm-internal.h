/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What only this room needs of a struct tpm. */

#include "evidence/tpm.h"

/* The device to try next when this one does not pass a command on; NULL when there is none. */
const char *tpm_fallback(const struct tpm *t);

/* After a lost connection, which leaves ESYS unusable. On error only tpm_close() or tpm_reconnect() may follow. */
int tpm_reconnect(struct tpm *t, struct error *e);

int64_t monotonic_ms(void);
void sleep_ms(unsigned ms);
