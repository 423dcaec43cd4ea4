/* SPDX-License-Identifier: Apache-2.0 */

/* compare_value(): which change to a log's events leads to a value? */

#include <openssl/evp.h>

#include "measure/event-types.h"
#include "measure/uefi.h"
#include "replay/compare.h"
#include "replay/meaning.h"
#include "replay/outside.h"

enum {
        TRIAL_EVENTS_MAX = 64, /* trying every range of more would take too long, and no PCR in use has as many */
        BOOT_ATTEMPTS_MAX = 3,
};

struct trial {
        const struct pcr_algorithm *bank;
        unsigned pcr;
        enum value_kind kind;
        const uint8_t *target;
        uint8_t start[PCR_DIGEST_MAX];
        const struct log_event *events[TRIAL_EVENTS_MAX];
        size_t n;
};

/* One change to the events: those in [from, to) are replaced by `with`. */
struct change {
        size_t from, to;
        const uint8_t (*with)[PCR_DIGEST_MAX];
        size_t n_with;
        bool without_authorities;
};

static bool is_left_out(const struct trial *t, const struct change *c, size_t i) {
        return (i >= c->from && i < c->to) ||
               (c->without_authorities && t->events[i]->type == EV_EFI_VARIABLE_AUTHORITY);
}

static bool reaches(const struct trial *t, const struct change *c) {
        uint8_t value[PCR_DIGEST_MAX];

        memcpy(value, t->start, sizeof value);
        for (size_t i = 0; i <= t->n; i++) {
                for (size_t j = 0; i == c->from && j < c->n_with; j++)
                        if (pcr_extend(t->bank, value, c->with[j], NULL) < 0)
                                return false;
                if (i < t->n && !is_left_out(t, c, i) &&
                    pcr_extend(t->bank, value, log_event_digest(t->events[i], t->bank), NULL) < 0)
                        return false;
        }
        return memcmp(value, t->target, t->bank->size) == 0;
}

static bool hash(const struct pcr_algorithm *bank, const void *data, size_t n, uint8_t out[static PCR_DIGEST_MAX]) {
        return EVP_Q_digest(NULL, bank->name, NULL, data, n, out, NULL) == 1;
}

static bool try_left_out(const struct trial *t, struct difference *ret) {
        for (size_t length = 1; length <= t->n; length++)
                for (size_t from = t->n - length + 1; from-- > 0;) {
                        struct difference d;

                        if (!reaches(t, &(struct change) { .from = from, .to = from + length }))
                                continue;
                        difference_say_extra(&d, t->events[from]);
                        if (t->kind == VALUE_MEASURED)
                                difference_say(ret, t->events[from],
                                               "the log tells of it, but it was not measured: %.600s", d.meaning);
                        else
                                *ret = d;
                        return true;
                }
        return false;
}

static bool try_boot_attempts(const struct trial *t, struct difference *ret) {
        uint8_t with[2 * BOOT_ATTEMPTS_MAX][PCR_DIGEST_MAX];

        for (size_t i = 0; i < BOOT_ATTEMPTS_MAX; i++)
                if (!hash(t->bank, UEFI_ACTION_RETURNING, strlen(UEFI_ACTION_RETURNING), with[2 * i]) ||
                    !hash(t->bank, UEFI_ACTION_CALLING, strlen(UEFI_ACTION_CALLING), with[2 * i + 1]))
                        return false;
        for (size_t at = 0; at <= t->n; at++)
                for (size_t n = 1; n <= BOOT_ATTEMPTS_MAX; n++) {
                        if (!reaches(t, &(struct change) { .from = at, .to = at, .with = with, .n_with = 2 * n }))
                                continue;
                        difference_say(ret, NULL,
                                       "fewer boot options were tried than expected: there, %zu failed first", n);
                        return true;
                }
        return false;
}

/* SecureBoot is tried with the other value, a key list as one that is not set. */
static bool hash_other_variable(const struct pcr_algorithm *bank, const char *name, bool on,
                                uint8_t out[static PCR_DIGEST_MAX]) {
        uint8_t data[UEFI_VARIABLE_HEAD_MAX + 1];
        size_t size = streq(name, "SecureBoot") ? 1 : 0, n;

        if (strlen(name) > UEFI_NAME_MAX)
                return false;
        n = uefi_variable_head(name, size, data);
        data[n] = on ? 0 : 1;
        return hash(bank, data, n + size, out);
}

