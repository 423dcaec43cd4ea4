/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/compare.h"

#include "measure/event-types.h"
#include "replay/meaning.h"

/* --- the sections of a UKI ---------------------------------------------------------------------------------------- */

/* systemd-stub measures each section of the UKI into PCR11, first its name and then its content. Both events have the
 * name as their text. */
static const uint8_t *section_in_log(const struct event_log *log, const struct pcr_algorithm *bank, const char *text) {
        size_t seen = 0;

        for (size_t i = 0; i < log->n; i++)
                if (log->events[i].pcr == PCR_SECTIONS && log->events[i].type == EV_IPL &&
                    streq(log->events[i].text, text) && ++seen == 2)
                        return log_event_digest(&log->events[i], bank);
        return NULL;
}

struct sections {
        size_t known, differ;
        char names[256]; /* of those that differ */
};

static void compare_section(struct sections *s, const struct event_log *log, const struct pcr_algorithm *bank,
                            const struct expected_event *content) {
        const uint8_t *digest = section_in_log(log, bank, content->text);
        size_t used = strlen(s->names);

        if (!digest)
                return;
        s->known++;
        if (memcmp(digest, content->digest, bank->size) == 0)
                return;
        /* The texts are in quotes. */
        snprintf(s->names + used, sizeof s->names - used, "%s%.*s", s->differ ? ", " : "",
                 (int) MIN_OF(strlen(content->text) - 2, (size_t) 40), content->text + 1);
        s->differ++;
}

/* An image differs: adds which of its sections do, as far as PCR11's events tell. Not every stub measures every
 * section.
 */
static void add_sections(struct difference *d, const struct event_log *log, const struct pcr_algorithm *bank,
                         const struct expected_event *expected, size_t n) {
        struct sections s = {};
        const char *name = "";

        for (size_t i = 0; i < n; i++) {
                if (expected[i].pcr != PCR_SECTIONS || expected[i].type != EV_IPL)
                        continue;
                if (!streq(expected[i].text, name)) {
                        name = expected[i].text;
                        continue;
                }
                name = "";
                compare_section(&s, log, bank, &expected[i]);
        }
        if (s.known == 0)
                return;
        if (s.differ > 0)
                difference_add(d, "; by PCR11 the %s %s", s.names,
                               s.differ == 1 ? "section differs" : "sections differ");
        else
                difference_add(d, "; by PCR11 the sections measured there are the same, so the stub differs, or a "
                                  "section it does not measure");
}

/* --- lists -------------------------------------------------------------------------------------------------------- */

struct lists {
        const struct pcr_algorithm *bank;
        const struct log_event **have;
        const struct expected_event **want;
        size_t n, m;
};

static bool same(const struct lists *l, size_t i, size_t j) {
        const uint8_t *digest = log_event_digest(l->have[i], l->bank);

        return digest && l->want[j]->digest && memcmp(digest, l->want[j]->digest, l->bank->size) == 0;
}

/* The lists are the same before `at`, where both go on and differ. The event that follows on one side decides what
 * happened: was an event added, left out, or changed? */
static void find_difference(const struct lists *l, size_t at, struct difference *ret) {
        if (!l->want[at]->digest || !log_event_digest(l->have[at], l->bank))
                return difference_say(ret, l->have[at], "cannot be compared: %s has no %s digest of it",
                                      l->want[at]->digest ? "the log" : "the other log", l->bank->name);
        for (size_t i = at + 1; i < l->n; i++)
                if (same(l, i, at))
                        return difference_say_extra(ret, l->have[at]);
        for (size_t j = at + 1; j < l->m; j++)
                if (same(l, at, j))
                        return difference_say_missing(ret, l->want[at]);
        difference_say_changed(ret, l->want[at], l->have[at]);
}

static void compare_lists(const struct lists *l, struct difference *ret) {
        size_t i = 0;

        while (i < l->n && i < l->m && same(l, i, i))
                i++;
        if (i == l->n && i == l->m)
                *ret = (struct difference) { .equal = true };
        else if (i == l->m)
                difference_say_extra(ret, l->have[i]);
        else if (i == l->n)
                difference_say_missing(ret, l->want[i]);
        else
                find_difference(l, i, ret);
}

int compare_events(const struct event_log *log, const struct pcr_algorithm *bank, unsigned pcr,
                   const struct expected_event *expected, size_t n_expected, struct difference *ret, struct error *e) {
        _cleanup_free_ const struct log_event **have = calloc(log->n + 1, sizeof *have);
        _cleanup_free_ const struct expected_event **want = calloc(n_expected + 1, sizeof *want);
        struct lists l = { .bank = bank, .have = have, .want = want };

        if (!have || !want)
                return fail_oom(e);
        l.n = event_log_of_pcr(log, pcr, have, log->n);
        for (size_t i = 0; i < n_expected; i++)
                if (expected[i].pcr == pcr)
                        want[l.m++] = &expected[i];
        compare_lists(&l, ret);
        if (pcr == PCR_IMAGE && ret->event && ret->event->type == EV_EFI_BOOT_SERVICES_APPLICATION)
                add_sections(ret, log, bank, expected, n_expected);
        return 0;
}
