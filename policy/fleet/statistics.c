/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/statistics.h"

#include <ctype.h>

/* ---- spreads */

static int compare_numbers(const void *a, const void *b) {
        double x = *(const double *) a, y = *(const double *) b;

        return x < y ? -1 : x > y;
}

/* `percent` of the values are not above the one that is returned. */
static double rank(const double *sorted, size_t n, size_t percent) {
        return sorted[(n * percent + 99) / 100 - 1];
}

/* Sorts the values. */
static struct spread spread_of(double *values, size_t n) {
        if (n == 0)
                return (struct spread) {};
        qsort(values, n, sizeof *values, compare_numbers);
        return (struct spread) { n, rank(values, n, 50), rank(values, n, 99), values[n - 1] };
}

/* ---- stages */

static int find_stage(struct statistics *s, const char *name, size_t *ret) {
        struct stage_spread *larger;

        for (size_t i = 0; i < s->n_stages; i++)
                if (streq(s->stages[i].name, name)) {
                        *ret = i;
                        return 0;
                }
        if (s->n_stages >= RECORD_STAGES_MAX)
                return -E2BIG;
        larger = reallocarray(s->stages, s->n_stages + 1, sizeof *larger);
        if (!larger)
                return -ENOMEM;
        s->stages = larger;
        s->stages[s->n_stages] = (struct stage_spread) { .name = name };
        *ret = s->n_stages++;
        return 0;
}

/* The sum of the stages of this name, and the beginning of the first; false: there is none. */
static bool stage_of(const struct record *r, const char *name, double *ret_ms, double *ret_began) {
        bool found = false;

        *ret_ms = 0;
        for (size_t i = 0; i < r->n_stages; i++) {
                if (!streq(r->stages[i].name, name))
                        continue;
                if (!found)
                        *ret_began = r->stages[i].began_ms;
                *ret_ms += r->stages[i].duration_ms;
                found = true;
        }
        return found;
}

static void measure_stage(const struct fleet *fleet, struct stage_spread *stage, double *values) {
        double began, sum = 0;
        size_t n = 0;

        for (size_t i = 0; i < fleet->n; i++) {
                const struct record *r = &fleet->records[i];

                if (r->outcome != RECORD_PUBLISHED || !stage_of(r, stage->name, &values[n], &began))
                        continue;
                sum += began;
                n++;
        }
        stage->began_ms = sum / (double) n;
        stage->spread = spread_of(values, n);
}

static int compare_stages(const void *a, const void *b) {
        const struct stage_spread *x = a, *y = b;

        return x->began_ms < y->began_ms ? -1 : x->began_ms > y->began_ms ? 1 : strcmp(x->name, y->name);
}

/* Instances that name stages of their own could make the table endless: those beyond RECORD_STAGES_MAX are left out. */
static int measure_stages(const struct fleet *fleet, struct statistics *s, double *values, struct error *e) {
        size_t unused;

        for (size_t i = 0; i < fleet->n; i++) {
                const struct record *r = &fleet->records[i];

                for (size_t j = 0; j < r->n_stages && r->outcome == RECORD_PUBLISHED; j++)
                        if (find_stage(s, r->stages[j].name, &unused) == -ENOMEM)
                                return fail_oom(e);
        }
        for (size_t i = 0; i < s->n_stages; i++)
                measure_stage(fleet, &s->stages[i], values);
        if (s->n_stages > 0)
                qsort(s->stages, s->n_stages, sizeof *s->stages, compare_stages);
        return 0;
}

/* ---- failures */

static size_t word_length(const char *text) {
        size_t n = 0;

        while (isalnum((unsigned char) text[n]) ||
               (text[n] && strchr("-_.:", text[n]) && isalnum((unsigned char) text[n + 1])))
                n++;
        return n;
}

/* Ids, addresses and long numbers differ from boot to boot, and HTTP statuses must not be lost: a word with a digit and
 * of at least six characters becomes "...". */
static char *general_reason(const char *reason) {
        char *out = malloc(strlen(reason) + 1), *p = out;

        while (out && *reason) {
                size_t n = word_length(reason);

                if (n >= 6 && strcspn(reason, "0123456789") < n) {
                        p = stpcpy(p, "...");
                        reason += n;
                        continue;
                }
                n = MAX_OF(n, (size_t) 1);
                memcpy(p, reason, n);
                p += n;
                reason += n;
        }
        if (out)
                *p = '\0';
        return out;
}

