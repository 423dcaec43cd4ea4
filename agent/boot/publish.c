/* SPDX-License-Identifier: Apache-2.0 */

/* The model becomes visible to the inference server. */

#include "boot/boot.h"

int boot_publish(struct boot *b, struct error *e) {
        int r;

        report_begin(b->report, "publish");
        r = handoff_publish(b->handoff, &b->published, e);
        if (r == 0)
                report_text(b->report, "model.path", b->published);
        report_end(b->report, "publish", 0);
        return r;
}
