/* SPDX-License-Identifier: Apache-2.0 */

/* The measured configuration, and what needs nothing else: boot report, HTTP client, model directory. */

#include "basic/utf8.h"
#include "boot/boot.h"

/* Shows an operator at the console why the boot waits. Called by any thread. */
static void show_retry(void *userdata, const struct error *why, unsigned wait_ms) {
        const struct boot *b = userdata;
        char doing[400];

        (void) wait_ms;
        boot_status("Trying again: %s: %s", why->subject, why->reason);
        snprintf(doing, sizeof doing, "trying again: %.120s: %.250s", why->subject, why->reason);
        utf8_make_printable(doing); /* where it is cut, a character may be */
        report_progress(b->report, doing, 0, 0);
}

static int prepare(struct boot *b, struct error *e) {
        const struct http_options options = {
                .user_agent = "sealboot-agent/" SEALBOOT_VERSION,
                .on_retry = show_retry,
                .userdata = b,
                .ca_bundle = b->config->ca_bundle,
        };
        int r;

        /* libcurl and OpenSSL must be initialized while no other thread uses them: the only other thread there is waits
         * for a signal. */
        r = http_new(&options, &b->services.http, e);
        if (r < 0)
                return r;
        return handoff_new(b->config->model_directory, &b->handoff, e);
}

int boot_configure(struct boot *b, struct error *e) {
        int r;

        boot_status("Reading the measured configuration");
        r = config_load(b->arguments.config_path, NULL, &b->config, e);
        if (r < 0)
                return r;
        r = report_new(b->arguments.report_path ?: b->config->report, &b->report, e);
        if (r < 0)
                return r;
        report_begin(b->report, "prepare");
        r = prepare(b, e);
        report_end(b->report, "prepare", 0);
        return r;
}
