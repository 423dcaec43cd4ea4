/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot status: how far a boot is, or how the last one went, and what PCR15 holds. */

#include <sys/stat.h>

#include "basic/clock.h"
#include "basic/file.h"
#include "basic/utf8.h"
#include "evidence/measurement-log.h"
#include "fleet/boot-view.h"
#include "fleet/pcr15.h"
#include "owner/progress.h"
#include "page/html.h"
#include "report/metrics.h"
#include "verbs/command.h"

enum { FOLLOW_PERIOD_MS = 500, SILENT_SECONDS = 60 };

static const char default_report[] = "/run/sealboot/report.json";

struct arguments {
        const char *html, *log;
        bool follow, prometheus, json;
};

static const struct option_row option_rows[] = {
        { 'f', "follow", NULL, "show the progress until the boot has ended", OPTION_FLAG(struct arguments, follow) },
        { 0, "html", "FILE", "write a page for a browser: one file, without script",
          OPTION_TEXT(struct arguments, html) },
        { 0, "prometheus", NULL, "print metrics in Prometheus's text format",
          OPTION_FLAG(struct arguments, prometheus) },
        { 0, "measurement-log", "FILE", "the measurement log (default: the instance's own, if no REPORT is given)",
          OPTION_TEXT(struct arguments, log) },
        OPTION_JSON(struct arguments, json),
        OPTION_HELP,
        {},
};

static const struct command_line command_line = {
        .program = PROGRAM " status",
        .usage = "Usage: sealboot status [OPTION...] [REPORT]\n\n"
                 "Show a boot: the stage that is running and how far it is, or each stage of a boot that has\n"
                 "ended, and what was measured into PCR15.\n\n"
                 "Leave REPORT out on the instance itself: the verb then reads /run/sealboot/report.json, the\n"
                 "measurement log and the kernel's view of PCR15. '-' reads standard input.",
        .rows = option_rows,
        .more = "Exit codes: 0 the model is published, or the boot is running; 73 the boot failed, or PCR15 is not\n"
                "what the log leads to; 2 usage, or not a boot report; 61 a file cannot be read; 71 not a\n"
                "measurement log.",
        .operands_max = 1,
        .needed = "one report at most",
};

static int read_report(const char *path, struct record *ret, struct error *e) {
        _cleanup_free_ uint8_t *text = NULL;
        size_t n;
        int r;

        r = file_read(path, RECORD_MAX, FAILURE_IO, &text, &n, e);
        if (r < 0) {
                if (r == -ENOENT && streq(path, default_report))
                        fail_advice(e, "No agent has started on this machine since it was switched on. Elsewhere, give "
                                       "the report's name.");
                return r;
        }
        return record_parse((char *) text, n, path, ret, e);
}

/* ---- a terminal */

static void print_field(const char *name, const char *text) {
        if (!text[0])
                return;
        printf("  %-10s ", name);
        utf8_print(stdout, text);
        putchar('\n');
}

/* How long ago the agent has written the report; -1: not known. */
static double silent_seconds(const char *path) {
        struct stat st;

        return stat(path, &st) == 0 ? (double) (wall_clock_seconds() - st.st_mtime) : -1;
}

static const char *doing(const struct record *r) {
        if (r->progress.doing[0])
                return r->progress.doing;
        for (size_t i = r->n_stages; i > 0; i--)
                if (!r->stages[i - 1].ended)
                        return r->stages[i - 1].name;
        return "between two stages";
}