static bool try_variable(const struct trial *t, size_t i, struct difference *ret) {
        const struct log_event *event = t->events[i];
        bool on = variable_is_on(event->text);
        uint8_t with[1][PCR_DIGEST_MAX];
        struct change c = { .from = i, .to = i + 1, .with = with, .n_with = 1 };
        char name[VARIABLE_NAME_MAX];

        variable_name(event->text, name);
        if (!hash_other_variable(t->bank, name, on, with[0]))
                return false;
        if (!reaches(t, &c)) {
                c.without_authorities = true;
                if (!reaches(t, &c))
                        return false;
        }
        if (streq(name, "SecureBoot"))
                difference_say(ret, event, "Secure Boot is %s", on ? "on" : "off");
        else
                difference_say(ret, event, "the key list %s is set, and was not when the value was computed", name);
        return true;
}

static bool try_variables(const struct trial *t, struct difference *ret) {
        for (size_t i = 0; i < t->n; i++)
                if (t->events[i]->type == EV_EFI_VARIABLE_DRIVER_CONFIG && try_variable(t, i, ret))
                        return true;
        return false;
}

/* Whether a PCR's value usually differs by events such as this. */
static bool is_suspect(const struct trial *t, const struct log_event *event) {
        if (t->pcr == PCR_IMAGE)
                return event->type == EV_EFI_BOOT_SERVICES_APPLICATION;
        if (t->pcr == PCR_SECURE_BOOT)
                return event->type == EV_EFI_VARIABLE_DRIVER_CONFIG && !strstr(event->text, "SecureBoot");
        return is_outside_driver(t->pcr, event->type);
}

static const struct log_event *first_suspect(const struct trial *t) {
        for (size_t i = 0; i < t->n; i++)
                if (is_suspect(t, t->events[i]))
                        return t->events[i];
        return NULL;
}

static void say_unknown(const struct trial *t, struct difference *ret) {
        const struct log_event *first = first_suspect(t);

        if (t->kind == VALUE_MEASURED)
                difference_say(ret, NULL,
                               "the log does not lead to this value, with or without any of its events: it is of "
                               "another boot, altered, or a later log (of userspace) is missing");
        else if (t->n == 0)
                difference_say(ret, NULL, "nothing was measured, although something was expected");
        else if (t->pcr == PCR_DRIVERS && first)
                difference_say(ret, first,
                               "a UEFI driver from outside the firmware differs, this one or a later one; --against "
                               "tells which");
        else if (t->pcr == PCR_DRIVERS)
                difference_say(ret, NULL, "no driver from outside the firmware ran, and one was expected");
        else if (t->pcr == PCR_IMAGE)
                difference_say(ret, first,
                               "an image differs, this one or a later one; --image or --against tells which");
        else if (t->pcr == PCR_SECURE_BOOT)
                difference_say(ret, first,
                               "a key list differs, or the entry of db that authorised the image; --against tells "
                               "which");
        else
                difference_say(ret, t->events[0],
                               "what was measured differs, from this event on or later; --against tells which");
}

static void find_change(const struct trial *t, struct difference *ret) {
        if (try_left_out(t, ret))
                return;
        if (t->kind == VALUE_EXPECTED && t->pcr == PCR_IMAGE && try_boot_attempts(t, ret))
                return;
        if (t->kind == VALUE_EXPECTED && t->pcr == PCR_SECURE_BOOT && try_variables(t, ret))
                return;
        say_unknown(t, ret);
}

int compare_value(const struct event_log *log, const struct pcr_algorithm *bank, unsigned pcr, const uint8_t *value,
                  enum value_kind kind, struct difference *ret, struct error *e) {
        struct trial t = { .bank = bank, .pcr = pcr, .kind = kind, .target = value };
        struct replay r;
        bool unknown;
        int k;

        replay_start(&r, bank, log->locality);
        memcpy(t.start, r.pcr[pcr], sizeof t.start);
        k = replay_log(log, bank, &r, e);
        if (k < 0)
                return k;
        unknown = r.unknown & UINT32_C(1) << pcr;
        t.n = event_log_of_pcr(log, pcr, t.events, TRIAL_EVENTS_MAX);
        if (!unknown && memcmp(r.pcr[pcr], value, bank->size) == 0)
                *ret = (struct difference) { .equal = true };
        else if (unknown)
                difference_say(ret, NULL, "the log lacks %s digests for this PCR", bank->name);
        else if (t.n > TRIAL_EVENTS_MAX)
                difference_say(ret, NULL,
                               "the log has too many events for this PCR to find the one that differs; give --against");
        else
                find_change(&t, ret);
        return 0;
}
