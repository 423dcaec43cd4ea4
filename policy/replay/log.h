/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What was measured, in order: the form that both kinds of log are read into.
 *
 *   eventlog.h  the firmware's log (TCG, crypto-agile), which ends when the operating system starts;
 *   cel.h       the logs of userspace (TCG CEL-JSON): systemd's and the agent's, which follow it;
 *   read.h      either of them, from a file. */

#include "basic/failure.h"
#include "evidence/pcr.h"

enum { LOG_EVENTS_MAX = 16384 };

struct log_digest {
        const struct pcr_algorithm *algorithm;
        uint8_t value[PCR_DIGEST_MAX];
};

/* What an event says beside its digest (check.h). */
enum text_is {
        TEXT_UNCHECKED,    /* the digest is not of it, or not known to be */
        TEXT_MEASURED,     /* the digest is of it */
        TEXT_NOT_MEASURED, /* the digest should be of it, and is not: the log was altered */
};

struct log_event {
        const char *log; /* the subject it was parsed under */
        size_t number;   /* in that log, from 1 */
        unsigned pcr;
        uint32_t type;   /* TCG event type; EV_NONE in CEL records of userspace, which has none */
        char *type_name; /* "EV_SEPARATOR", or a CEL record's "systemd phase" */
        char *text;      /* what was measured, in printable words, by what the log says */
        enum text_is text_is;
        bool extended;  /* false: only noted (EV_NO_ACTION), or `elsewhere` */
        bool elsewhere; /* a record of no PCR, such as those of systemd's NV indexes; it is not replayed */
        size_t n_digests;
        struct log_digest digests[PCR_BANKS_MAX];
};

#define EV_NONE UINT32_MAX

/* Zero-initialise. */
struct event_log {
        const struct pcr_algorithm *banks[PCR_BANKS_MAX]; /* those that events have digests for; not each for all */
        size_t n_banks;
        unsigned locality; /* PCR0 starts at this value (TCG startup locality) */
        struct log_event *events;
        size_t n;
};

void event_log_done(struct event_log *l);
#define _cleanup_event_log_ _cleanup_(event_log_done)

/* Appends; takes the event's texts, also on failure. */
int event_log_add(struct event_log *l, struct log_event *event, const char *subject, struct error *e);

/* Moves the events of `from`, which came after, behind those of `to`, and adds its banks. */
int event_log_append(struct event_log *to, struct event_log *from, struct error *e);

/* Notes the banks that the events which extend a PCR have digests for, in the order they are met. */
void event_log_find_banks(struct event_log *l);

/* How many of the events that extend a PCR lack a digest for this bank. */
size_t event_log_lacking(const struct event_log *l, const struct pcr_algorithm *bank);

/* The first `max` events that extend this PCR; returns how many there are. */
size_t event_log_of_pcr(const struct event_log *l, unsigned pcr, const struct log_event **out, size_t max);

/* The digest for a bank, or NULL. */
const uint8_t *log_event_digest(const struct log_event *event, const struct pcr_algorithm *bank);
