/* SPDX-License-Identifier: Apache-2.0 */

/* The Auto Scaling lifecycle hook, which keeps an instance out of service until the boot has ended. */

#include "boot/boot.h"

#define PROGRAM "sealboot-agent"

bool boot_find_hook(const struct boot *b, struct lifecycle_hook *ret) {
        const struct launch *launch = &b->sealed.launch;

        *ret = (struct lifecycle_hook) {
                .group = launch->hook_name ? launch->hook_group : b->config->hook_group,
                .name = launch->hook_name ?: b->config->hook_name,
                .instance_id = b->services.instance_id,
        };
        return ret->name;
}

/* An instance that leaves its group, or ends, is held by no launch hook. */
static bool is_held(enum lifecycle_state state) {
        return state != LIFECYCLE_STANDBY && state != LIFECYCLE_DETACHED && state != LIFECYCLE_TERMINATED &&
               state != LIFECYCLE_WARMED_TERMINATED;
}

static int complete(struct boot *b, const struct lifecycle_hook *hook, bool proceed, struct error *e) {
        const struct service_access access = boot_access(b, b->config->endpoint_autoscaling);

        if (b->services.region)
                boot_require_identity(b);
        if (!hook->instance_id[0])
                return fail(e, FAILURE_LIFECYCLE, -ENODATA, hook->name,
                            "the metadata service did not tell which instance this is");
        return autoscaling_complete(&access, hook, proceed, e);
}

/* Auto Scaling takes no reason with ABANDON. It is told where an operator looks. */
static void tell(struct boot *b, const struct lifecycle_hook *hook, const struct error *failure) {
        const char *result = failure ? "ABANDON" : "CONTINUE";
        char reason[sizeof failure->reason + 64] = "";

        if (failure)
                snprintf(reason, sizeof reason, "%s: %s", failure_info(failure->failure)->name, failure->reason);
        fprintf(failure ? stderr : stdout, PROGRAM ": told Auto Scaling %s, for lifecycle hook %s of %s%s%s\n", result,
                hook->name, hook->group, failure ? ": " : "", reason);
        fflush(stdout);
        report_lifecycle(b->report, result, hook->group, hook->name, reason);
}

void boot_complete_hook(struct boot *b, const struct error *failure) {
        struct lifecycle_hook hook;
        struct error e = { 0 };

        if (!b->services.http)
                return; /* the boot failed before there was a client to ask with */
        /* A boot that failed early has not asked the metadata service yet. */
        if (!b->services.imds)
                (void) boot_ask_metadata(b, &e);
        if (!boot_find_hook(b, &hook) || !is_held(b->lifecycle.state))
                return;
        if (complete(b, &hook, !failure, &e) == 0)
                tell(b, &hook, failure);
        else {
                report_text(b->report, "lifecycle.error", e.reason);
                failure_print(stderr, PROGRAM, &e);
        }
        (void) report_write(b->report, NULL); /* report_new() has shown that the file can be written */
}