/* "unsealing: 12.3 GB of 70.0 GB (17 %) at 1.23 GB/s, 47.0 s left" */
static void progress_text(const struct record *r, char *ret, size_t size) {
        const struct record_stage *stage = NULL;
        char done[16], total[16], left[DURATION_TEXT_SIZE];
        double ms;

        snprintf(ret, size, "%s", doing(r));
        utf8_make_printable(ret);
        for (size_t i = r->n_stages; i > 0 && !stage; i--)
                if (!r->stages[i - 1].ended)
                        stage = &r->stages[i - 1];
        ms = stage ? r->progress.at_ms - stage->began_ms : 0;
        if (!(r->progress.total > 0 && r->progress.bytes > 0 && r->progress.bytes <= r->progress.total && ms > 0))
                return;
        duration_text((r->progress.total - r->progress.bytes) / r->progress.bytes * ms, left);
        snprintf(ret, size, "%s: %s of %s (%.0f %%) at %.2f GB/s, %s left", stage->name,
                 format_bytes((uint64_t) r->progress.bytes, done), format_bytes((uint64_t) r->progress.total, total),
                 100 * r->progress.bytes / r->progress.total, r->progress.bytes / 1e6 / ms, left);
        utf8_make_printable(ret);
}

static void print_outcome(const struct record *r, const char *path) {
        double now_ms = (double) wall_clock_ms() - r->began_ms, silent = silent_seconds(path);
        char text[DURATION_TEXT_SIZE], line[512], date[DATE_TEXT_SIZE];

        date_text((int64_t) (r->began_ms / 1000), date);
        duration_text(r->outcome <= RECORD_WAITING ? MAX_OF(now_ms, 0.0) : r->duration_ms, text);
        printf("%s %s %s, began %s\n", record_outcome_word(r->outcome), r->outcome <= RECORD_WAITING ? "for" : "after",
               text, date);
        if (r->outcome != RECORD_RUNNING)
                return;
        progress_text(r, line, sizeof line);
        print_field("now", line);
        if (silent > SILENT_SECONDS) {
                duration_text(1000 * silent, text);
                printf("  %-10s the agent has written nothing for %s: it waits, or was killed (systemctl status "
                       "sealboot-agent)\n",
                       "warning", text);
        }
}

static void print_failure(const struct record *r) {
        char line[4096 + 64];

        if (r->outcome != RECORD_FAILED)
                return;
        snprintf(line, sizeof line, "%s (exit code %.0f): %s", r->failure.name, r->failure.exit_code, r->failure.title);
        print_field("failure", line);
        print_field("on", r->failure.subject);
        print_field("why", r->failure.reason);
        print_field("what to do", r->failure.advice);
}

static void print_boot(const struct record *r, const char *path, const struct pcr15 *pcr15) {
        char line[4096 * 2 + 64], bytes[16];

        print_outcome(r, path);
        print_failure(r);
        snprintf(line, sizeof line, "%s%s%s%s%s", r->model, r->model[0] ? " " : "", r->model_version,
                 r->model_bytes > 0 ? ", " : "",
                 r->model_bytes > 0 ? format_bytes((uint64_t) r->model_bytes, bytes) : "");
        print_field("model", line);
        print_field("digest", r->model_digest);
        print_field("source", r->source);
        snprintf(line, sizeof line, "%s%s%s%s%s", r->instance, r->type[0] ? ", " : "", r->type, r->image[0] ? ", " : "",
                 r->image);
        print_field("instance", line);
        if (r->n_stages > 0)
                printf("\n  %-14s %11s\n", "stage", "took");
        boot_print_stages(stdout, r);
        pcr15_print(stdout, pcr15);
}

/* ---- other forms */

