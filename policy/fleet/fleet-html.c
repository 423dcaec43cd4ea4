/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/clock.h"
#include "fleet/fleet-view.h"
#include "fleet/timeline.h"
#include "page/html.h"

enum { BAD_SHOWN_MAX = 200 };

static void tile(FILE *f, const char *class, size_t n, const char *what) {
        fprintf(f, "<div class=\"tile\"><b class=\"%s\">%zu</b>%s</div>\n", n > 0 ? class : "dim", n, what);
}

static void tile_duration(FILE *f, double ms, const char *what) {
        char text[DURATION_TEXT_SIZE];

        duration_text(ms, text);
        fprintf(f, "<div class=\"tile\"><b>%s</b>%s</div>\n", text, what);
}

static void put_summary(FILE *f, const char *place, const struct fleet *fleet, const struct statistics *s) {
        char first[DATE_TEXT_SIZE], last[DATE_TEXT_SIZE], now[DATE_TEXT_SIZE];

        date_text((int64_t) (s->first_ms / 1000), first);
        date_text((int64_t) (s->last_ms / 1000), last);
        date_text(wall_clock_seconds(), now);
        fputs("<h1>Boots of ", f);
        html_text(f, place);
        fputs("</h1>\n", f);
        if (fleet->n > 0)
                fprintf(f,
                        "<p class=\"dim\">From %s to %s. Written %s, from what the instances say of themselves.</p>\n",
                        first, last, now);
        if (fleet->left_out > 0)
                fprintf(f, "<p class=\"dim\">%zu older reports were not read.</p>\n", fleet->left_out);
        fputs("<div class=\"tiles\">\n", f);
        tile(f, "ok", s->count[RECORD_PUBLISHED], "published");
        tile(f, "bad", s->count[RECORD_FAILED], "failed");
        tile(f, "run", s->count[RECORD_RUNNING], "running");
        if (s->count[RECORD_WAITING] > 0)
                tile(f, "run", s->count[RECORD_WAITING], "in a warm pool");
        tile(f, "bad", fleet->n_bad, fleet->n_bad == 1 ? "bad report" : "bad reports");
        if (s->duration.n > 0) {
                tile_duration(f, s->duration.p50_ms, "half of the boots within");
                tile_duration(f, s->duration.p99_ms, "99 of 100 within");
        }
        fputs("</div>\n", f);
}

/* A bar to the 50th percentile, a lighter one to the 99th, and a mark at the slowest. */
static void put_spread(FILE *f, const char *name, const struct spread *s, double whole) {
        const double values[] = { s->p50_ms, s->p99_ms, s->max_ms };
        char text[DURATION_TEXT_SIZE];

        fputs("<tr><td class=\"name\">", f);
        html_text(f, name);
        fputs("</td>", f);
        for (size_t i = 0; i < ELEMENTS(values); i++) {
                duration_text(values[i], text);
                fprintf(f, "<td class=\"number\">%s</td>", text);
        }
        fprintf(f,
                "<td class=\"bar\"><svg class=\"bar\" viewBox=\"0 0 1000 16\" preserveAspectRatio=\"none\" "
                "aria-hidden=\"true\"><rect class=\"soft\" y=\"3\" width=\"%.1f\" height=\"10\"/><rect class=\"full\" "
                "width=\"%.1f\" height=\"16\"/><rect class=\"mark\" x=\"%.1f\" width=\"2\" height=\"16\"/></svg></td>"
                "<td class=\"number\">%zu</td></tr>\n",
                MIN_OF(1000 * s->p99_ms / whole, 1000.0), MIN_OF(MAX_OF(1000 * s->p50_ms / whole, 1.0), 1000.0),
                MIN_OF(1000 * s->max_ms / whole, 998.0), s->n);
}

static void put_stages(FILE *f, const struct statistics *s) {
        double whole = MAX_OF(MAX_OF(s->duration.max_ms, s->server.max_ms), 1.0);

        if (s->duration.n == 0)
                return;
        fputs("<h2>How long it takes</h2>\n<p class=\"dim\">Of boots that published a model. Stages overlap. The full "
              "bar "
              "ends at the 50th percentile, the light one at the 99th, the mark is the slowest.</p>\n"
              "<div class=\"scroll\"><table><thead><tr><th class=\"name\">Stage</th><th class=\"number\">p50</th><th "
              "class=\"number\">p99</th><th class=\"number\">Slowest</th><th></th><th class=\"number\">Boots</th></tr>"
              "</thead><tbody>\n",
              f);
        put_spread(f, "whole boot", &s->duration, whole);
        if (s->server.n > 0)
                put_spread(f, "server ready", &s->server, whole);
        for (size_t i = 0; i < s->n_stages; i++)
                put_spread(f, s->stages[i].name, &s->stages[i].spread, whole);
        fputs("</tbody></table></div>\n", f);
}

