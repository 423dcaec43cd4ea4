/* SPDX-License-Identifier: Apache-2.0 */

/* A firmware event log: parsed, replayed, and compared with a value and with itself. */

#include "replay/compare.h"
#include "replay/eventlog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare(const struct event_log *l, const struct pcr_algorithm *bank, unsigned pcr) {
        static const uint8_t value[PCR_DIGEST_MAX];
        _cleanup_free_ struct expected_event *expected = calloc(l->n + 1, sizeof *expected);
        struct difference d;
        struct error e = {};
        size_t n = 0;

        for (size_t i = 0; expected && i < l->n; i++)
                if (l->events[i].extended)
                        expected[n++] =
                                (struct expected_event) { l->events[i].pcr, l->events[i].type,
                                                          log_event_digest(&l->events[i], bank), l->events[i].text };
        if (!expected || compare_value(l, bank, pcr, value, VALUE_EXPECTED, &d, &e) < 0)
                abort();
        if (compare_events(l, bank, pcr, expected, n, &d, &e) < 0 || (event_log_lacking(l, bank) == 0 && !d.equal))
                abort();
        if (n > 1 && compare_events(l, bank, pcr, expected + 1, n - 1, &d, &e) < 0)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_event_log_ struct event_log l = {};
        struct replay r;
        struct error e = {};

        if (eventlog_parse(data, size, "fuzz", &l, &e) < 0)
                return e.failure == FAILURE_NONE ? (abort(), 0) : 0;
        replay_start(&r, l.banks[0], l.locality);
        for (size_t i = 0; i < l.n; i++)
                if (replay_event(&r, &l.events[i], &e) < 0 || !l.events[i].text || !l.events[i].type_name)
                        abort();
        /* The search is cubic in the events of a PCR, bounded; here it would only cost time. */
        if (l.n <= 16)
                for (unsigned pcr = 0; pcr < 8; pcr++)
                        compare(&l, l.banks[0], pcr);
        return 0;
}
