/* SPDX-License-Identifier: Apache-2.0 */

/* Measure, then publish. Everything that can fail without the TPM comes before the extend: it cannot be taken back. */

#include "aws/autoscaling.h"
#include "boot/boot.h"

static int place_files(struct boot *b, struct error *e) {
        for (size_t i = 0; i < b->model->n_files; i++) {
                uint8_t unused[VERITY_DIGEST];
                const char *name;
                uint64_t size;
                int r;

                unseal_result(b->unseal, b->file_of[i], &name, &size, unused);
                r = handoff_place(b->handoff, name, b->model->files[i].path, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void report_changes(struct boot *b, const struct pcr_changes *changes) {
        for (size_t i = 0; i < changes->n; i++) {
                const struct pcr_change *c = &changes->banks[i];
                char place[64];

                snprintf(place, sizeof place, "pcr15.%s.before", c->algorithm->name);
                report_hex(b->report, place, "", c->before, c->algorithm->size);
                snprintf(place, sizeof place, "pcr15.%s.digest", c->algorithm->name);
                report_hex(b->report, place, "", c->digest, c->algorithm->size);
                snprintf(place, sizeof place, "pcr15.%s.after", c->algorithm->name);
                report_hex(b->report, place, "", c->after, c->algorithm->size);
        }
}

static int extend(struct boot *b, const char *description, struct pcr_changes *ret, struct error *e) {
        const struct measurement what = { .event_type = "sealboot-model", .description = description };
        _cleanup_free_ char *text = NULL;
        size_t n;
        int r;

        if (b->config->measure == MEASURE_SHA384)
                return tpm_pcr_measure_sha384(b->tpm, PCR_MODEL, b->model->digest, &what, b->config->measurement_log,
                                              ret, e);
        r = model_text(b->model, &text, &n, e);
        return r < 0 ? r : tpm_pcr_measure(b->tpm, PCR_MODEL, text, n, &what, b->config->measurement_log, ret, e);
}

int boot_measure(struct boot *b, struct error *e) {
        _cleanup_free_ char *description = NULL;
        struct pcr_changes changes;
        int r;

        boot_status("Measuring the model into PCR 15");
        report_begin(b->report, "measure");
        boot_end(b);
        r = place_files(b, e);
        if (r == 0 && asprintf(&description, "model %s version %s from %s", b->model->name ?: b->model->files[0].path,
                               b->model->version ?: "-", b->source) < 0)
                r = fail_oom(e);
        if (r == 0)
                r = extend(b, description, &changes, e);
        if (r == 0)
                report_changes(b, &changes);
        report_end(b->report, "measure", 0);
        return r;
}

int boot_publish(struct boot *b, struct error *e) {
        int r;

        report_begin(b->report, "publish");
        r = handoff_publish(b->handoff, &b->published, e);
        if (r == 0)
                report_text(b->report, "model.path", b->published);
        report_end(b->report, "publish", 0);
        return r;
}

void boot_end(struct boot *b) {
        pthread_mutex_lock(&b->critical);
}

/* ---- what Auto Scaling is told */

static int complete_hook(struct boot *b, const struct lifecycle_hook *hook, bool proceed, struct error *e) {
        struct endpoint_choice endpoint;

        if (b->region)
                boot_identify(b, true);
        if (!hook->instance_id[0])
                return fail(e, FAILURE_LIFECYCLE, -ENODATA, hook->name,
                            "the metadata service did not tell which instance this is");
        endpoint = config_endpoint(b->config, b->config->endpoint_autoscaling);
        return autoscaling_complete(b->http, b->credentials, b->region, &endpoint, hook, proceed, e);
}

void boot_complete_hook(struct boot *b, bool proceed) {
        struct lifecycle_hook hook = { .instance_id = b->instance_id };
        struct error e = { 0 };

        if (!b->http)
                return; /* nothing was begun, not even a report */
        /* A boot that failed early has not asked where it is. */
        if (!b->imds)
                (void) boot_ask_metadata(b, &e);
        hook.group = b->launch.hook_name ? b->launch.hook_group : b->config->hook_group;
        hook.name = b->launch.hook_name ?: b->config->hook_name;
        if (!hook.name)
                return;
        if (complete_hook(b, &hook, proceed, &e) == 0)
                report_text(b->report, "lifecycle.result", proceed ? "CONTINUE" : "ABANDON");
        else {
                report_text(b->report, "lifecycle.error", e.reason);
                failure_print(stderr, "sealboot-agent", &e);
        }
        (void) report_write(b->report, NULL); /* that it can be written is known */
}

/* ---- taking down */

void boot_forget(struct boot *b) {
        /* The pipeline first: its workers borrow the keys. */
        unseal_free(TAKE(b->unseal));
        if (b->recipient_started)
                pthread_join(b->recipient_thread, NULL);
        b->recipient_started = false;
        recipient_free(TAKE(b->recipient));
        secret_free(TAKE(b->data_key));
        b->header = NULL; /* a single object's was the pipeline's, and its keys with it */
        key_candidates_done(&b->candidates);
}

void boot_done(struct boot *b) {
        boot_forget(b);
        free(b->single_name);
        free(b->manifest);
        message_header_free(b->manifest_header);
        model_free(b->model);
        free(b->file_of);
        kms_free(b->kms);
        s3_free(b->s3);
        credential_source_free(b->credentials);
        imds_free(b->imds);
        http_free(b->http);
        tpm_close(b->tpm);
        handoff_free(b->handoff);
        report_free(b->report);
        launch_done(&b->launch);
        free(b->source);
        free(b->region);
        config_free(b->config);
}
