/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot replay: what the logs of a boot say was measured, and where that departs from what was expected. */

#include "basic/encode.h"
#include "evidence/tpm.h"
#include "measure/inputs.h"
#include "replay/compare.h"
#include "replay/outside.h"
#include "replay/read.h"
#include "verbs/command.h"
#include "verbs/document-file.h"
#include "verify/document.h"

#define ALL_PCRS ((UINT32_C(1) << PCR_COUNT) - 1)

enum { LOGS_MAX = 16, FINDINGS_MAX = 6 * PCR_COUNT, TPM_WAIT_MS = 2000 };

struct arguments {
        struct operands logs;
        const char *document, *against, *tcti, *bank;
        bool tpm, json;
        uint32_t pcrs;             /* shown and compared */
        struct reference expected; /* --expect */
        struct references references;
        struct inputs inputs;
};

struct finding {
        const char *with; /* "reference image.json" */
        unsigned pcr;
        uint8_t value[PCR_DIGEST_MAX];
        bool has_value; /* comparisons of lists have none */
        struct difference difference;
};

struct session {
        struct arguments arguments;
        struct event_log log;
        struct replay replay;
        struct finding findings[FINDINGS_MAX]; /* six kinds of comparison */
        size_t n_findings;
        char *names[LOGS_MAX]; /* what finding.with points to */
        size_t n_names;
};

static void session_done(struct session *s) {
        event_log_done(&s->log);
        references_done(&s->arguments.references);
        inputs_done(&s->arguments.inputs);
        for (size_t i = 0; i < s->n_names; i++)
                free(s->names[i]);
}

static bool wanted(const struct session *s, unsigned pcr) {
        return pcr < PCR_COUNT && s->arguments.pcrs & UINT32_C(1)
                                                              << pcr; /* events that only note can name any number */
}

