/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/clock.h"
#include "basic/utf8.h"
#include "fleet/fleet-view.h"

const char *origin_name(const char *origin) {
        const char *slash = strrchr(origin, '/');

        return slash && slash[1] ? slash + 1 : origin;
}

static void print_summary(FILE *f, const struct fleet *fleet, const struct statistics *s) {
        char first[DATE_TEXT_SIZE], last[DATE_TEXT_SIZE];

        date_text((int64_t) (s->first_ms / 1000), first);
        date_text((int64_t) (s->last_ms / 1000), last);
        fprintf(f, "%zu boot%s", fleet->n, fleet->n == 1 ? "" : "s");
        if (fleet->n > 0)
                fprintf(f, " from %s to %s", first, last);
        fprintf(f, ": %zu published, %zu failed, %zu running", s->count[RECORD_PUBLISHED], s->count[RECORD_FAILED],
                s->count[RECORD_RUNNING]);
        if (s->count[RECORD_WAITING] > 0)
                fprintf(f, ", %zu in a warm pool", s->count[RECORD_WAITING]);
        if (fleet->n_bad > 0)
                fprintf(f, "; %zu bad report%s", fleet->n_bad, fleet->n_bad == 1 ? "" : "s");
        if (fleet->left_out > 0)
                fprintf(f, "; %zu older reports were not read (--limit)", fleet->left_out);
        fputc('\n', f);
}

static void print_spread(FILE *f, const char *name, const struct spread *s) {
        char text[3][DURATION_TEXT_SIZE], printable[64];

        snprintf(printable, sizeof printable, "%s", name);
        utf8_make_printable(printable);
        duration_text(s->p50_ms, text[0]);
        duration_text(s->p99_ms, text[1]);
        duration_text(s->max_ms, text[2]);
        fprintf(f, "  %-16s %6zu %12s %12s %12s\n", printable, s->n, text[0], text[1], text[2]);
}

static void print_line(FILE *f, const char *text) {
        utf8_print(f, text);
        fputc('\n', f);
}

static void print_failures(FILE *f, const struct statistics *s) {
        if (s->n_failures > 0)
                fputs("\nfailures\n", f);
        if (s->n_failures > FAILURES_SHOWN_MAX)
                fprintf(f, "  the %d most frequent of %zu kinds\n", FAILURES_SHOWN_MAX, s->n_failures);
        for (size_t i = 0; i < s->n_failures && i < FAILURES_SHOWN_MAX; i++) {
                const struct failure_group *g = &s->failures[i];
                char date[DATE_TEXT_SIZE];

                fprintf(f, "  %6zu  %3u ", g->n, g->exit_code);
                print_line(f, g->name);
                fputs("          ", f);
                print_line(f, g->reason);
                date_text((int64_t) (g->last->began_ms / 1000), date);
                fprintf(f, "          last: %s ", date);
                utf8_print(f, g->last->instance[0] ? g->last->instance : origin_name(g->last->origin));
                fputc('\n', f);
        }
}

static void print_slowest(FILE *f, const struct statistics *s) {
        if (s->n_slowest > 0)
                fputs("\nslowest\n", f);
        for (size_t i = 0; i < s->n_slowest; i++) {
                const struct record *r = s->slowest[i];
                size_t longest = record_longest_stage(r);
                char whole[DURATION_TEXT_SIZE], part[DURATION_TEXT_SIZE], date[DATE_TEXT_SIZE];

                duration_text(r->work_ms, whole);
                date_text((int64_t) (r->began_ms / 1000), date);
                fprintf(f, "  %12s  %s  ", whole, date);
                utf8_print(f, r->instance[0] ? r->instance : origin_name(r->origin));
                fputs(r->type[0] ? "  " : "", f);
                utf8_print(f, r->type);
                if (longest < r->n_stages) {
                        duration_text(r->stages[longest].duration_ms, part);
                        fprintf(f, "  %s in ", part);
                        utf8_print(f, r->stages[longest].name);
                }
                fputc('\n', f);
        }
}

static void print_bad(FILE *f, const struct fleet *fleet) {
        if (fleet->n_bad > 0)
                fputs("\nbad reports\n", f);
        for (size_t i = 0; i < fleet->n_bad; i++) {
                fputs("  ", f);
                utf8_print(f, origin_name(fleet->bad[i].origin));
                fputs(": ", f);
                print_line(f, fleet->bad[i].reason);
        }
}

