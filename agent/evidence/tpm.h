/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A connection to a TPM 2.0 through tpm2-tss's ESYS. Not for use by two threads at once.
 *
 * Sessions are password sessions throughout: between a guest and the Nitro hypervisor there is no bus to listen on. */

#include <tss2/tss2_esys.h>

#include "basic/failure.h"

struct tpm;

/* Keeps the library from printing, unless TSS2_LOG is set: the errors here say the same. The library reads its log
 * level from the environment alone, so a program calls this before it starts threads. */
void tpm_quiet(void);

/* `tcti` is a TCTI string as in tpm2-tools ("device:/dev/tpmrm0", "swtpm:host=127.0.0.1,port=2321"). NULL: the
 * machine's own, that is /dev/tpmrm0 (the kernel's resource manager, which many may share), or where there is none
 * /dev/tpm0 (which only one may open). A device that another process holds is tried again for busy_wait_ms.
 *
 * FAILURE_TPM_ABSENT (no device, nothing listens), FAILURE_TPM_BUSY (held beyond busy_wait_ms), FAILURE_TPM (no
 * permission, not a TPM). */
int tpm_open(const char *tcti, unsigned busy_wait_ms, struct tpm **ret, struct error *e);
/* The same over these device nodes, in this order, instead of the machine's own; NULL-terminated. */
int tpm_open_device(const char *const devices[], unsigned busy_wait_ms, struct tpm **ret, struct error *e);
void tpm_close(struct tpm *t);
DEFINE_CLEANUP(struct tpm *, tpm_close, tpm_closep)
#define _cleanup_tpm_ _cleanup_(tpm_closep)

/* What errors call it: the device's path or the TCTI string. */
const char *tpm_name(const struct tpm *t);
/* The context that commands go through; owned by t. */
ESYS_CONTEXT *tpm_esys(struct tpm *t);
/* How long tpm_open() was told to wait for others. */
unsigned tpm_busy_wait_ms(const struct tpm *t);

/* From then on, `tell` is called once for each command that the TPM puts off, with its answer in words. */
void tpm_on_wait(struct tpm *t, void (*tell)(const char *why));

/* One of the TPM's properties (TPM2_CAP_TPM_PROPERTIES), such as TPM2_PT_NV_BUFFER_MAX; `absent` if the TPM does not
 * have it. */
int tpm_property(struct tpm *t, TPM2_PT property, uint32_t absent, uint32_t *ret, struct error *e);

/* fail() for a TSS response code, which is decoded; returns -EIO. `command` is the command's name in the specification.
 */
int tpm_fail(struct error *e, enum failure failure, const struct tpm *t, const char *command, TSS2_RC rc);

static inline void esys_freep(void *p) {
        Esys_Free(*(void **) p);
}
#define _cleanup_esys_ _cleanup_(esys_freep)
