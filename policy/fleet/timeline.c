/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/timeline.h"

#include <time.h>

#include "page/html.h"

enum { WIDTH = 960, HEIGHT = 300, LEFT = 70, RIGHT = 20, TOP = 12, BOTTOM = 36, DOTS_MAX = 3000, TICKS_MAX = 12 };

struct axes {
        double first_ms, span_ms; /* of time */
        double top_ms;            /* of durations */
};

static double x_of(const struct axes *a, double began_ms) {
        return LEFT + (WIDTH - LEFT - RIGHT) * (began_ms - a->first_ms) / a->span_ms;
}

static double y_of(const struct axes *a, double ms) {
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * MIN_OF(ms, a->top_ms) / a->top_ms;
}

/* The smallest step that makes at most `most` ticks. */
static double step_for(double span, unsigned most, const double *steps, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (span / steps[i] <= most)
                        return steps[i];
        return span / most;
}

static const double duration_steps[] = {
        1,    2,    5,    10,    20,    50,    100,    200,    500,    1e3,    2e3,        5e3,         10e3,
        20e3, 30e3, 60e3, 120e3, 300e3, 600e3, 1200e3, 1800e3, 3600e3, 7200e3, 6 * 3600e3, 24 * 3600e3, 7 * 24 * 3600e3
};
static const double time_steps[] = { 1e3,         2e3,          5e3,          10e3,         30e3,         60e3,
                                     120e3,       300e3,        600e3,        900e3,        1800e3,       3600e3,
                                     7200e3,      14400e3,      21600e3,      43200e3,      86400e3,      2 * 86400e3,
                                     7 * 86400e3, 14 * 86400e3, 30 * 86400e3, 91 * 86400e3, 365 * 86400e3 };

static void draw_durations(FILE *f, const struct axes *a) {
        double step = step_for(a->top_ms, 5, duration_steps, ELEMENTS(duration_steps));

        for (unsigned i = 0; i <= TICKS_MAX && i * step <= a->top_ms * 1.0001; i++) {
                char text[DURATION_TEXT_SIZE] = "0";

                if (i > 0 && step >= 1000 && i * step < 120e3)
                        snprintf(text, sizeof text, "%.0f s", i * step / 1000);
                else if (i > 0)
                        duration_text(i * step, text);
                fprintf(f,
                        "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text x=\"%d\" y=\"%.1f\" "
                        "text-anchor=\"end\">%s</text>\n",
                        LEFT, WIDTH - RIGHT, y_of(a, i * step), y_of(a, i * step), LEFT - 8, y_of(a, i * step) + 4,
                        text);
        }
}

static void draw_times(FILE *f, const struct axes *a) {
        double step = step_for(a->span_ms, 7, time_steps, ELEMENTS(time_steps));
        double first = (double) (int64_t) (a->first_ms / step) * step;

        first += first < a->first_ms ? step : 0;
        for (unsigned i = 0; i < TICKS_MAX && first + i * step <= a->first_ms + a->span_ms; i++) {
                double at = first + i * step;
                time_t seconds = (time_t) (at / 1000);
                char text[32] = "";
                struct tm tm;

                if (gmtime_r(&seconds, &tm))
                        strftime(text, sizeof text,
                                 step >= 86400e3  ? "%Y-%m-%d"
                                 : step >= 3600e3 ? "%b %d, %H:%M"
                                 : step >= 60e3   ? "%H:%M"
                                                  : "%H:%M:%S",
                                 &tm);
                fprintf(f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x_of(a, at), HEIGHT - 12,
                        text);
        }
}

static void draw_boot(FILE *f, const struct axes *a, const struct record *r) {
        double x = x_of(a, r->began_ms), y = y_of(a, r->work_ms);
        char text[DURATION_TEXT_SIZE];

        duration_text(r->work_ms, text);
        if (r->outcome == RECORD_FAILED)
                fprintf(f, "<path class=\"fault\" d=\"M%.1f %.1fl8 8m0-8l-8 8\"><title>", x - 4, y - 4);
        else
                fprintf(f, "<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>", x, y);
        html_text(f, r->instance);
        fprintf(f, " %s, %s ", r->outcome == RECORD_FAILED ? "failed" : "published", text);
        html_text(f, r->failure.name);
        fputs(r->outcome == RECORD_FAILED ? "</title></path>\n" : "</title></circle>\n", f);
}

void timeline_draw(FILE *f, const struct fleet *fleet, const struct statistics *s) {
        struct axes a = { .first_ms = s->first_ms, .span_ms = MAX_OF(s->last_ms - s->first_ms, 1000.0), .top_ms = 1 };
        size_t every = fleet->n / DOTS_MAX + 1;

        for (size_t i = 0; i < fleet->n; i++)
                a.top_ms = MAX_OF(a.top_ms, fleet->records[i].work_ms * 1.05);
        if (s->count[RECORD_PUBLISHED] + s->count[RECORD_FAILED] == 0)
                return;
        fprintf(f,
                "<h2>Over time</h2>\n<p class=\"dim\">Each boot: when it began (UTC), and how long it took until the "
                "model was published (dot) or the boot failed (cross).");
        if (every > 1)
                fprintf(f, " One of %zu boots is drawn.", every);
        fprintf(f,
                "</p>\n<div class=\"scroll\"><svg class=\"chart\" viewBox=\"0 0 %d %d\" role=\"img\" "
                "aria-label=\"Boots over time\">\n",
                WIDTH, HEIGHT);
        draw_durations(f, &a);
        draw_times(f, &a);
        for (size_t i = 0; i < fleet->n; i++)
                if (fleet->records[i].outcome >= RECORD_PUBLISHED && i % every == 0)
                        draw_boot(f, &a, &fleet->records[i]);
        fputs("</svg></div>\n", f);
}
