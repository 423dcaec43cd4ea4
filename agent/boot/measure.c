/* SPDX-License-Identifier: Apache-2.0 */

/* The model's digest into PCR15, or that of the set of all inputs, by one extend: no PCR15 tells of a part of the set.
 * An extend cannot be undone, so what can fail without the TPM comes before it. */

#include "boot/boot.h"

static int place_file(struct boot *b, const struct boot_input *in, size_t i, struct error *e) {
        const char *directory = in->asked->directory, *name;
        _cleanup_free_ char *path = NULL;
        uint8_t unused[VERITY_DIGEST];
        uint64_t size;

        if (asprintf(&path, "%s%s%s", directory ?: "", directory ? "/" : "", in->opening.model->files[i].path) < 0)
                return fail_oom(e);
        unseal_result(b->sealed.pipeline, in->file_of[i], &name, &size, unused);
        return handoff_place(b->handoff, name, path, e);
}

static int place_files(struct boot *b, struct boot_input *in, struct error *e) {
        for (size_t i = 0; i < in->opening.model->n_files; i++) {
                int r = place_file(b, in, i, e);

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
        const struct boot_sealed *s = &b->sealed;
        const struct model *m = s->inputs[0].opening.model; /* the only one, unless there are several inputs */
        const char *log = b->config->measurement_log;

        if (b->config->measure == MEASURE_SHA384)
                return tpm_pcr_measure_sha384(b->services.tpm, PCR_MODEL, m->digest, &what, log, ret, e);
        return tpm_pcr_measure(b->services.tpm, PCR_MODEL, s->set_text ?: m->text,
                               s->set_text ? s->set_text_size : m->text_size, &what, log, ret, e);
}

static void describe_input(const struct boot_input *in, FILE *f) {
        const struct model *m = in->opening.model;

        if (m)
                fprintf(f, "%smodel %s version %s from %s", in->label ?: "", m->name ?: m->files[0].path,
                        m->version ?: "-", in->source);
        else
                fprintf(f, "%sabsent", in->label);
}

static int describe(const struct boot *b, char **ret, struct error *e) {
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);
        bool failed;

        if (!f)
                return fail_oom(e);
        for (size_t i = 0; i < b->sealed.n_inputs; i++) {
                fputs(i > 0 ? "; " : "", f);
                describe_input(&b->sealed.inputs[i], f);
        }
        failed = ferror(f);
        if (fclose(f) != 0 || failed)
                return fail_oom(e);
        *ret = TAKE(text);
        return 0;
}

static int measure(struct boot *b, struct error *e) {
        _cleanup_free_ char *description = NULL;
        struct pcr_changes changes;
        int r;

        r = boot_each_input(b, place_files, e);
        if (r < 0)
                return r;
        r = describe(b, &description, e);
        if (r < 0)
                return r;
        r = extend(b, description, &changes, e);
        if (r < 0)
                return r;
        report_changes(b, &changes);
        return 0;
}

int boot_measure(struct boot *b, struct error *e) {
        int r;

        boot_status("Measuring the model into PCR 15");
        report_begin(b->report, "measure");
        boot_fix_outcome(b);
        r = boot_ignore_notices(b, e);
        if (r == 0)
                r = measure(b, e);
        report_end(b->report, "measure", 0);
        return r;
}