static void cell(FILE *f, const char *class, const char *text) {
        fprintf(f, "<td class=\"%s\">", class);
        html_text(f, text);
        fputs("</td>", f);
}

static void put_failures(FILE *f, const struct statistics *s) {
        if (s->n_failures == 0)
                return;
        fputs("<h2>Failures</h2>\n<p class=\"dim\">By exit code and reason. Numbers and ids are left out of the "
              "reason.</p>\n"
              "<div class=\"scroll\"><table><thead><tr><th class=\"number\">Boots</th><th "
              "class=\"number\">Code</th><th "
              "class=\"name\">Name</th><th>Reason</th><th class=\"name\">Last</th></tr></thead><tbody>\n",
              f);
        for (size_t i = 0; i < s->n_failures && i < FAILURES_SHOWN_MAX; i++) {
                const struct failure_group *g = &s->failures[i];
                char date[DATE_TEXT_SIZE];

                date_text((int64_t) (g->last->began_ms / 1000), date);
                fprintf(f, "<tr><td class=\"number bad\">%zu</td><td class=\"number\">%u</td>", g->n, g->exit_code);
                cell(f, "name", g->name);
                fputs("<td class=\"text\">", f);
                html_text(f, g->title);
                fputs("<br><span class=\"dim\">", f);
                html_text(f, g->reason);
                fprintf(f, "</span></td><td class=\"name\">%s<br>", date);
                html_text(f, g->last->instance);
                fputs("</td></tr>\n", f);
        }
        fputs("</tbody></table></div>\n", f);
}

static void put_slowest(FILE *f, const struct statistics *s) {
        if (s->n_slowest == 0)
                return;
        fputs("<h2>Slowest boots</h2>\n<div class=\"scroll\"><table><thead><tr><th class=\"number\">Took</th><th "
              "class=\"name\">Instance</th><th class=\"name\">Type</th><th class=\"name\">Image</th><th "
              "class=\"name\">Began</th><th class=\"name\">Longest stage</th></tr></thead><tbody>\n",
              f);
        for (size_t i = 0; i < s->n_slowest; i++) {
                const struct record *r = s->slowest[i];
                size_t longest = record_longest_stage(r);
                char text[DURATION_TEXT_SIZE], date[DATE_TEXT_SIZE];

                duration_text(r->work_ms, text);
                date_text((int64_t) (r->began_ms / 1000), date);
                fprintf(f, "<tr><td class=\"number\">%s</td>", text);
                cell(f, "name", r->instance[0] ? r->instance : origin_name(r->origin));
                cell(f, "name", r->type);
                cell(f, "name", r->image);
                cell(f, "name", date);
                fputs("<td class=\"name\">", f);
                if (longest < r->n_stages) {
                        html_text(f, r->stages[longest].name);
                        duration_text(r->stages[longest].duration_ms, text);
                        fprintf(f, ", %s", text);
                }
                fputs("</td></tr>\n", f);
        }
        fputs("</tbody></table></div>\n", f);
}

static void put_bad(FILE *f, const struct fleet *fleet) {
        if (fleet->n_bad == 0)
                return;
        fputs("<h2>Bad reports</h2>\n<p class=\"dim\">These say what no agent writes, or cannot be read. They count "
              "nowhere above.</p>\n<div class=\"scroll\"><table><thead><tr><th>Report</th><th>Why</th></tr></thead>"
              "<tbody>\n",
              f);
        for (size_t i = 0; i < fleet->n_bad && i < BAD_SHOWN_MAX; i++) {
                fputs("<tr>", f);
                cell(f, "text", origin_name(fleet->bad[i].origin));
                cell(f, "text", fleet->bad[i].reason);
                fputs("</tr>\n", f);
        }
        fputs("</tbody></table></div>\n", f);
        if (fleet->n_bad > BAD_SHOWN_MAX)
                fprintf(f, "<p class=\"dim\">And %zu more.</p>\n", fleet->n_bad - BAD_SHOWN_MAX);
}

char *fleet_html(const char *place, const struct fleet *fleet, const struct statistics *s, size_t *ret_n) {
        char *text = NULL;
        FILE *f = open_memstream(&text, ret_n);

        if (!f)
                return NULL;
        html_begin(f, "sealboot fleet");
        put_summary(f, place, fleet, s);
        put_stages(f, s);
        put_failures(f, s);
        timeline_draw(f, fleet, s);
        put_slowest(f, s);
        put_bad(f, fleet);
        html_end(f);
        if (fclose(f) == 0)
                return text;
        free(text);
        return NULL;
}