static int count_failure(struct statistics *s, const struct record *r, struct error *e) {
        _cleanup_free_ char *reason = general_reason(r->failure.reason);
        struct failure_group *larger;

        if (!reason)
                return fail_oom(e);
        for (size_t i = 0; i < s->n_failures; i++) {
                struct failure_group *g = &s->failures[i];

                if (g->exit_code != (unsigned) r->failure.exit_code || !streq(g->name, r->failure.name) ||
                    !streq(g->reason, reason))
                        continue;
                g->n++;
                g->last = r->began_ms > g->last->began_ms ? r : g->last;
                return 0;
        }
        larger = reallocarray(s->failures, s->n_failures + 1, sizeof *larger);
        if (!larger)
                return fail_oom(e);
        s->failures = larger;
        s->failures[s->n_failures++] = (struct failure_group) { .exit_code = (unsigned) r->failure.exit_code,
                                                                .name = r->failure.name,
                                                                .title = r->failure.title,
                                                                .reason = TAKE(reason),
                                                                .n = 1,
                                                                .last = r };
        return 0;
}

static int compare_failures(const void *a, const void *b) {
        const struct failure_group *x = a, *y = b;

        if (x->n != y->n)
                return x->n > y->n ? -1 : 1;
        return x->exit_code != y->exit_code ? (x->exit_code < y->exit_code ? -1 : 1) : strcmp(x->reason, y->reason);
}

/* ---- all */

static void count_boot(struct statistics *s, const struct record *r, bool first) {
        s->count[r->outcome]++;
        s->first_ms = first ? r->began_ms : MIN_OF(s->first_ms, r->began_ms);
        s->last_ms = first ? r->began_ms : MAX_OF(s->last_ms, r->began_ms);
}

static void consider_slow(struct statistics *s, const struct record *r) {
        size_t at = s->n_slowest;

        while (at > 0 && s->slowest[at - 1]->work_ms < r->work_ms)
                at--;
        if (at >= SLOWEST_MAX)
                return;
        s->n_slowest = MIN_OF(s->n_slowest + 1, (size_t) SLOWEST_MAX);
        for (size_t i = s->n_slowest - 1; i > at; i--)
                s->slowest[i] = s->slowest[i - 1];
        s->slowest[at] = r;
}

static struct spread measure_server(const struct fleet *fleet, double *values) {
        size_t n = 0;

        for (size_t i = 0; i < fleet->n; i++)
                if (fleet->records[i].outcome == RECORD_PUBLISHED && fleet->records[i].server_ms > 0)
                        values[n++] = fleet->records[i].server_ms;
        return spread_of(values, n);
}

int statistics_make(const struct fleet *fleet, struct statistics *ret, struct error *e) {
        _cleanup_statistics_ struct statistics s = {};
        _cleanup_free_ double *values = calloc(fleet->n + 1, sizeof *values);
        size_t n = 0;
        int r;

        if (!values)
                return fail_oom(e);
        for (size_t i = 0; i < fleet->n; i++) {
                const struct record *record = &fleet->records[i];

                count_boot(&s, record, i == 0);
                r = record->outcome == RECORD_FAILED ? count_failure(&s, record, e) : 0;
                if (r < 0)
                        return r;
                if (record->outcome != RECORD_PUBLISHED)
                        continue;
                values[n++] = record->work_ms;
                consider_slow(&s, record);
        }
        s.duration = spread_of(values, n);
        s.server = measure_server(fleet, values);
        if (s.n_failures > 0)
                qsort(s.failures, s.n_failures, sizeof *s.failures, compare_failures);
        r = measure_stages(fleet, &s, values, e);
        if (r < 0)
                return r;
        *ret = TAKE_STRUCT(s);
        return 0;
}

void statistics_done(struct statistics *s) {
        for (size_t i = 0; i < s->n_failures; i++)
                free(s->failures[i].reason);
        free(s->failures);
        free(s->stages);
        *s = (struct statistics) {};
}
