/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot replay: what the logs of a boot say was measured, and where that departs from what was expected.
 *
 * Parse the options, gather what they name, compare the log with each of it, print. */

#include "basic/encode.h"
#include "evidence/tpm.h"
#include "measure/inputs.h"
#include "replay/comparison.h"
#include "replay/read.h"
#include "verbs/command.h"
#include "verbs/document-file.h"
#include "verbs/replay-report.h"

enum { LOGS_MAX = 16, TPM_WAIT_MS = 2000 };

struct arguments {
        struct operands logs;
        const char *document, *against, *tcti, *bank;
        bool tpm, json;
        uint32_t pcrs;
        struct reference expected; /* --expect */
        struct references references;
        struct inputs inputs;
};

struct session {
        struct arguments arguments;
        struct replayed replayed;
        /* What it is compared with, beside `expected`, `references` and `inputs` of the arguments. */
        uint8_t *document_bytes; /* which `document` borrows from */
        struct document document;
        struct tpm *tpm;
        uint8_t tpm_pcrs[PCR_COUNT][PCR_DIGEST_MAX];
        struct event_log against;
        struct comparisons comparisons;
};

static void session_done(struct session *s) {
        comparisons_done(&s->comparisons);
        event_log_done(&s->against);
        tpm_close(s->tpm);
        free(s->document_bytes);
        replayed_done(&s->replayed);
        references_done(&s->arguments.references);
        inputs_done(&s->arguments.inputs);
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

/* --- gathering ---------------------------------------------------------------------------------------------------- */

static int add_log(struct event_log *log, const char *path, struct error *e) {
        _cleanup_event_log_ struct event_log more = {};
        bool first = log->n_banks == 0 && log->n == 0;
        int r;

        r = event_log_read(path, &more, e);
        if (r < 0)
                return r;
        if (!first)
                return event_log_append(log, &more, e);
        *log = TAKE_STRUCT(more);
        return 0;
}

static void warn_unfinished(const char *path) {
        if (event_log_is_unfinished(path))
                fprintf(stderr,
                        PROGRAM ": %s is marked as unfinished: an event may have been measured and not logged\n", path);
}

static int gather_own_logs(struct event_log *log, struct error *e) {
        int r;

        r = add_log(log, FIRMWARE_LOG_PATH, e);
        if (r < 0 && e->failure == FAILURE_IO)
                fail_advice(e, "Run as root on a machine with a TPM, or name the logs of another.");
        if (r < 0)
                return r;
        if (access(MEASUREMENT_LOG_PATH, R_OK) < 0)
                return 0;
        warn_unfinished(MEASUREMENT_LOG_PATH);
        return add_log(log, MEASUREMENT_LOG_PATH, e);
}

static int gather_logs(const struct operands *paths, struct event_log *log, struct error *e) {
        int r;

        if (paths->n == 0)
                return gather_own_logs(log, e);
        for (size_t i = 0; i < paths->n; i++) {
                warn_unfinished(paths->items[i]);
                r = add_log(log, paths->items[i], e);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int gather_replay(struct session *s, struct error *e) {
        const struct pcr_algorithm *bank;
        int r;

        s->replayed.pcrs = s->arguments.pcrs;
        r = gather_logs(&s->arguments.logs, &s->replayed.log, e);
        if (r < 0)
                return r;
        r = replay_choose_bank(&s->replayed.log, s->arguments.bank, &bank, e);
        return r < 0 ? r : replay_log(&s->replayed.log, bank, &s->replayed.replay, e);
}

static int gather_document(struct session *s, struct error *e) {
        const char *path = s->arguments.document;
        size_t n;
        int r;

        if (!path)
                return 0;
        r = document_read(path, &s->document_bytes, &n, e);
        return r < 0 ? r : document_parse(s->document_bytes, n, path, &s->document, e);
}

static int gather_tpm(struct session *s, struct error *e) {
        int r;

        if (!s->arguments.tpm)
                return 0;
        r = tpm_open(s->arguments.tcti, TPM_WAIT_MS, &s->tpm, e);
        return r < 0 ? r : tpm_pcr_read(s->tpm, s->replayed.replay.bank->id, s->arguments.pcrs, s->tpm_pcrs, e);
}

static int gather_good_log(struct session *s, struct error *e) {
        return s->arguments.against ? event_log_read(s->arguments.against, &s->against, e) : 0;
}

static int gather_image(struct session *s, struct error *e) {
        return s->arguments.inputs.given ? inputs_load(&s->arguments.inputs, e) : 0;
}

static int gather(struct session *s, struct error *e) {
        static int (*const steps[])(struct session * s, struct error * e) = {
                gather_replay, gather_document, gather_tpm, gather_good_log, gather_image,
        };
        int r;

        for (size_t i = 0; i < ELEMENTS(steps); i++) {
                r = steps[i](s, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* --- comparing ---------------------------------------------------------------------------------------------------- */

static int compare_references(struct session *s, struct error *e) {
        return compare_with_references(&s->comparisons, &s->replayed, &s->arguments.references, e);
}

static int compare_expected(struct session *s, struct error *e) {
        return compare_with_reference(&s->comparisons, &s->replayed, "given values", &s->arguments.expected, e);
}

static int compare_document(struct session *s, struct error *e) {
        return compare_with_document(&s->comparisons, &s->replayed, s->arguments.document, &s->document, e);
}

static int compare_tpm(struct session *s, struct error *e) {
        return compare_with_tpm(&s->comparisons, &s->replayed, tpm_name(s->tpm), s->tpm_pcrs, e);
}

static int compare_good_log(struct session *s, struct error *e) {
        return compare_with_log(&s->comparisons, &s->replayed, s->arguments.against, &s->against, e);
}

static int compare_image(struct session *s, struct error *e) {
        return compare_with_prediction(&s->comparisons, &s->replayed, &s->arguments.inputs.boot, e);
}

static int compare_one(struct session *s, const char *option, int (*compare)(struct session *s, struct error *e),
                       struct error *e) {
        size_t before = s->comparisons.n;
        int r;

        r = compare(s, e);
        if (r < 0 || s->comparisons.n > before)
                return r;
        /* An empty comparison must not count as success. */
        fail(e, FAILURE_USAGE, -EINVAL, option, "it compares nothing: the other side has none of the PCRs asked for");
        fail_advice(e, "Give --pcr a PCR that it has a value for, or leave --pcr out.");
        return -EINVAL;
}

static int compare(struct session *s, struct error *e) {
        const struct arguments *a = &s->arguments;
        const struct {
                const char *option;
                bool wanted;
                int (*compare)(struct session *s, struct error *e);
        } all[] = {
                { "--reference", a->references.n > 0, compare_references },
                { "--expect", a->expected.present != 0, compare_expected },
                { "--document", a->document, compare_document },
                { "--tpm", a->tpm, compare_tpm },
                { "--against", a->against, compare_good_log },
                { "--image", a->inputs.given, compare_image },
        };
        int r;

        for (size_t i = 0; i < ELEMENTS(all); i++) {
                if (!all[i].wanted)
                        continue;
                r = compare_one(s, all[i].option, all[i].compare, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* --- the verb ----------------------------------------------------------------------------------------------------- */

static int print(const struct session *s, struct error *e) {
        if (s->arguments.json)
                return replay_print_json(&s->replayed, &s->comparisons, e);
        replay_print_text(&s->replayed, &s->comparisons);
        return 0;
}

int cmd_replay(int argc, char *argv[]) {
        _cleanup_(session_done) struct session s = { .arguments.pcrs = PCRS_ALL };
        struct error e;
        int code;

        if (!command_parse(&command_line, argc, argv, &s.arguments, &s.arguments.logs, &code))
                return code;
        if (gather(&s, &e) < 0 || compare(&s, &e) < 0 || print(&s, &e) < 0)
                return command_failed(&e);
        return replay_is_as_expected(&s.replayed, &s.comparisons) ? 0 : FAILURE_MISMATCH;
}
