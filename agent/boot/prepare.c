/* SPDX-License-Identifier: Apache-2.0 */

/* Before anything secret exists: configuration, TPM, metadata. */

#include <stdarg.h>
#include <systemd/sd-daemon.h>

#include "basic/utf8.h"
#include "boot/boot.h"

enum { TPM_BUSY_WAIT_MS = 15 * 1000 };

void boot_status(const char *format, ...) {
        char text[256];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        utf8_make_printable(text); /* a line of its own would be a message of its own */
        sd_notifyf(0, "STATUS=%s\nEXTEND_TIMEOUT_USEC=%llu", text, BOOT_SILENCE_SECONDS * 1000000ULL);
}

/* Waiting is told, so that an operator at the console sees for what; from any thread. */
static void tell_retry(void *userdata, const struct error *why, unsigned wait_ms) {
        (void) userdata;
        (void) wait_ms;
        boot_status("Trying again: %s: %s", why->subject, why->reason);
}

int boot_name_source(struct boot *b, const char *key, struct error *e) {
        char *source;

        if (asprintf(&source, "s3://%s/%s", b->launch.bucket, key) < 0)
                return fail_oom(e);
        /* A stop may be reading the one before. */
        pthread_mutex_lock(&b->critical);
        free(b->source);
        b->source = source;
        pthread_mutex_unlock(&b->critical);
        return 0;
}

int boot_configure(struct boot *b, struct error *e) {
        struct http_options options = { .user_agent = "sealboot-agent/" SEALBOOT_VERSION, .on_retry = tell_retry };
        int r;

        boot_status("Reading the measured configuration");
        r = config_load(b->config_path, NULL, &b->config, e);
        if (r == 0)
                r = report_new(b->report_path ?: b->config->report, &b->report, e);
        if (r < 0)
                return r;
        report_begin(b->report, "prepare");
        options.ca_bundle = b->config->ca_bundle;
        /* libcurl's and OpenSSL's own beginnings want to be alone: the one thread there is waits for a signal. */
        r = http_new(&options, &b->http, e);
        if (r == 0)
                r = handoff_new(b->config->model_directory, &b->handoff, e);
        report_end(b->report, "prepare", 0);
        return r;
}

static void *make_recipient(void *userdata) {
        struct boot *b = userdata;

        report_begin(b->report, "recipient-key");
        b->recipient_result = recipient_new(&b->recipient, &b->recipient_error);
        report_end(b->report, "recipient-key", 0);
        return NULL;
}

int boot_begin_key(struct boot *b, struct error *e) {
        int r;

        r = pthread_create(&b->recipient_thread, NULL, make_recipient, b);
        if (r != 0)
                return fail(e, FAILURE_INTERNAL, -r, "", "cannot start a thread: %s", strerror(r));
        b->recipient_started = true;
        return 0;
}

static void tell_tpm_wait(const char *why) {
        boot_status("Waiting for the TPM: %s", why);
}

int boot_open_tpm(struct boot *b, struct error *e) {
        int r;

        boot_status("Looking at the TPM");
        report_begin(b->report, "tpm");
        r = tpm_open(b->tcti ?: b->config->tcti, TPM_BUSY_WAIT_MS, &b->tpm, e);
        if (r == 0) {
                tpm_on_wait(b->tpm, tell_tpm_wait);
                r = tpm_pcr_require_zero(b->tpm, PCR_MODEL, b->config->measurement_log, e);
        }
        report_end(b->report, "tpm", 0);
        return r;
}

static int find_model(struct boot *b, struct error *e) {
        _cleanup_free_ uint8_t *user_data = NULL;
        size_t n;
        int r;

        r = imds_user_data(b->imds, !b->config->model, &user_data, &n, e);
        if (r == 0)
                r = launch_parse((char *) user_data, n, b->config, &b->launch, e);
        if (r < 0)
                return r;
        r = boot_name_source(b, b->launch.key, e);
        if (r == 0)
                report_text(b->report, "model.source", b->source);
        return r;
}

static int find_region(struct boot *b, struct error *e) {
        if (!b->config->region)
                return imds_region(b->imds, &b->region, e);
        b->region = strdup(b->config->region);
        return b->region ? 0 : fail_oom(e);
}

static int connect_services(struct boot *b, struct error *e) {
        const struct endpoint_choice s3 = config_endpoint(b->config, b->config->endpoint_s3),
                                     kms = config_endpoint(b->config, b->config->endpoint_kms);
        int r;

        r = s3_new(b->http, b->credentials, b->region, &s3, &b->s3, e);
        if (r == 0)
                r = kms_new(b->http, b->credentials, b->region, &kms, b->config->kms_deadline_ms, &b->kms, e);
        return r;
}

int boot_ask_metadata(struct boot *b, struct error *e) {
        int r;

        r = imds_new(b->http, b->config->endpoint_imds, 0, &b->imds, e);
        if (r == 0)
                r = credentials_from_imds(b->imds, &b->credentials, e);
        /* Before what the operator says: a boot that fails there can still tell Auto Scaling. */
        if (r == 0)
                r = find_region(b, e);
        return r < 0 ? r : find_model(b, e);
}

int boot_locate(struct boot *b, struct error *e) {
        int r;

        boot_status("Asking the metadata service");
        report_begin(b->report, "metadata");
        r = boot_ask_metadata(b, e);
        if (r == 0)
                r = connect_services(b, e);
        report_end(b->report, "metadata", 0);
        return r;
}

void boot_identify(struct boot *b, bool required) {
        struct imds_identity id;

        if (b->instance_id[0] || imds_identity(b->imds, required, &id, NULL) < 0)
                return;
        memcpy(b->instance_id, id.instance_id, sizeof b->instance_id);
        report_text(b->report, "identity.account", id.account);
        report_text(b->report, "identity.instance_id", id.instance_id);
        report_text(b->report, "identity.instance_type", id.instance_type);
        report_text(b->report, "identity.image_id", id.image_id);
        report_text(b->report, "identity.region", id.region);
}