void fleet_print(FILE *f, const struct fleet *fleet, const struct statistics *s) {
        print_summary(f, fleet, s);
        if (s->duration.n > 0) {
                fprintf(f, "\n  %-16s %6s %12s %12s %12s\n", "stage", "boots", "p50", "p99", "slowest");
                print_spread(f, "whole boot", &s->duration);
                if (s->server.n > 0)
                        print_spread(f, "server ready", &s->server);
        }
        for (size_t i = 0; i < s->n_stages; i++)
                print_spread(f, s->stages[i].name, &s->stages[i].spread);
        print_failures(f, s);
        print_slowest(f, s);
        print_bad(f, fleet);
}

/* ---- JSON */

static void add_ms(json_object *to, const char *key, double ms) {
        char text[32];

        snprintf(text, sizeof text, "%.3f", ms);
        json_object_object_add(to, key, json_object_new_double_s(ms, text));
}

static void add_count(json_object *to, const char *key, size_t n) {
        json_object_object_add(to, key, json_object_new_int64((int64_t) n));
}

static void add_date(json_object *to, const char *key, double ms) {
        char date[DATE_TEXT_SIZE];

        date_text((int64_t) (ms / 1000), date);
        json_add_text(to, key, date);
}

static json_object *spread_json(const struct spread *s) {
        json_object *o = json_object_new_object();

        add_count(o, "boots", s->n);
        add_ms(o, "p50_ms", s->p50_ms);
        add_ms(o, "p99_ms", s->p99_ms);
        add_ms(o, "max_ms", s->max_ms);
        return o;
}

static json_object *boot_json(const struct record *r) {
        json_object *o = json_object_new_object();
        size_t longest = record_longest_stage(r);

        json_add_text(o, "report", r->origin);
        add_date(o, "began", r->began_ms);
        add_ms(o, "duration_ms", r->work_ms);
        json_add_text(o, "instance_id", r->instance);
        json_add_text(o, "instance_type", r->type);
        json_add_text(o, "image_id", r->image);
        json_add_text(o, "longest_stage", longest < r->n_stages ? r->stages[longest].name : NULL);
        return o;
}

static json_object *failures_json(const struct statistics *s) {
        json_object *list = json_object_new_array();

        for (size_t i = 0; i < s->n_failures; i++) {
                const struct failure_group *g = &s->failures[i];
                json_object *o = json_object_new_object();

                add_count(o, "boots", g->n);
                add_count(o, "exit_code", g->exit_code);
                json_add_text(o, "name", g->name);
                json_add_text(o, "title", g->title);
                json_add_text(o, "reason", g->reason);
                json_object_object_add(o, "last", boot_json(g->last));
                json_object_array_add(list, o);
        }
        return list;
}

json_object *fleet_json(const char *place, const struct fleet *fleet, const struct statistics *s) {
        json_object *o = json_object_new_object(), *stages = json_object_new_array(),
                    *slowest = json_object_new_array(), *bad = json_object_new_array();

        json_add_text(o, "place", place);
        for (size_t i = 0; i < ELEMENTS(s->count); i++)
                add_count(o, record_outcome_word((enum record_outcome) i), s->count[i]);
        add_count(o, "left_out", fleet->left_out);
        json_object_object_add(o, "first", NULL);
        json_object_object_add(o, "last", NULL);
        if (fleet->n > 0) {
                add_date(o, "first", s->first_ms);
                add_date(o, "last", s->last_ms);
        }
        json_object_object_add(o, "duration", s->duration.n > 0 ? spread_json(&s->duration) : NULL);
        json_object_object_add(o, "server", s->server.n > 0 ? spread_json(&s->server) : NULL);
        for (size_t i = 0; i < s->n_stages; i++) {
                json_object *stage = spread_json(&s->stages[i].spread);

                json_add_text(stage, "name", s->stages[i].name);
                json_object_array_add(stages, stage);
        }
        json_object_object_add(o, "stages", stages);
        json_object_object_add(o, "failures", failures_json(s));
        for (size_t i = 0; i < s->n_slowest; i++)
                json_object_array_add(slowest, boot_json(s->slowest[i]));
        json_object_object_add(o, "slowest", slowest);
        for (size_t i = 0; i < fleet->n_bad; i++) {
                json_object *one = json_object_new_object();

                json_add_text(one, "report", fleet->bad[i].origin);
                json_add_text(one, "reason", fleet->bad[i].reason);
                json_object_array_add(bad, one);
        }
        json_object_object_add(o, "bad", bad);
        return o;
}