static const char *name_comparison(struct session *s, const char *kind, const char *what) {
        char *name;

        if (s->n_names >= LOGS_MAX || asprintf(&name, "%s %s", kind, what) < 0)
                return kind;
        return s->names[s->n_names++] = name;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static int add_log(struct session *s, const char *path, struct error *e) {
        _cleanup_event_log_ struct event_log more = {};
        bool first = s->log.n_banks == 0 && s->log.n == 0;
        int k;

        k = event_log_read(path, &more, e);
        if (k < 0)
                return k;
        if (!first)
                return event_log_append(&s->log, &more, e);
        s->log = TAKE_STRUCT(more);
        return 0;
}

static void warn_unfinished(const char *path) {
        if (event_log_is_unfinished(path))
                fprintf(stderr,
                        PROGRAM ": %s is marked as unfinished: an event may have been measured and not logged\n", path);
}

static int read_logs(struct session *s, struct error *e) {
        struct arguments *a = &s->arguments;
        int k = 0;

        if (a->logs.n == 0) {
                k = add_log(s, FIRMWARE_LOG_PATH, e);
                if (k < 0 && e->failure == FAILURE_IO)
                        fail_advice(e, "Run as root on a machine with a TPM, or name the logs of another.");
                if (k == 0 && access(MEASUREMENT_LOG_PATH, R_OK) == 0) {
                        warn_unfinished(MEASUREMENT_LOG_PATH);
                        k = add_log(s, MEASUREMENT_LOG_PATH, e);
                }
        }
        for (size_t i = 0; i < a->logs.n && k == 0; i++) {
                warn_unfinished(a->logs.items[i]);
                k = add_log(s, a->logs.items[i], e);
        }
        return k;
}

/* SHA-384 where the log has it, for the policies' sake; else the bank that the fewest events lack. */
static int choose_bank(const struct session *s, const struct pcr_algorithm **ret, struct error *e) {
        const char *name = s->arguments.bank ?: "sha384";
        const struct pcr_algorithm *best = NULL;

        for (size_t i = 0; i < s->log.n_banks; i++) {
                if (streq(s->log.banks[i]->name, name)) {
                        *ret = s->log.banks[i];
                        return 0;
                }
                if (!best || event_log_lacking(&s->log, s->log.banks[i]) < event_log_lacking(&s->log, best))
                        best = s->log.banks[i];
        }
        if (s->arguments.bank)
                return fail(e, FAILURE_USAGE, -ENOENT, "--bank", "the logs have no digests of bank %s", name);
        if (!best)
                return fail(e, FAILURE_EVENT_LOG, -ENOENT, "",
                            s->log.n ? "the logs have no digest of any PCR that can be computed"
                                     : "the logs are empty");
        *ret = best;
        return 0;
}

static int replay_all(struct session *s, struct error *e) {
        const struct pcr_algorithm *bank;
        int k;

        k = choose_bank(s, &bank, e);
        if (k < 0)
                return k;
        replay_start(&s->replay, bank, s->log.locality);
        for (size_t i = 0; i < s->log.n && k == 0; i++)
                k = replay_event(&s->replay, &s->log.events[i], e);
        return k;
}

/* --- comparing ---------------------------------------------------------------------------------------------------- */

static int need_sha384(const struct session *s, const char *what, struct error *e) {
        if (streq(s->replay.bank->name, "sha384"))
                return 0;
        return fail(e, FAILURE_USAGE, -EINVAL, what, "is of the SHA-384 bank, and the logs are replayed in %s",
                    s->replay.bank->name);
}

static int find_value(struct session *s, const char *with, unsigned pcr, const uint8_t *value, enum value_kind kind,
                      struct error *e) {
        struct finding *f = &s->findings[s->n_findings];
        int k;

        if (!wanted(s, pcr) || s->n_findings >= ELEMENTS(s->findings))
                return 0;
        *f = (struct finding) { .with = with, .pcr = pcr, .has_value = true };
        memcpy(f->value, value, s->replay.bank->size);
        k = compare_value(&s->log, s->replay.bank, pcr, value, kind, &f->difference, e);
        if (k == 0)
                s->n_findings++;
        return k;
}

static size_t mismatches(const struct session *s, const struct reference *r) {
        size_t n = 0;

        for (unsigned pcr = 0; pcr < PCR_COUNT; pcr++)
                if (reference_has(r, pcr) && wanted(s, pcr) &&
                    memcmp(r->pcr[pcr], s->replay.pcr[pcr], SHA384_SIZE) != 0)
                        n++;
        return n;
}

static int compare_reference(struct session *s, const char *with, const struct reference *r, struct error *e) {
        int k = need_sha384(s, with, e);

        for (unsigned pcr = 0; pcr < PCR_COUNT_MAX && k == 0; pcr++)
                if (reference_has(r, pcr) && pcr >= PCR_COUNT)
                        k = fail(e, FAILURE_USAGE, -EINVAL, with, "holds PCR%u, which no TPM has: is it an enclave's?",
                                 pcr);
                else if (reference_has(r, pcr))
                        k = find_value(s, with, pcr, r->pcr[pcr], VALUE_EXPECTED, e);
        return k;
}

/* A boot must match one accepted set as a whole; when it matches none, the nearest one is explained. */
static int compare_references(struct session *s, struct error *e) {
        const struct references *all = &s->arguments.references;
        const struct reference *nearest = NULL;

        for (size_t i = 0; i < all->n; i++) {
                const struct reference *r = &all->items[i];

                if ((r->present & s->arguments.pcrs) && (!nearest || mismatches(s, r) < mismatches(s, nearest)))
                        nearest = r;
        }
        return nearest ? compare_reference(s, name_comparison(s, "reference", nearest->source), nearest, e) : 0;
}

static int compare_document(struct session *s, struct error *e) {
        const char *path = s->arguments.document;
        const char *with = name_comparison(s, "document", path);
        _cleanup_free_ uint8_t *data = NULL;
        struct document d = {};
        size_t n;
        int k;

        k = document_read(path, &data, &n, e);
        if (k == 0)
                k = document_parse(data, n, path, &d, e);
        if (k == 0)
                k = need_sha384(s, path, e);
        if (k == 0 && d.kind != DOCUMENT_NITROTPM)
                k = fail(e, FAILURE_DOCUMENT, -EINVAL, path, "is of a Nitro Enclave: its PCRs are not a TPM's");
        for (unsigned pcr = 0; pcr < PCR_COUNT && k == 0; pcr++)
                if (d.pcr[pcr])
                        k = find_value(s, with, pcr, d.pcr[pcr], VALUE_MEASURED, e);
        return k;
}

static int compare_tpm(struct session *s, struct error *e) {
        uint8_t values[PCR_COUNT][PCR_DIGEST_MAX];
        _cleanup_tpm_ struct tpm *tpm = NULL;
        const char *with;
        int k;

        k = tpm_open(s->arguments.tcti, TPM_WAIT_MS, &tpm, e);
        if (k == 0)
                k = tpm_pcr_read(tpm, s->replay.bank->id, s->arguments.pcrs, values, e);
        if (k < 0)
                return k;
        with = name_comparison(s, "TPM", tpm_name(tpm));
        for (unsigned pcr = 0; pcr < PCR_COUNT && k == 0; pcr++)
                k = find_value(s, with, pcr, values[pcr], VALUE_MEASURED, e);
        return k;
}

static int find_events(struct session *s, const char *with, uint32_t pcrs, const struct expected_event *expected,
                       size_t n, struct error *e) {
        int k = 0;

        for (unsigned pcr = 0; pcr < PCR_COUNT && k == 0; pcr++) {
                struct finding *f = &s->findings[s->n_findings];

                if (!(pcrs & UINT32_C(1) << pcr) || !wanted(s, pcr) || s->n_findings >= ELEMENTS(s->findings))
                        continue;
                *f = (struct finding) { .with = with, .pcr = pcr };
                k = compare_events(&s->log, s->replay.bank, pcr, expected, n, &f->difference, e);
                if (k == 0)
                        s->n_findings++;
        }
        return k;
}

static void expect_prediction(const struct prediction *p, struct expected_event *expected) {
        for (size_t i = 0; i < p->n; i++)
                expected[i] = (struct expected_event) { p->events[i].pcr, p->events[i].type, p->events[i].digest,
                                                        p->events[i].what };
}

static int compare_prediction(struct session *s, struct error *e) {
        struct inputs *inputs = &s->arguments.inputs;
        const struct predicted_boot *boot = &inputs->boot;
        _cleanup_prediction_ struct prediction p = {}, sections = {};
        _cleanup_free_ struct expected_event *expected = NULL;
        uint32_t pcrs = 1 << PCR_DRIVER_CONFIGURATION | 1 << PCR_IMAGE | 1 << PCR_COMMAND_LINE;
        const char *with;
        int k;

        k = inputs_load(inputs, e);
        if (k == 0)
                k = need_sha384(s, "the prediction", e);
        if (k == 0)
                k = predict(boot, &p, e);
        if (k == 0)
                k = predict_sections(&boot->images[boot->n_images - 1].pe, &sections, e);
        if (k < 0)
                return k;
        expected = calloc(p.n + sections.n + 1, sizeof *expected);
        if (!expected)
                return fail_oom(e);
        expect_prediction(&p, expected);
        expect_prediction(&sections, expected + p.n);
        with = name_comparison(s, "prediction for", boot->images[0].path);
        k = boot->pcr2 ? find_value(s, with, PCR_DRIVERS, boot->pcr2, VALUE_EXPECTED, e) : 0;
        pcrs |= (boot->pcr2 ? 0 : 1 << PCR_DRIVERS) | (boot->keys ? 1 << PCR_SECURE_BOOT : 0);
        return k < 0 ? k : find_events(s, with, pcrs, expected, p.n + sections.n, e);
}

static int compare_log(struct session *s, struct error *e) {
        const char *path = s->arguments.against;
        _cleanup_event_log_ struct event_log other = {};
        _cleanup_free_ struct expected_event *expected = NULL;
        uint32_t pcrs = s->replay.touched;
        size_t n = 0;
        int k;

        k = event_log_read(path, &other, e);
        if (k < 0)
                return k;
        expected = calloc(other.n + 1, sizeof *expected);
        if (!expected)
                return fail_oom(e);
        for (size_t i = 0; i < other.n; i++) {
                const struct log_event *event = &other.events[i];
                const uint8_t *digest = log_event_digest(event, s->replay.bank);

                if (!event->extended)
                        continue;
                expected[n++] = (struct expected_event) { event->pcr, event->type, digest, event->text };
                pcrs |= UINT32_C(1) << event->pcr;
        }
        if (s->arguments.pcrs != ALL_PCRS) /* those asked for are compared even where neither log touches them */
                pcrs = s->arguments.pcrs;
        return find_events(s, name_comparison(s, "log", path), pcrs, expected, n, e);
}

static int compare_given(struct session *s, struct error *e) {
        return compare_reference(s, "given values", &s->arguments.expected, e);
}

/* Each comparison that was asked for must have compared something: nothing found is not nothing wrong. */
static int compare_all(struct session *s, struct error *e) {
        const struct arguments *a = &s->arguments;
        const struct {
                const char *option;
                bool wanted;
                int (*compare)(struct session *s, struct error *e);
        } comparisons[] = {
                { "--reference", a->references.n > 0, compare_references },
                { "--expect", a->expected.present != 0, compare_given },
                { "--document", a->document, compare_document },
                { "--tpm", a->tpm, compare_tpm },
                { "--against", a->against, compare_log },
                { "--image", a->inputs.given, compare_prediction },
        };

        for (size_t i = 0; i < ELEMENTS(comparisons); i++) {
                size_t before = s->n_findings;
                int k;

                if (!comparisons[i].wanted)
                        continue;
                k = comparisons[i].compare(s, e);
                if (k < 0)
                        return k;
                if (s->n_findings == before) {
                        fail(e, FAILURE_USAGE, -EINVAL, comparisons[i].option,
                             "compares nothing: it has none of the PCRs asked for");
                        fail_advice(e, "Give --pcr a PCR that it has a value for, or leave --pcr out.");
                        return -EINVAL;
                }
        }
        return 0;
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

static size_t altered_events(const struct session *s) {
        size_t n = 0;

        for (size_t i = 0; i < s->log.n; i++)
                n += wanted(s, s->log.events[i].pcr) && s->log.events[i].text_is == TEXT_NOT_MEASURED;
        return n;
}

/* A log that says other things than were measured is not that of a good boot, wherever its digests lead. */
static bool all_equal(const struct session *s) {
        for (size_t i = 0; i < s->n_findings; i++)
                if (!s->findings[i].difference.equal)
                        return false;
        return altered_events(s) == 0;
}

static void print_findings(const struct session *s) {
        char hex[2 * PCR_DIGEST_MAX + 1];

        for (size_t i = 0; i < s->n_findings; i++) {
                const struct finding *f = &s->findings[i];

                if (i == 0 || !streq(f->with, s->findings[i - 1].with))
                        printf("\nCompared with %s:\n", f->with);
                if (f->difference.equal) {
                        printf("  PCR%-2u equal\n", f->pcr);
                        continue;
                }
                printf("  PCR%-2u DIFFERS: %s\n", f->pcr, f->difference.meaning);
                if (f->difference.event)
                        printf("        at event %zu of %s: %s, %s\n", f->difference.event->number,
                               f->difference.event->log, f->difference.event->type_name, f->difference.event->text);
                if (f->has_value) {
                        hex_encode(f->value, s->replay.bank->size, hex);
                        printf("        there:  %s\n", hex);
                        hex_encode(s->replay.pcr[f->pcr], s->replay.bank->size, hex);
                        printf("        by log: %s\n", hex);
                }
        }
}

/* Records of NV indexes belong to no PCR, so they are shown when no PCRs were chosen. */
static void print_events(const struct session *s) {
        const char *log = NULL;

        for (size_t i = 0; i < s->log.n; i++) {
                const struct log_event *event = &s->log.events[i];

                if (event->elsewhere ? s->arguments.pcrs != ALL_PCRS : !event->extended || !wanted(s, event->pcr))
                        continue;
                if (event->log != log)
                        printf("%s%s\n", log ? "\n" : "", event->log);
                log = event->log;
                if (event->elsewhere) {
                        printf("  %4zu  -      %-32s  %s\n", event->number, event->type_name, event->text);
                        continue;
                }
                printf("  %4zu  PCR%-2u  %-32s  %s\n", event->number, event->pcr, event->type_name, event->text);
                if (event->text_is == TEXT_NOT_MEASURED)
                        printf("               NOT WHAT WAS MEASURED: the digest is not of this text\n");
                if (event_outside(event))
                        printf("               NOTE: %s\n", event_outside(event));
        }
}

static void print_text(const struct session *s) {
        static const uint32_t in_policies =
                1 << PCR_DRIVERS | 1 << PCR_IMAGE | 1 << PCR_SECURE_BOOT | 1 << PCR_COMMAND_LINE | 1 << PCR_MODEL;
        char hex[2 * PCR_DIGEST_MAX + 1];

        print_events(s);
        printf("\n%s bank:\n", s->replay.bank->name);
        for (unsigned pcr = 0; pcr < PCR_COUNT; pcr++) {
                /* Those that policies name are shown even where nothing was measured: that they are zero matters. */
                if (!wanted(s, pcr) || !((s->replay.touched | in_policies) & UINT32_C(1) << pcr))
                        continue;
                hex_encode(s->replay.pcr[pcr], s->replay.bank->size, hex);
                printf("  PCR%-2u %s\n", pcr,
                       s->replay.unknown & UINT32_C(1) << pcr ? "unknown: an event lacks a digest for this bank" : hex);
        }
        print_findings(s);
        if (altered_events(s) > 0)
                printf("\nThe log was ALTERED: %zu of its events say other things than were measured.\n",
                       altered_events(s));
}

static json_object *event_to_json(const struct session *s, const struct log_event *event) {
        const uint8_t *digest = log_event_digest(event, s->replay.bank);
        json_object *o = json_object_new_object();
        char hex[2 * PCR_DIGEST_MAX + 1];

        if (!o)
                return NULL;
        json_object_object_add(o, "log", json_object_new_string(event->log));
        json_object_object_add(o, "number", json_object_new_int64((int64_t) event->number));
        json_object_object_add(o, "pcr", json_object_new_int((int) event->pcr));
        json_object_object_add(o, "type", json_object_new_string(event->type_name));
        json_object_object_add(o, "text", json_object_new_string(event->text));
        json_object_object_add(o, "text_measured",
                               event->text_is == TEXT_UNCHECKED
                                       ? NULL
                                       : json_object_new_boolean(event->text_is == TEXT_MEASURED));
        if (event_outside(event))
                json_object_object_add(o, "note", json_object_new_string(event_outside(event)));
        if (digest) {
                hex_encode(digest, s->replay.bank->size, hex);
                json_object_object_add(o, "digest", json_object_new_string(hex));
        }
        return o;
}

static json_object *finding_to_json(const struct session *s, const struct finding *f) {
        json_object *o = json_object_new_object();
        char hex[2 * PCR_DIGEST_MAX + 1];

        if (!o)
                return NULL;
        json_object_object_add(o, "with", json_object_new_string(f->with));
        json_object_object_add(o, "pcr", json_object_new_int((int) f->pcr));
        json_object_object_add(o, "equal", json_object_new_boolean(f->difference.equal));
        if (f->has_value) {
                hex_encode(f->value, s->replay.bank->size, hex);
                json_object_object_add(o, "value", json_object_new_string(hex));
        }
        if (!f->difference.equal)
                json_object_object_add(o, "meaning", json_object_new_string(f->difference.meaning));
        if (f->difference.event)
                json_object_object_add(o, "event", event_to_json(s, f->difference.event));
        return o;
}

static json_object *elsewhere_to_json(const struct log_event *event) {
        json_object *o = json_object_new_object();

        if (!o)
                return NULL;
        json_object_object_add(o, "log", json_object_new_string(event->log));
        json_object_object_add(o, "number", json_object_new_int64((int64_t) event->number));
        json_object_object_add(o, "type", json_object_new_string(event->type_name));
        json_object_object_add(o, "text", json_object_new_string(event->text));
        return o;
}

static int print_json(const struct session *s, struct error *e) {
        _cleanup_json_ json_object *o = json_object_new_object();
        json_object *events = json_object_new_array(), *pcrs = json_object_new_object(),
                    *findings = json_object_new_array();
        json_object *elsewhere = json_object_new_array();
        char hex[2 * PCR_DIGEST_MAX + 1], name[sizeof "PCR4294967295"];

        if (!o || !events || !pcrs || !findings || !elsewhere)
                return fail_oom(e);
        for (size_t i = 0; i < s->log.n; i++)
                if (s->log.events[i].elsewhere)
                        json_object_array_add(elsewhere, elsewhere_to_json(&s->log.events[i]));
        for (size_t i = 0; i < s->log.n; i++)
                if (s->log.events[i].extended && wanted(s, s->log.events[i].pcr))
                        json_object_array_add(events, event_to_json(s, &s->log.events[i]));
        for (unsigned pcr = 0; pcr < PCR_COUNT; pcr++) {
                if (!wanted(s, pcr) || s->replay.unknown & UINT32_C(1) << pcr)
                        continue;
                snprintf(name, sizeof name, "PCR%u", pcr);
                hex_encode(s->replay.pcr[pcr], s->replay.bank->size, hex);
                json_object_object_add(pcrs, name, json_object_new_string(hex));
        }
        for (size_t i = 0; i < s->n_findings; i++)
                json_object_array_add(findings, finding_to_json(s, &s->findings[i]));
        json_object_object_add(o, "bank", json_object_new_string(s->replay.bank->name));
        json_object_object_add(o, "pcrs", pcrs);
        json_object_object_add(o, "events", events);
        json_object_object_add(o, "elsewhere", elsewhere);
        json_object_object_add(o, "comparisons", findings);
        json_object_object_add(o, "equal", json_object_new_boolean(all_equal(s)));
        puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
        return 0;
}

/* --- the command line --------------------------------------------------------------------------------------------- */

static int parse_pcrs(void *field, const struct option_row *row, char *text, struct error *e) {
        uint32_t pcrs = 0;

        (void) row;
        for (const char *at = text;; at++) {
                uint64_t pcr;

                if (decimal_read(&at, PCR_COUNT - 1, &pcr) < 0 || (*at && *at != ','))
                        return fail(e, FAILURE_USAGE, -EINVAL, "--pcr", "\"%s\" is not a list of PCRs such as 4,7,12",
                                    text);
                pcrs |= UINT32_C(1) << pcr;
                if (!*at)
                        break;
        }
        *(uint32_t *) field = pcrs;
        return 0;
}

static int parse_expect(void *field, const struct option_row *row, char *text, struct error *e) {
        const char *at = strncmp(text, "PCR", 3) == 0 ? text + 3 : "";
        uint8_t value[SHA384_SIZE];
        uint64_t pcr;

        (void) row;
        if (decimal_read(&at, PCR_COUNT - 1, &pcr) < 0 || *at++ != '=' || hex_decode(at, value, sizeof value) < 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "--expect", "\"%.120s\" is not PCRn= and 96 hex digits", text);
        reference_set(field, (unsigned) pcr, value);
        return 0;
}

static int add_reference(void *field, const struct option_row *row, char *path, struct error *e) {
        (void) row;
        return references_read(field, path, e);
}

static int set_tpm(void *arguments, const struct option_row *row, char *tcti, struct error *e) {
        struct arguments *a = arguments;

        (void) row;
        (void) e;
        a->tpm = true;
        a->tcti = tcti;
        return 0;
}

static int add_image(void *field, const struct option_row *row, char *path, struct error *e) {
        (void) row;
        return inputs_add_image(field, path, e);
}

static const struct option_row option_rows[] = {
        OPTION_HEADING("Compare with (all that are given):"),
        { 0, "reference", "FILE", "reference measurements; any one of several sets, whole",
          OPTION_CALL(add_reference, struct arguments, references) },
        { 0, "document", "FILE", "the PCRs of an attestation document (which `sealboot verify` checks)",
          OPTION_TEXT(struct arguments, document) },
        { 0, "tpm", "[TCTI]", "the PCRs of the live TPM", OPTION_CALL_WHOLE(set_tpm, 0) },
        { 0, "expect", "PCRn=HEX", "a value", OPTION_CALL(parse_expect, struct arguments, expected) },
        { 0, "against", "LOG", "the log of a good boot, event by event", OPTION_TEXT(struct arguments, against) },
        { 0, "image", "UKI.efi", "a prediction, event by event, with the options of `sealboot measure`:",
          OPTION_CALL(add_image, struct arguments, inputs) },
        INPUT_ROWS(struct arguments, inputs),
        OPTION_HEADING("Output:"),
        { 0, "bank", "NAME", "sha256, sha384, ... (default: sha384 where the logs have it)",
          OPTION_TEXT(struct arguments, bank) },
        { 0, "pcr", "N[,N...]", "only these PCRs", OPTION_CALL(parse_pcrs, struct arguments, pcrs) },
        { 0, "json", NULL, "print the result as JSON", OPTION_FLAG(struct arguments, json) },
        OPTION_HELP,
        {},
};

static const struct command_line command_line = {
        .program = PROGRAM " replay",
        .usage = "Usage: sealboot replay [OPTION...] [LOG...]\n\n"
                 "Replays event logs (the firmware's, then userspace's CEL-JSON) into PCR values, and names each "
                 "event.\n"
                 "Without LOG: this machine's own, " FIRMWARE_LOG_PATH "\n"
                 "and " MEASUREMENT_LOG_PATH ".",
        .rows = option_rows,
        .more = "Exit codes: 0 all comparisons hold, or none was asked for; 73 something differs, or an event's\n"
                "text is not what was measured; 71 a log is not well-formed; 70 an image is not; 72 a document is\n"
                "not; 2 usage, or nothing could be compared; 61 a file cannot be read; 20-22 TPM.\n\n"
                "Example: sealboot replay --pcr 2,4,7,12 --reference reference.json binary_bios_measurements",
        .operands_max = LOGS_MAX,
        .needed = "more than 16 logs",
};
_Static_assert(LOGS_MAX == 16, "as command_line says");

int cmd_replay(int argc, char *argv[]) {
        _cleanup_(session_done) struct session s = { .arguments.pcrs = ALL_PCRS };
        struct error e;
        int code, k;

        if (!command_parse(&command_line, argc, argv, &s.arguments, &s.arguments.logs, &code))
                return code;
        k = read_logs(&s, &e);
        if (k == 0)
                k = replay_all(&s, &e);
        if (k == 0)
                k = compare_all(&s, &e);
        if (k == 0 && s.arguments.json)
                k = print_json(&s, &e);
        if (k < 0)
                return command_failed(&e);
        if (!s.arguments.json)
                print_text(&s);
        return all_equal(&s) ? 0 : FAILURE_MISMATCH;
}
