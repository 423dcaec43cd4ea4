/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot doctor: why a boot was refused, and what to do. */

#include <sys/timex.h>

#include "basic/file.h"
#include "basic/utf8.h"
#include "doctor/diagnosis.h"
#include "keypolicy/explain.h"
#include "replay/read.h"
#include "verbs/command.h"

enum { REPORT_MAX = 1024 * 1024 };

static const char default_report[] = "/run/sealboot/report.json";
static const char kernel_event_log[] = "/sys/kernel/security/tpm0/binary_bios_measurements";

struct arguments {
        const char *policy, *key, *event_log, *principal;
        struct references references;
        bool as_json;
};

static void arguments_done(struct arguments *a) {
        references_done(&a->references);
}
#define _cleanup_arguments_ _cleanup_(arguments_done)

static int add_reference(void *field, const struct option_row *row, char *value, struct error *e) {
        (void) row;
        return references_read(field, value, e);
}

static const struct option_row option_rows[] = {
        { 0, "policy", "FILE", "the key policy ('aws kms get-key-policy --policy-name default --key-id ...' prints it)",
          OPTION_TEXT(struct arguments, policy) },
        { 0, "reference", "FILE", "reference measurements of the image that was meant to boot; repeatable",
          OPTION_CALL(add_reference, struct arguments, references) },
        { 0, "key", "FILE", "what 'aws kms describe-key --key-id ...' printed to the key's owner",
          OPTION_TEXT(struct arguments, key) },
        { 0, "event-log", "FILE", "the instance's binary_bios_measurements: finds the first event that differs",
          OPTION_TEXT(struct arguments, event_log) },
        { 0, "principal", "ARN", "the instance's role, where KMS did not name it in its refusal",
          OPTION_TEXT(struct arguments, principal) },
        { 0, "json", NULL, "print the result as JSON", OPTION_FLAG(struct arguments, as_json) },
        OPTION_HELP,
        {},
};

static const struct command_line command_line = {
        .program = PROGRAM " doctor",
        .usage = "Usage: sealboot doctor [OPTION...] [REPORT]\n\n"
                 "Turn a refused boot into an answer: its outcome, the clock, the identity, the key, the PCRs\n"
                 "that were presented and the condition of the key policy that they fail, each with what to do.\n\n"
                 "REPORT is the agent's boot report, copied from the instance or its console; '-' reads standard\n"
                 "input. On the instance itself leave it out: /run/sealboot/report.json, the event log and the\n"
                 "clock are looked at.",
        .rows = option_rows,
        .more = "Exit codes: 0 no problem was found; 73 problems were found; 74 not a key policy; 71 not an event\n"
                "log; 2 usage, or not a boot report; 61 a file cannot be read.",
        .operands_max = 1,
        .needed = "one report at most",
};

static int read_json(const char *path, json_object **ret, struct error *e) {
        _cleanup_free_ uint8_t *text = NULL;
        size_t n;
        int r;

        r = file_read(path, REPORT_MAX, FAILURE_IO, &text, &n, e);
        return r < 0 ? r : json_parse((const char *) text, n, FAILURE_USAGE, path, ret, e);
}

static bool clock_is_unsynchronized(void) {
        struct timex t = {};

        return adjtimex(&t) == TIME_ERROR;
}

static const char *const state_words[] = {
        [REMARK_GOOD] = "ok",
        [REMARK_PROBLEM] = "problem",
        [REMARK_UNKNOWN] = "unknown",
};

static void print_json(const struct diagnosis *d) {
        _cleanup_json_ json_object *o = json_object_new_object();
        json_object *remarks = json_object_new_array();

        for (size_t i = 0; i < d->n; i++) {
                json_object *one = json_object_new_object();

                json_object_object_add(one, "topic", json_object_new_string(d->remarks[i].topic));
                json_object_object_add(one, "state", json_object_new_string(state_words[d->remarks[i].state]));
                json_object_object_add(one, "text", json_object_new_string(d->remarks[i].text));
                json_object_object_add(one, "advice",
                                       d->remarks[i].advice ? json_object_new_string(d->remarks[i].advice) : NULL);
                json_object_array_add(remarks, one);
        }
        json_object_object_add(o, "remarks", remarks);
        json_object_object_add(o, "principal", d->principal[0] ? json_object_new_string(d->principal) : NULL);
        json_object_object_add(o, "policy", d->evaluated ? explain_evaluation_json(&d->evaluation) : NULL);
        puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
}

/* A report quotes what an instance received. */
static void print_line(const char *prefix, const char *text) {
        fputs(prefix, stdout);
        utf8_print(stdout, text);
        putchar('\n');
}

static void print_text(const struct diagnosis *d) {
        const char *topic = "";

        for (size_t i = 0; i < d->n; i++) {
                const struct remark *r = &d->remarks[i];

                if (!streq(topic, r->topic))
                        printf("%s:\n", r->topic);
                topic = r->topic;
                print_line(r->state == REMARK_PROBLEM ? "  PROBLEM  "
                           : r->state == REMARK_GOOD  ? "  ok       "
                                                      : "  unknown  ",
                           r->text);
                if (r->advice)
                        print_line("           what to do: ", r->advice);
        }
}

static int examine(const struct arguments *a, const char *report, struct diagnosis *ret, struct key_policy *policy,
                   struct error *e) {
        _cleanup_json_ json_object *boot = NULL, *key = NULL;
        _cleanup_event_log_ struct event_log log = {};
        struct evidence evidence = { .principal = a->principal };
        const char *path = a->event_log;
        int r;

        r = read_json(report ?: default_report, &boot, e);
        if (r < 0)
                command_advise(e, FAILURE_USAGE,
                               "Give the boot report by itself: /run/sealboot/report.json of the instance.");
        if (r == 0 && a->policy)
                r = key_policy_read(a->policy, policy, e);
        if (r == 0 && a->key)
                r = read_json(a->key, &key, e);
        if (r == 0 && !path && !report && access(kernel_event_log, R_OK) == 0)
                path = kernel_event_log;
        if (r == 0 && path)
                r = event_log_read(path, &log, e);
        if (r < 0)
                return r;
        evidence.report = boot;
        evidence.policy = a->policy ? policy : NULL;
        evidence.references = &a->references;
        evidence.key = key;
        evidence.log = path ? &log : NULL;
        evidence.unsynchronized = !report && clock_is_unsynchronized();
        return diagnose(&evidence, ret, e);
}

int cmd_doctor(int argc, char *argv[]) {
        _cleanup_arguments_ struct arguments a = {};
        _cleanup_key_policy_ struct key_policy policy = {};
        _cleanup_diagnosis_ struct diagnosis d = {};
        size_t problems = 0;
        struct error e;
        struct operands operands;
        int code;

        if (!command_parse(&command_line, argc, argv, &a, &operands, &code))
                return code;
        if (examine(&a, operands.items[0], &d, &policy, &e) < 0)
                return command_failed(&e);
        if (a.as_json)
                print_json(&d);
        else
                print_text(&d);
        for (size_t i = 0; i < d.n; i++)
                problems += d.remarks[i].state == REMARK_PROBLEM;
        return problems == 0 ? 0 : FAILURE_MISMATCH;
}
