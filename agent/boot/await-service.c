/* SPDX-License-Identifier: Apache-2.0 */

/* Whether Auto Scaling wants a model in this instance now. Asked before anything of the model is fetched, and before
 * the key is asked for. The operator may have made the answer: it can keep a model out of the instance, and nothing
 * else. No later step leaves out a check because of it. */

#include <systemd/sd-daemon.h>

#include "basic/clock.h"
#include "boot/boot.h"

#define PROGRAM "sealboot-agent"

/* Asks anew after a while. An answer that is missing changes nothing. */
static int look_again(struct boot *b, struct error *e) {
        int r;

        clock_sleep_ms(boot_look_ms(b));
        r = imds_lifecycle_state(b->services.imds, &b->lifecycle.state, e);
        return r == -EBADMSG || r == -ENOMEM ? r : 0;
}

/* Nothing of a model is here, and no key: the wait may take days, and whoever had a copy of this memory, with its key
 * pair in it, could open the data keys of a later release. The hook is completed, so that Auto Scaling can stop the
 * instance; the next boot asks again. Returns when Auto Scaling wants something else without a stop. */
static int wait_in_warm_pool(struct boot *b, struct error *e) {
        const char *name = lifecycle_state_name(b->lifecycle.state);
        bool wait = true;
        int r = 0;

        boot_forget_recipient(b);
        atomic_store(&b->lifecycle.idle, true);
        printf(PROGRAM ": this instance is for the warm pool (%s): no model is loaded before it goes into service\n",
               name);
        fflush(stdout);
        report_wait(b->report, name);
        boot_complete_hook(b, NULL);
        boot_send_report(b);
        while (r == 0 && wait) {
                boot_status("Waiting in the warm pool (%s): no model is loaded", name);
                r = look_again(b, e);
                if (r == 0)
                        r = boot_judge_state(b->lifecycle.state, &wait, e);
        }
        atomic_store(&b->lifecycle.idle, false);
        report_text(b->report, "outcome", "running");
        report_text(b->report, "lifecycle.target", lifecycle_state_name(b->lifecycle.state));
        return r < 0 ? r : boot_begin_recipient(b, e);
}

int boot_await_service(struct boot *b, struct error *e) {
        bool wait;
        int r;

        r = boot_judge_state(b->lifecycle.state, &wait, e);
        if (r < 0)
                return r;
        if (wait) {
                report_begin(b->report, "warm-pool");
                r = wait_in_warm_pool(b, e);
                report_end(b->report, "warm-pool", 0);
                if (r < 0)
                        return r;
        }
        return boot_keep(b, e);
}

void boot_leave_warm_pool(struct boot *b) {
        struct lifecycle_hook hook;
        struct error e = { 0 };
        int r = 0;

        if (b->lifecycle.state != LIFECYCLE_WARMED_RUNNING || !boot_find_hook(b, &hook))
                return;
        atomic_store(&b->lifecycle.idle, true);
        while (r == 0 && b->lifecycle.state == LIFECYCLE_WARMED_RUNNING) {
                sd_notifyf(0, "STATUS=Model published at %s; waiting in the warm pool", b->published);
                r = look_again(b, &e);
        }
        atomic_store(&b->lifecycle.idle, false);
        if (r < 0)
                failure_print(stderr, PROGRAM, &e);
        else if (b->lifecycle.state == LIFECYCLE_IN_SERVICE) {
                report_text(b->report, "lifecycle.target", lifecycle_state_name(b->lifecycle.state));
                boot_complete_hook(b, NULL);
                boot_send_report(b);
        }
}
