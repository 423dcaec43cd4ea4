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
        bool json;
};

static void arguments_done(struct arguments *a) {
        references_done(&a->references);
}
#define _cleanup_arguments_ _cleanup_(arguments_done)

static const struct option_row option_rows[] = {
        { 0, "policy", "FILE", "the key policy ('aws kms get-key-policy --policy-name default --key-id ...' prints it)",
          OPTION_TEXT(struct arguments, policy) },
        { 0, "reference", "FILE", "reference measurements of the image that was meant to boot; repeatable",
          OPTION_CALL(command_reference, struct arguments, references) },
        { 0, "key", "FILE", "the key's state ('aws kms describe-key --key-id ...' prints it to the key's owner)",
          OPTION_TEXT(struct arguments, key) },
        { 0, "event-log", "FILE", "the instance's binary_bios_measurements, to find the first event that differs",
          OPTION_TEXT(struct arguments, event_log) },
        { 0, "principal", "ARN", "the instance's role, where KMS did not name it in its refusal",
          OPTION_TEXT(struct arguments, principal) },
        OPTION_JSON(struct arguments, json),
        OPTION_HELP,
        {},
};

static const struct command_line command_line = {
        .program = PROGRAM " doctor",
        .usage = "Usage: sealboot doctor [OPTION...] [REPORT]\n\n"
                 "Explain a refused boot: its outcome, the clock, the identity, the key, the PCRs that were\n"
                 "presented, and the condition of the key policy that they do not meet, each with advice. Also\n"
                 "which check of its GPUs failed, if the image tests them: see sealboot-gpu(8).\n\n"
                 "REPORT is the agent's boot report, copied from the instance or its console; '-' reads standard\n"
                 "input. Leave it out on the instance itself: the verb then reads /run/sealboot/report.json, the\n"
                 "event log and the clock.",
        .rows = option_rows,
        .more = "Exit codes: 0 no finding; 73 findings; 74 not a key policy; 71 not an event log; 2 usage, or not a\n"
                "boot report; 61 a file cannot be read.",
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

static int print_json(const struct diagnosis *d, struct error *e) {
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
        return command_print_json(o, JSON_C_TO_STRING_PRETTY, e);
}

/* A report may quote anything that the instance received. */
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

/* The log of this boot, on the instance itself; NULL: there is none. */
static const char *find_event_log(const struct arguments *a, const char *report) {
        if (a->event_log)
                return a->event_log;
        return !report && access(kernel_event_log, R_OK) == 0 ? kernel_event_log : NULL;
}

static int examine(const struct arguments *a, const char *report, struct diagnosis *ret, struct key_policy *policy,
                   struct error *e) {
        _cleanup_json_ json_object *boot = NULL, *key = NULL;
        _cleanup_event_log_ struct event_log log = {};
        const char *log_path = find_event_log(a, report);
        int r;

        r = read_json(report ?: default_report, &boot, e);
        if (r < 0) {
                command_advise(e, FAILURE_USAGE,
                               "Give the boot report by itself: /run/sealboot/report.json of the instance.");
                return r;
        }
        r = a->policy ? key_policy_read(a->policy, policy, e) : 0;
        if (r < 0)
                return r;
        r = a->key ? read_json(a->key, &key, e) : 0;
        if (r < 0)
                return r;
        r = log_path ? event_log_read(log_path, &log, e) : 0;
        if (r < 0)
                return r;
        const struct evidence evidence = {
                .report = boot,
                .policy = a->policy ? policy : NULL,
                .references = &a->references,
                .key = key,
                .log = log_path ? &log : NULL,
                .unsynchronized = !report && clock_is_unsynchronized(),
                .principal = a->principal,
        };
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
        if (!a.json)
                print_text(&d);
        else if (print_json(&d, &e) < 0)
                return command_failed(&e);
        for (size_t i = 0; i < d.n; i++)
                problems += d.remarks[i].state == REMARK_PROBLEM;
        return problems == 0 ? 0 : FAILURE_MISMATCH;
}
