/* SPDX-License-Identifier: Apache-2.0 */

/* Which instance this is: for the boot report, and for the lifecycle hook. */

#include "boot/boot.h"

static void ask(struct boot *b, bool required) {
        struct imds_identity id;

        if (b->services.instance_id[0] || imds_identity(b->services.imds, required, &id, NULL) < 0)
                return;
        memcpy(b->services.instance_id, id.instance_id, sizeof b->services.instance_id);
        report_text(b->report, "identity.account", id.account);
        report_text(b->report, "identity.instance_id", id.instance_id);
        report_text(b->report, "identity.instance_type", id.instance_type);
        report_text(b->report, "identity.image_id", id.image_id);
        report_text(b->report, "identity.region", id.region);
}

/* Called by the boot, and by the thread that sends heartbeats. */
static void identify(struct boot *b, bool required) {
        pthread_mutex_lock(&b->services.identifying);
        ask(b, required);
        pthread_mutex_unlock(&b->services.identifying);
}

/* A boot does not need the answer, so it does not fail without one. */
int boot_identify(struct boot *b, struct error *e) {
        (void) e;
        identify(b, false);
        return 0;
}

void boot_require_identity(struct boot *b) {
        identify(b, true);
}
