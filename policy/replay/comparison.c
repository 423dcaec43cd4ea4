/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/comparison.h"

static uint32_t bit(unsigned pcr) {
        return UINT32_C(1) << pcr;
}

void replayed_done(struct replayed *r) {
        event_log_done(&r->log);
}

bool replayed_wants(const struct replayed *r, unsigned pcr) {
        return pcr < PCR_COUNT && r->pcrs & bit(pcr);
}

size_t replayed_altered(const struct replayed *r) {
        size_t n = 0;

        for (size_t i = 0; i < r->log.n; i++)
                n += replayed_wants(r, r->log.events[i].pcr) && r->log.events[i].text_is == TEXT_NOT_MEASURED;
        return n;
}

bool comparisons_all_equal(const struct comparisons *c) {
        for (size_t i = 0; i < c->n; i++)
                if (!c->items[i].difference.equal)
                        return false;
        return true;
}

void comparisons_done(struct comparisons *c) {
        for (size_t i = 0; i < c->n; i++)
                free(c->items[i].with);
        free(c->items);
        *c = (struct comparisons) {};
}

/* --- one PCR ------------------------------------------------------------------------------------------------------ */

/* The other side of a comparison, in the words of the output. */
struct side {
        const char *kind, *name; /* "reference", "image.json"; kind may be empty */
};

static int add(struct comparisons *c, const struct side *side, unsigned pcr, struct comparison **ret, struct error *e) {
        struct comparison *larger = reallocarray(c->items, c->n + 1, sizeof *larger), *new;

        if (!larger)
                return fail_oom(e);
        c->items = larger;
        new = &c->items[c->n];
        *new = (struct comparison) { .pcr = pcr };
        if (asprintf(&new->with, "%s%s%s", side->kind, side->kind[0] ? " " : "", side->name) < 0)
                return fail_oom(e);
        c->n++;
        *ret = new;
        return 0;
}

static int add_value(struct comparisons *c, const struct replayed *r, const struct side *side, unsigned pcr,
                     const uint8_t *value, enum value_kind kind, struct error *e) {
        const struct pcr_algorithm *bank = r->replay.bank;
        struct comparison *new;
        int k;

        if (!replayed_wants(r, pcr))
                return 0;
        k = add(c, side, pcr, &new, e);
        if (k < 0)
                return k;
        new->has_value = true;
        memcpy(new->value, value, bank->size);
        return compare_value(&r->log, bank, pcr, value, kind, &new->difference, e);
}

static int add_events(struct comparisons *c, const struct replayed *r, const struct side *side, uint32_t pcrs,
                      const struct expected_event *expected, size_t n, struct error *e) {
        for (unsigned pcr = 0; pcr < PCR_COUNT; pcr++) {
                struct comparison *new;
                int k;

                if (!(pcrs & bit(pcr)) || !replayed_wants(r, pcr))
                        continue;
                k = add(c, side, pcr, &new, e);
                if (k < 0)
                        return k;
                k = compare_events(&r->log, r->replay.bank, pcr, expected, n, &new->difference, e);
                if (k < 0)
                        return k;
        }
        return 0;
}

