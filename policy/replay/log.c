/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/log.h"

static void log_event_done(struct log_event *event) {
        free(event->type_name);
        free(event->text);
        *event = (struct log_event) {};
}

void event_log_done(struct event_log *l) {
        for (size_t i = 0; i < l->n; i++)
                log_event_done(&l->events[i]);
        free(l->events);
        *l = (struct event_log) {};
}

int event_log_add(struct event_log *l, struct log_event *event, const char *subject, struct error *e) {
        int k = 0;

        if (l->n >= LOG_EVENTS_MAX)
                k = fail(e, FAILURE_EVENT_LOG, -E2BIG, subject, "it has more than %d events", LOG_EVENTS_MAX);
        else if (!event->type_name || !event->text)
                k = fail_oom(e);
        else if ((l->n & (l->n - 1)) == 0) {
                struct log_event *larger = reallocarray(l->events, l->n ? 2 * l->n : 1, sizeof *larger);

                if (larger)
                        l->events = larger;
                else
                        k = fail_oom(e);
        }
        if (k < 0)
                log_event_done(event);
        else {
                event->log = subject;
                event->number = l->n + 1;
                l->events[l->n++] = *event;
        }
        return k;
}

static void add_bank(struct event_log *l, const struct pcr_algorithm *bank) {
        for (size_t i = 0; i < l->n_banks; i++)
                if (l->banks[i] == bank)
                        return;
        if (l->n_banks < PCR_BANKS_MAX)
                l->banks[l->n_banks++] = bank;
}

void event_log_find_banks(struct event_log *l) {
        for (size_t i = 0; i < l->n; i++)
                for (size_t j = 0; l->events[i].extended && j < l->events[i].n_digests; j++)
                        add_bank(l, l->events[i].digests[j].algorithm);
}

size_t event_log_lacking(const struct event_log *l, const struct pcr_algorithm *bank) {
        size_t n = 0;

        for (size_t i = 0; i < l->n; i++)
                n += l->events[i].extended && !log_event_digest(&l->events[i], bank);
        return n;
}

int event_log_append(struct event_log *to, struct event_log *from, struct error *e) {
        struct log_event *larger = reallocarray(to->events, to->n + from->n + 1, sizeof *larger);

        if (!larger)
                return fail_oom(e);
        to->events = larger;
        if (from->n > 0)
                memcpy(to->events + to->n, from->events, from->n * sizeof *from->events);
        to->n += from->n;
        from->n = 0;
        for (size_t i = 0; i < from->n_banks; i++)
                add_bank(to, from->banks[i]);
        return 0;
}

size_t event_log_of_pcr(const struct event_log *l, unsigned pcr, const struct log_event **out, size_t max) {
        size_t n = 0;

        for (size_t i = 0; i < l->n; i++)
                if (l->events[i].extended && l->events[i].pcr == pcr && n++ < max)
                        out[n - 1] = &l->events[i];
        return n;
}

const uint8_t *log_event_digest(const struct log_event *event, const struct pcr_algorithm *bank) {
        for (size_t i = 0; i < event->n_digests; i++)
                if (event->digests[i].algorithm == bank)
                        return event->digests[i].value;
        return NULL;
}
