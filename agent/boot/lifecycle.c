/* SPDX-License-Identifier: Apache-2.0 */

/* What a state of Auto Scaling means for a boot. */

#include "boot/boot.h"

enum { LOOK_MS = 5000 }; /* as often as EC2 recommends for interruption notices */

unsigned boot_look_ms(const struct boot *b) {
        return MIN_OF((unsigned) LOOK_MS, b->config->heartbeat_ms);
}

int boot_judge_state(enum lifecycle_state state, bool *ret_wait, struct error *e) {
        static const char subject[] = "this instance";

        *ret_wait = state == LIFECYCLE_WARMED_STOPPED;
        switch (state) {
        case LIFECYCLE_WARMED_HIBERNATED:
                return fail(e, FAILURE_HIBERNATION, -EPERM, subject, "Auto Scaling is about to hibernate it (%s)",
                            lifecycle_state_name(state));
        case LIFECYCLE_TERMINATED:
        case LIFECYCLE_WARMED_TERMINATED:
                return fail(e, FAILURE_RETIRED, -ECANCELED, subject, "Auto Scaling is terminating it (%s)",
                            lifecycle_state_name(state));
        default:
                return 0;
        }
}