static int need_sha384(const struct replayed *r, const char *subject, struct error *e) {
        if (streq(r->replay.bank->name, "sha384"))
                return 0;
        return fail(e, FAILURE_USAGE, -EINVAL, subject,
                    "its values are of the SHA-384 bank, and the logs are replayed in %s", r->replay.bank->name);
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static int add_reference(struct comparisons *c, const struct replayed *r, const struct side *side,
                         const struct reference *reference, struct error *e) {
        char subject[sizeof e->subject];
        int k;

        snprintf(subject, sizeof subject, "%s%s%s", side->kind, side->kind[0] ? " " : "", side->name);
        k = need_sha384(r, subject, e);
        if (k < 0)
                return k;
        for (unsigned pcr = 0; pcr < PCR_COUNT_MAX; pcr++) {
                if (!reference_has(reference, pcr))
                        continue;
                if (pcr >= PCR_COUNT)
                        return fail(e, FAILURE_USAGE, -EINVAL, subject,
                                    "it holds PCR%u, which no TPM has: is it the reference of an enclave?", pcr);
                k = add_value(c, r, side, pcr, reference->pcr[pcr], VALUE_EXPECTED, e);
                if (k < 0)
                        return k;
        }
        return 0;
}

static size_t mismatches(const struct replayed *r, const struct reference *reference) {
        size_t n = 0;

        for (unsigned pcr = 0; pcr < PCR_COUNT; pcr++)
                n += reference_has(reference, pcr) && replayed_wants(r, pcr) &&
                     memcmp(reference->pcr[pcr], r->replay.pcr[pcr], SHA384_SIZE) != 0;
        return n;
}

int compare_with_references(struct comparisons *c, const struct replayed *r, const struct references *all,
                            struct error *e) {
        const struct reference *nearest = NULL;

        for (size_t i = 0; i < all->n; i++) {
                const struct reference *one = &all->items[i];

                if (one->present & r->pcrs && (!nearest || mismatches(r, one) < mismatches(r, nearest)))
                        nearest = one;
        }
        return nearest ? add_reference(c, r, &(struct side) { "reference", nearest->source }, nearest, e) : 0;
}

int compare_with_reference(struct comparisons *c, const struct replayed *r, const char *name,
                           const struct reference *reference, struct error *e) {
        return add_reference(c, r, &(struct side) { "", name }, reference, e);
}

int compare_with_document(struct comparisons *c, const struct replayed *r, const char *path,
                          const struct document *document, struct error *e) {
        const struct side side = { "document", path };
        int k;

        k = need_sha384(r, path, e);
        if (k < 0)
                return k;
        if (document->kind != DOCUMENT_NITROTPM)
                return fail(e, FAILURE_DOCUMENT, -EINVAL, path,
                            "it is the document of a Nitro Enclave, whose PCRs are not those of a TPM");
        for (unsigned pcr = 0; pcr < PCR_COUNT; pcr++) {
                if (!document->pcr[pcr])
                        continue;
                k = add_value(c, r, &side, pcr, document->pcr[pcr], VALUE_MEASURED, e);
                if (k < 0)
                        return k;
        }
        return 0;
}

int compare_with_tpm(struct comparisons *c, const struct replayed *r, const char *name,
                     const uint8_t values[static PCR_COUNT][PCR_DIGEST_MAX], struct error *e) {
        int k;

        for (unsigned pcr = 0; pcr < PCR_COUNT; pcr++) {
                k = add_value(c, r, &(struct side) { "TPM", name }, pcr, values[pcr], VALUE_MEASURED, e);
                if (k < 0)
                        return k;
        }
        return 0;
}

/* --- lists of events ---------------------------------------------------------------------------------------------- */

int compare_with_log(struct comparisons *c, const struct replayed *r, const char *path, const struct event_log *good,
                     struct error *e) {
        _cleanup_free_ struct expected_event *expected = calloc(good->n + 1, sizeof *expected);
        uint32_t pcrs = r->replay.touched;
        size_t n = 0;

        if (!expected)
                return fail_oom(e);
        for (size_t i = 0; i < good->n; i++) {
                const struct log_event *event = &good->events[i];

                if (!event->extended)
                        continue;
                expected[n++] = (struct expected_event) { event->pcr, event->type,
                                                          log_event_digest(event, r->replay.bank), event->text };
                pcrs |= bit(event->pcr);
        }
        if (r->pcrs != PCRS_ALL) /* a PCR that was named is compared even where neither log touches it */
                pcrs = r->pcrs;
        return add_events(c, r, &(struct side) { "log", path }, pcrs, expected, n, e);
}

static void expect_prediction(const struct prediction *p, struct expected_event *expected) {
        for (size_t i = 0; i < p->n; i++)
                expected[i] = (struct expected_event) { p->events[i].pcr, p->events[i].type, p->events[i].digest,
                                                        p->events[i].what };
}

/* PCR2 is predicted event by event, or given as a value. */
static uint32_t predicted_pcrs(const struct predicted_boot *boot) {
        return bit(PCR_DRIVER_CONFIGURATION) | bit(PCR_IMAGE) | bit(PCR_COMMAND_LINE) |
               (boot->pcr2 ? 0 : bit(PCR_DRIVERS)) | (boot->keys ? bit(PCR_SECURE_BOOT) : 0);
}

int compare_with_prediction(struct comparisons *c, const struct replayed *r, const struct predicted_boot *boot,
                            struct error *e) {
        const struct side side = { "prediction for", boot->images[0].path };
        _cleanup_prediction_ struct prediction p = {}, sections = {};
        _cleanup_free_ struct expected_event *expected = NULL;
        int k;

        k = need_sha384(r, "the prediction", e);
        if (k < 0)
                return k;
        k = predict(boot, &p, e);
        if (k < 0)
                return k;
        k = predict_sections(&boot->images[boot->n_images - 1].pe, &sections, e);
        if (k < 0)
                return k;
        expected = calloc(p.n + sections.n + 1, sizeof *expected);
        if (!expected)
                return fail_oom(e);
        expect_prediction(&p, expected);
        expect_prediction(&sections, expected + p.n);
        if (boot->pcr2) {
                k = add_value(c, r, &side, PCR_DRIVERS, boot->pcr2, VALUE_EXPECTED, e);
                if (k < 0)
                        return k;
        }
        return add_events(c, r, &side, predicted_pcrs(boot), expected, p.n + sections.n, e);
}
