/* SPDX-License-Identifier: Apache-2.0 */

/* The TPM, in which no model may be measured yet. */

#include "boot/boot.h"

enum { TPM_BUSY_WAIT_MS = 15 * 1000 };

static void show_wait(const char *why) {
        boot_status("Waiting for the TPM: %s", why);
}

static int open_tpm(struct boot *b, struct error *e) {
        int r;

        r = tpm_open(b->arguments.tcti ?: b->config->tcti, TPM_BUSY_WAIT_MS, &b->services.tpm, e);
        if (r < 0)
                return r;
        tpm_on_wait(b->services.tpm, show_wait);
        return tpm_pcr_require_zero(b->services.tpm, PCR_MODEL, b->config->measurement_log, e);
}

int boot_open_tpm(struct boot *b, struct error *e) {
        int r;

        boot_status("Looking at the TPM");
        report_begin(b->report, "tpm");
        r = open_tpm(b, e);
        report_end(b->report, "tpm", 0);
        return r;
}
