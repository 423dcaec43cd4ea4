/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/progress.h"

#include "basic/clock.h"

enum { BAR = 30 };
#define BAR_INTERVAL_NS (100 * NS_PER_MS)
#define LINE_INTERVAL_NS (2 * NS_PER_SECOND)

const char *format_bytes(uint64_t n, char out[static 16]) {
        static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
        double v = (double) n;
        size_t unit = 0;

        for (; v >= 999.5 && unit + 1 < ELEMENTS(units); unit++)
                v /= 1000;
        snprintf(out, 16, "%.*f %s", unit == 0 || v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2, v, units[unit]);
        return out;
}

void progress_begin(struct progress *p, const char *verb, uint64_t total, enum progress_mode mode) {
        const char *term = getenv("TERM");

        *p = (struct progress) {
                .verb = verb,
                .total = total,
                .quiet = mode == PROGRESS_QUIET,
                .terminal = isatty(STDERR_FILENO) && !(term && streq(term, "dumb")),
                .began_ns = clock_ns(),
        };
        p->shown_ns = p->began_ns;
}

void progress_add(struct progress *p, uint64_t bytes) {
        atomic_fetch_add_explicit(&p->done, bytes, memory_order_relaxed);
}

double progress_seconds(const struct progress *p) {
        return clock_seconds_since(p->began_ns);
}

static void show_bar(const struct progress *p, uint64_t done, double rate) {
        double left = rate > 0 ? (double) (p->total - done) / rate : 0;
        size_t filled = p->total > 0 ? (size_t) ((double) done / (double) p->total * BAR) : BAR;
        char bar[BAR + 1] = { 0 }, a[16], b[16], c[16];

        for (size_t i = 0; i < BAR; i++)
                bar[i] = i < filled ? '#' : '.';
        fprintf(stderr, "\r\033[K%s [%s] %s of %s  %s/s  %u:%02u left", p->verb, bar, format_bytes(done, a),
                format_bytes(p->total, b), format_bytes((uint64_t) rate, c), (unsigned) left / 60,
                (unsigned) left % 60);
}

static void show_line(struct progress *p, uint64_t done, double rate) {
        unsigned tenths = p->total > 0 ? (unsigned) ((double) done / (double) p->total * 10) : 10;
        char a[16], b[16], c[16];

        if (tenths == p->shown_tenths)
                return;
        p->shown_tenths = tenths;
        fprintf(stderr, "%s: %s of %s, %s/s\n", p->verb, format_bytes(done, a), format_bytes(p->total, b),
                format_bytes((uint64_t) rate, c));
}

void progress_show(struct progress *p) {
        uint64_t done = atomic_load_explicit(&p->done, memory_order_relaxed);
        int64_t now = clock_ns();

        if (p->quiet || now - p->shown_ns < (p->terminal ? BAR_INTERVAL_NS : LINE_INTERVAL_NS))
                return;
        p->shown_ns = now;
        done = MIN_OF(done, p->total);
        if (p->terminal)
                show_bar(p, done, (double) done / progress_seconds(p));
        else
                show_line(p, done, (double) done / progress_seconds(p));
}

void progress_end(struct progress *p) {
        if (!p->quiet && p->terminal && p->shown_ns != p->began_ns)
                fputs("\r\033[K", stderr);
}
