/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where a boot departs from what was expected of it: the first event that differs in a PCR, and what that means in
 * words.
 *
 * compare_events() has a list of events to compare with: a prediction, or the log of a good boot. compare_value() has a
 * value alone, which tells of no event: it finds the event by trial. Which one must be left out, or which setting
 * changed, for the log to lead to that value? */

#include "replay/replay.h"

struct expected_event {
        unsigned pcr;
        uint32_t type;
        const uint8_t *digest; /* borrowed; of the bank compared; NULL: it has none, and is equal to nothing */
        const char *text;      /* borrowed */
};

struct difference {
        bool equal;
        const struct log_event *event; /* the first that differs; NULL: it is missing, or cannot be told */
        char meaning[768];             /* empty when equal */
};

/* Whether the other side is what a log should lead to, or what really was measured while the log only claims so. */
enum value_kind { VALUE_EXPECTED, VALUE_MEASURED };

int compare_events(const struct event_log *log, const struct pcr_algorithm *bank, unsigned pcr,
                   const struct expected_event *expected, size_t n_expected, struct difference *ret, struct error *e);
int compare_value(const struct event_log *log, const struct pcr_algorithm *bank, unsigned pcr, const uint8_t *value,
                  enum value_kind kind, struct difference *ret, struct error *e);