static int write_page(const char *path, const struct record *r, const struct pcr15 *pcr15, struct error *e) {
        static const char *const classes[] = { "run", "run", "ok", "bad" };
        char text[DURATION_TEXT_SIZE];
        _cleanup_free_ char *page = NULL;
        size_t n = 0;
        FILE *f = open_memstream(&page, &n);

        if (!f)
                return fail_oom(e);
        html_begin(f, "sealboot status");
        duration_text(r->outcome <= RECORD_WAITING ? r->progress.at_ms : r->duration_ms, text);
        fprintf(f, "<h1>Boot <span class=\"%s\">%s</span> after %s</h1>\n", classes[r->outcome],
                record_outcome_word(r->outcome), text);
        if (r->outcome == RECORD_FAILED) {
                fputs("<table class=\"facts\">\n", f);
                html_row(f, "Failure", r->failure.name);
                html_row(f, "What", r->failure.title);
                html_row(f, "On", r->failure.subject);
                html_row(f, "Why", r->failure.reason);
                html_row(f, "What to do", r->failure.advice);
                fputs("</table>\n", f);
        }
        fputs("<h2>Stages</h2>\n", f);
        boot_draw_stages(f, r);
        fputs("<h2>What booted</h2>\n", f);
        boot_draw_facts(f, r);
        pcr15_draw(f, pcr15);
        html_end(f);
        if (fclose(f) != 0)
                return fail_oom(e);
        return file_write(path, page, n, 0644, e);
}

static int print_json(const struct record *r, const struct pcr15 *pcr15, struct error *e) {
        _cleanup_json_ json_object *o = json_object_new_object();

        json_object_object_add(o, "report", json_object_get(r->json));
        json_object_object_add(o, "pcr15", pcr15_json(pcr15));
        return command_print_json(o, JSON_C_TO_STRING_PRETTY, e);
}

static int print_metrics(const struct record *r, struct error *e) {
        _cleanup_free_ char *text = metrics_of_report(r->json);

        if (!text)
                return fail_oom(e);
        fputs(text, stdout);
        return 0;
}

/* ---- following */

/* Shows the progress over one line of a terminal, or as a line for each change, until the boot has ended. */
static int follow(const char *path, struct record *r, struct error *e) {
        bool terminal = isatty(STDOUT_FILENO) == 1;
        char last[512] = "", line[512];

        while (r->outcome <= RECORD_WAITING) {
                struct record next = {};
                int k;

                progress_text(r, line, sizeof line);
                if (!streq(line, last))
                        printf(terminal ? "\r\033[K%s" : "%s\n", line);
                memcpy(last, line, sizeof last);
                if (fflush(stdout) != 0)
                        return 0; /* the end of the program tells */
                clock_sleep_ms(FOLLOW_PERIOD_MS);
                k = read_report(path, &next, e);
                if (k < 0)
                        return k;
                record_done(r);
                *r = next;
        }
        if (terminal)
                fputs("\r\033[K", stdout);
        return 0;
}

static int show(const struct arguments *a, const char *report, bool *ret_good, struct error *e) {
        _cleanup_record_ struct record record = {};
        _cleanup_pcr15_ struct pcr15 pcr15 = {};
        const char *path = report ?: default_report;
        int r;

        r = read_report(path, &record, e);
        if (r < 0)
                return r;
        r = a->follow ? follow(path, &record, e) : 0;
        if (r < 0)
                return r;
        r = pcr15_read(a->log ?: report ? a->log : MEASUREMENT_LOG_PATH, a->log != NULL, !report, &pcr15, e);
        if (r < 0)
                return r;
        r = a->html ? write_page(a->html, &record, &pcr15, e) : 0;
        if (r < 0)
                return r;
        *ret_good = record.outcome != RECORD_FAILED && !pcr15.differs;
        if (a->prometheus)
                return print_metrics(&record, e);
        if (a->json)
                return print_json(&record, &pcr15, e);
        print_boot(&record, path, &pcr15);
        return 0;
}

int cmd_status(int argc, char *argv[]) {
        struct arguments a = {};
        struct operands operands;
        struct error e = {};
        bool good = false;
        int code;

        if (!command_parse(&command_line, argc, argv, &a, &operands, &code))
                return code;
        if (a.json && a.prometheus)
                return command_usage("status", "--json and --prometheus exclude each other");
        if (a.follow && operands.n > 0 && streq(operands.items[0], "-"))
                return command_usage("status", "--follow needs a file that changes, not standard input");
        if (show(&a, operands.items[0], &good, &e) < 0)
                return command_failed(&e);
        return good ? 0 : FAILURE_MISMATCH;
}
