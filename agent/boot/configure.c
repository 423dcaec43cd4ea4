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

static int new_client(struct boot *b, const char *ca_bundle, struct http **ret, struct error *e) {
        const struct http_options options = {
                .user_agent = "sealboot-agent/" SEALBOOT_VERSION,
                .on_retry = show_retry,
                .userdata = b,
                .ca_bundle = ca_bundle,
                .cancelled = &b->cancelled,
        };

        return http_new(&options, ret, e);
}

static int make_stores(struct boot *b, struct error *e) {
        for (size_t i = 0; i < b->config->n_inputs; i++) {
                const struct input *in = &b->config->inputs[i];
                struct boot_store *store = &b->services.stores[i];
                int r;

                if (!in->store_url)
                        continue;
                r = new_client(b, in->store_bundle, &store->http, e);
                if (r < 0)
                        return r;
                r = kms_new_store(store->http, in->store_url, b->config->kms_deadline_ms, &store->kms, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int prepare(struct boot *b, struct error *e) {
        int r;

        /* libcurl and OpenSSL must be initialized while no other thread uses them: the only other thread there is waits
         * for a signal. */
        r = new_client(b, b->config->ca_bundle, &b->services.http, e);
        if (r < 0)
                return r;
        r = make_stores(b, e);
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
