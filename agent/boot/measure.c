/* SPDX-License-Identifier: Apache-2.0 */

/* The model's digest into PCR15. An extend cannot be undone, so what can fail without the TPM comes before it. */

#include "boot/boot.h"

static int place_files(struct boot *b, struct error *e) {
        const struct model *m = b->sealed.opening.model;

        for (size_t i = 0; i < m->n_files; i++) {
                uint8_t unused[VERITY_DIGEST];
                const char *name;
                uint64_t size;
                int r;

                unseal_result(b->sealed.pipeline, b->result.file_of[i], &name, &size, unused);
                r = handoff_place(b->handoff, name, m->files[i].path, e);
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
        const struct model *m = b->sealed.opening.model;
        const char *log = b->config->measurement_log;

        if (b->config->measure == MEASURE_SHA384)
                return tpm_pcr_measure_sha384(b->services.tpm, PCR_MODEL, m->digest, &what, log, ret, e);
        return tpm_pcr_measure(b->services.tpm, PCR_MODEL, m->text, m->text_size, &what, log, ret, e);
}

static int measure(struct boot *b, struct error *e) {
        const struct model *m = b->sealed.opening.model;
        _cleanup_free_ char *description = NULL;
        struct pcr_changes changes;
        int r;

        r = place_files(b, e);
        if (r < 0)
                return r;
        if (asprintf(&description, "model %s version %s from %s", m->name ?: m->files[0].path, m->version ?: "-",
                     b->sealed.source) < 0)
                return fail_oom(e);
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
        r = measure(b, e);
        report_end(b->report, "measure", 0);
        return r;
}
