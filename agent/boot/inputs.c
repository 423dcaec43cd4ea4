/* SPDX-License-Identifier: Apache-2.0 */

/* The inputs of a boot: one where the configuration is for one model, or those of several parties. */

#include "boot/boot.h"

int boot_set_inputs(struct boot *b, struct error *e) {
        struct boot_sealed *s = &b->sealed;

        s->n_inputs = b->config->n_inputs;
        for (size_t i = 0; i < s->n_inputs; i++) {
                struct boot_input *in = &s->inputs[i];

                in->asked = &b->config->inputs[i];
                in->place = &s->launch.places[i];
                in->accepted = input_accepted(b->config, in->asked);
                in->unsealed.bucket = in->place->bucket;
                if (b->config->several &&
                    asprintf(&in->label, "input %s of %s: ", in->asked->name, in->asked->owner) < 0) {
                        in->label = NULL;
                        return fail_oom(e);
                }
                in->unsealed.label = in->label;
        }
        return 0;
}

/* The error of a part that knows of no inputs names the key or the object: names the party before it. */
static void name_party(const struct boot_input *in, struct error *e) {
        char subject[sizeof e->subject];

        if (!in->label || strncmp(e->subject, in->label, strlen(in->label)) == 0)
                return;
        snprintf(subject, sizeof subject, "%s%s", in->label, e->subject);
        memcpy(e->subject, subject, sizeof subject);
}

int boot_each_input(struct boot *b, boot_input_step *step, struct error *e) {
        for (size_t i = 0; i < b->sealed.n_inputs; i++) {
                struct boot_input *in = &b->sealed.inputs[i];
                int r;

                if (!in->place->bucket)
                        continue;
                r = step(b, in, e);
                if (r < 0) {
                        name_party(in, e);
                        return r;
                }
        }
        return 0;
}

void boot_forget_inputs(struct boot *b) {
        for (size_t i = 0; i < b->sealed.n_inputs; i++)
                opening_forget_key(&b->sealed.inputs[i].opening); /* a single object's header was the pipeline's */
}

void boot_inputs_done(struct boot *b) {
        for (size_t i = 0; i < b->sealed.n_inputs; i++) {
                struct boot_input *in = &b->sealed.inputs[i];

                opening_done(&in->opening);
                message_header_free(in->header);
                free(in->file_of);
                free(in->source);
                free(in->subject);
                free(in->label);
        }
        free(b->sealed.set_text);
}

int boot_name_source(struct boot *b, struct boot_input *in, const char *key, struct error *e) {
        char *source, *subject;

        if (asprintf(&source, "s3://%s/%s", in->place->bucket, key) < 0)
                return fail_oom(e);
        if (asprintf(&subject, "%s%s", in->label ?: "", source) < 0) {
                free(source);
                return fail_oom(e);
        }
        /* The thread that waits for SIGTERM may be reading the old name. */
        pthread_mutex_lock(&b->critical);
        free(in->source);
        free(in->subject);
        in->source = source;
        in->subject = subject;
        pthread_mutex_unlock(&b->critical);
        return 0;
}

const char *boot_subject(const struct boot *b) {
        if (b->config && b->config->several)
                return "the inputs";
        return b->sealed.inputs[0].source ?: "";
}

/* ---- the boot report */

/* "kms.request_id", or "inputs.NAME.kms.request_id". */
static const char *place_of(const struct boot_input *in, const char *what, char *buffer, size_t size) {
        if (!in->asked->name)
                return what;
        snprintf(buffer, size, "inputs.%s.%s", in->asked->name, what);
        return buffer;
}

void boot_report_put(struct boot *b, const struct boot_input *in, const char *what, json_object *value) {
        char buffer[128];

        report_put(b->report, place_of(in, what, buffer, sizeof buffer), value);
}

void boot_report_text(struct boot *b, const struct boot_input *in, const char *what, const char *text) {
        boot_report_put(b, in, what, json_object_new_string(text));
}
