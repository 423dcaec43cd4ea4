/* SPDX-License-Identifier: Apache-2.0 */

/* The Auto Scaling lifecycle hook, which keeps an instance out of service until the boot has ended. */

#include "aws/autoscaling.h"
#include "boot/boot.h"

static int complete(struct boot *b, const struct lifecycle_hook *hook, bool proceed, struct error *e) {
        const struct service_access access = boot_access(b, b->config->endpoint_autoscaling);

        if (b->services.region)
                boot_require_identity(b);
        if (!hook->instance_id[0])
                return fail(e, FAILURE_LIFECYCLE, -ENODATA, hook->name,
                            "the metadata service did not tell which instance this is");
        return autoscaling_complete(&access, hook, proceed, e);
}

void boot_complete_hook(struct boot *b, bool proceed) {
        struct lifecycle_hook hook = { .instance_id = b->services.instance_id };
        const struct launch *launch = &b->sealed.launch;
        struct error e = { 0 };

        if (!b->services.http)
                return; /* the boot failed before there was a client to ask with */
        /* A boot that failed early has not asked the metadata service yet. */
        if (!b->services.imds)
                (void) boot_ask_metadata(b, &e);
        hook.group = launch->hook_name ? launch->hook_group : b->config->hook_group;
        hook.name = launch->hook_name ?: b->config->hook_name;
        if (!hook.name)
                return;
        if (complete(b, &hook, proceed, &e) == 0)
                report_text(b->report, "lifecycle.result", proceed ? "CONTINUE" : "ABANDON");
        else {
                report_text(b->report, "lifecycle.error", e.reason);
                failure_print(stderr, "sealboot-agent", &e);
        }
        (void) report_write(b->report, NULL); /* report_new() has shown that the file can be written */
}
