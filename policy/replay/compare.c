/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/compare.h"

#include <openssl/evp.h>
#include <stdarg.h>

#include "measure/event-types.h"
#include "replay/outside.h"

enum {
        TRIAL_EVENTS_MAX = 64, /* trying every range of more would take too long, and no PCR in use has as many */
        BOOT_ATTEMPTS_MAX = 3,
};

static const char returning[] = "Returning from EFI Application from Boot Option";
static const char calling[] = "Calling EFI Application from Boot Option";

static void say(struct difference *d, const struct log_event *event, const char *format, ...) _printf_(3, 4);

static void say(struct difference *d, const struct log_event *event, const char *format, ...) {
        va_list ap;

        *d = (struct difference) { .event = event };
        va_start(ap, format);
        vsnprintf(d->meaning, sizeof d->meaning, format, ap);
        va_end(ap);
        if (event && event->text_is == TEXT_NOT_MEASURED)
                snprintf(d->meaning, sizeof d->meaning,
                         "this event, or a later one; which is meant cannot be told, because the event's text is not "
                         "what was measured: the log was altered");
}

static bool ends_with(const char *text, const char *end) {
        size_t n = strlen(text), m = strlen(end);

        return n >= m && streq(text + n - m, end);
}

static bool is_kernel(const char *text) {
        return ends_with(text, ":.linux") || strstr(text, "the kernel in .linux") || streq(text, "an image in memory");
}

/* A command line is measured as the event shows it; of credentials and extensions the event shows but a label. */
static bool is_command_line(const struct log_event *event) {
        return event->pcr == PCR_COMMAND_LINE && event->type == EV_IPL && event->text_is == TEXT_MEASURED;
}

/* --- words -------------------------------------------------------------------------------------------------------- */

static void say_extra(struct difference *d, const struct log_event *event) {
        const char *text = event->text;

        if (event->type == EV_EFI_ACTION && strstr(text, returning))
                say(d, event, "another boot option was tried first, and started nothing");
        else if (event->type == EV_EFI_BOOT_SERVICES_APPLICATION && ends_with(text, ".addon.efi"))
                say(d, event, "an addon was loaded: %s", text);
        else if (event->type == EV_EFI_BOOT_SERVICES_APPLICATION && is_kernel(text))
                say(d, event,
                    "the kernel was measured by firmware too: Secure Boot is off, or the stub is older than expected");
        else if (event->type == EV_EFI_BOOT_SERVICES_APPLICATION)
                say(d, event, "one more application was started: %s", text);
        else if (event->type == EV_EFI_VARIABLE_AUTHORITY)
                say(d, event, "one more entry of db authorised an image: %s", text);
        else if (is_command_line(event))
                say(d, event, "a command line was appended: %s", text);
        else if (event->pcr == PCR_COMMAND_LINE)
                say(d, event, "the kernel's configuration was added to: %s", text);
        else if (event_outside(event))
                say(d, event, "%s: %s", event_outside(event), text);
        else
                say(d, event, "one more event was measured: %s, %s", event->type_name, text);
}

static void say_missing(struct difference *d, const struct expected_event *expected) {
        if (expected->type == EV_EFI_BOOT_SERVICES_APPLICATION && is_kernel(expected->text))
                say(d, NULL, "the kernel in .linux was not measured: Secure Boot is on, or the stub is 258 or later");
        else if (expected->type == EV_EFI_ACTION && strstr(expected->text, returning))
                say(d, NULL, "fewer boot options were tried than expected");
        else if (expected->pcr == PCR_COMMAND_LINE)
                say(d, NULL, "a command line was expected and is missing: %s", expected->text);
        else if (is_outside_driver(expected->pcr, expected->type))
                say(d, NULL, "a UEFI driver from outside the firmware was expected and did not run: %s",
                    expected->text);
        else
                say(d, NULL, "an event is missing: %s", expected->text);
}

/* "variable db, 827 bytes" -> "db" */
static void variable_name(const char *text, char out[static 32]) {
        const char *name = strncmp(text, "variable ", 9) == 0 ? text + 9 : text;

        snprintf(out, 32, "%.*s", (int) MIN_OF(strcspn(name, ", "), (size_t) 31), name);
}

/* systemd-stub measures each section of the UKI into PCR11, first its name and then its content, both under the name.
 */
static const uint8_t *section_in_log(const struct event_log *log, const struct pcr_algorithm *bank, const char *text) {
        size_t seen = 0;

        for (size_t i = 0; i < log->n; i++)
                if (log->events[i].pcr == PCR_SECTIONS && log->events[i].type == EV_IPL &&
                    streq(log->events[i].text, text) && ++seen == 2)
                        return log_event_digest(&log->events[i], bank);
        return NULL;
}

/* "the .linux, .cmdline sections differ", as far as PCR11's events tell: not every stub measures every section. */
static void add_sections(struct difference *d, const struct event_log *log, const struct pcr_algorithm *bank,
                         const struct expected_event *expected, size_t n) {
        const char *name = "";
        char names[256] = "";
        size_t known = 0, differ = 0;

        for (size_t i = 0; i < n; i++) {
                const uint8_t *digest;

                if (expected[i].pcr != 11 || expected[i].type != EV_IPL)
                        continue;
                if (!streq(expected[i].text, name)) {
                        name = expected[i].text;
                        continue;
                }
                name = "";
                digest = section_in_log(log, bank, expected[i].text);
                if (!digest)
                        continue;
                known++;
                if (memcmp(digest, expected[i].digest, bank->size) != 0) /* the texts are in quotes */
                        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%.*s", differ++ ? ", " : "",
                                 (int) MIN_OF(strlen(expected[i].text) - 2, (size_t) 40), expected[i].text + 1);
        }
        if (known == 0)
                return;
        if (differ)
                snprintf(d->meaning + strlen(d->meaning), sizeof d->meaning - strlen(d->meaning),
                         "; by PCR11 the %s %s", names, differ == 1 ? "section differs" : "sections differ");
        else
                snprintf(d->meaning + strlen(d->meaning), sizeof d->meaning - strlen(d->meaning),
                         "; by PCR11 the sections measured there are the same, so the stub differs, or a section it "
                         "does not measure");
}

static void say_changed(struct difference *d, const struct expected_event *expected, const struct log_event *event) {
        char name[32];

        variable_name(event->text, name);
        if (event->type != expected->type)
                say_extra(d, event);
        else if (event->type == EV_EFI_BOOT_SERVICES_APPLICATION &&
                 (is_kernel(expected->text) || is_kernel(event->text)))
                say(d, event, "the .linux section differs: this is another kernel");
        else if (event->type == EV_EFI_BOOT_SERVICES_APPLICATION)
                say(d, event, "the image differs: %.300s is another UKI, or another build of it", event->text);
        else if (event->type == EV_EFI_VARIABLE_DRIVER_CONFIG && streq(name, "SecureBoot"))
                say(d, event, "Secure Boot is %s", ends_with(event->text, "= 1") ? "on" : "off");
        else if (event->type == EV_EFI_VARIABLE_DRIVER_CONFIG)
                say(d, event, "the key list %s is another one", name);
        else if (event->type == EV_EFI_VARIABLE_AUTHORITY)
                say(d, event, "another entry of db authorised the image: %s", event->text);
        else if (is_command_line(event))
                say(d, event, "another command line was appended: %s", event->text);
        else if (event->pcr == PCR_COMMAND_LINE)
                say(d, event, "the kernel's configuration was added to in another way: %s", event->text);
        else if (is_outside_driver(event->pcr, event->type))
                say(d, event, "another UEFI driver from outside the firmware ran: %s", event->text);
        else
                say(d, event, "%s differs: %s", event->type_name, event->text);
}

/* --- lists -------------------------------------------------------------------------------------------------------- */

static size_t events_of(const struct event_log *log, unsigned pcr, const struct log_event **out, size_t max) {
        size_t n = 0;

        for (size_t i = 0; i < log->n; i++)
                if (log->events[i].extended && log->events[i].pcr == pcr && n++ < max)
                        out[n - 1] = &log->events[i];
        return n;
}

static bool same(const struct log_event *event, const struct expected_event *expected,
                 const struct pcr_algorithm *bank) {
        const uint8_t *digest = log_event_digest(event, bank);

        return digest && expected->digest && memcmp(digest, expected->digest, bank->size) == 0;
}

static void compare_lists(const struct log_event **have, size_t n, const struct expected_event **want, size_t m,
                          const struct pcr_algorithm *bank, struct difference *ret) {
        size_t i = 0;

        while (i < n && i < m && same(have[i], want[i], bank))
                i++;
        if (i == n && i == m)
                *ret = (struct difference) { .equal = true };
        else if (i == m)
                say_extra(ret, have[i]);
        else if (i == n)
                say_missing(ret, want[i]);
        else if (!want[i]->digest || !log_event_digest(have[i], bank))
                say(ret, have[i], "cannot be compared: %s has no %s digest of it",
                    want[i]->digest ? "the log" : "the other log", bank->name);
        else {
                for (size_t j = i + 1; j < n; j++)
                        if (same(have[j], want[i], bank))
                                return say_extra(ret, have[i]);
                for (size_t j = i + 1; j < m; j++)
                        if (same(have[i], want[j], bank))
                                return say_missing(ret, want[i]);
                say_changed(ret, want[i], have[i]);
        }
}

int compare_events(const struct event_log *log, const struct pcr_algorithm *bank, unsigned pcr,
                   const struct expected_event *expected, size_t n_expected, struct difference *ret, struct error *e) {
        _cleanup_free_ const struct log_event **have = calloc(log->n + 1, sizeof *have);
        _cleanup_free_ const struct expected_event **want = calloc(n_expected + 1, sizeof *want);
        size_t m = 0;

        if (!have || !want)
                return fail_oom(e);
        for (size_t i = 0; i < n_expected; i++)
                if (expected[i].pcr == pcr)
                        want[m++] = &expected[i];
        compare_lists(have, events_of(log, pcr, have, log->n), want, m, bank, ret);
        if (pcr == PCR_IMAGE && ret->event && ret->event->type == EV_EFI_BOOT_SERVICES_APPLICATION)
                add_sections(ret, log, bank, expected, n_expected);
        return 0;
}

/* --- values ------------------------------------------------------------------------------------------------------- */

struct trial {
        const struct pcr_algorithm *bank;
        const struct log_event *events[TRIAL_EVENTS_MAX];
        size_t n;
        const uint8_t *target;
        uint8_t start[PCR_DIGEST_MAX];
};

/* One change to the events: those in [from, to) are replaced by `with`. */
struct change {
        size_t from, to;
        const uint8_t (*with)[PCR_DIGEST_MAX];
        size_t n_with;
        bool without_authorities;
};

static bool reaches(const struct trial *t, const struct change *c) {
        uint8_t value[PCR_DIGEST_MAX];

        memcpy(value, t->start, sizeof value);
        for (size_t i = 0; i <= t->n; i++) {
                if (i == c->from)
                        for (size_t j = 0; j < c->n_with; j++)
                                if (pcr_extend(t->bank, value, c->with[j], NULL) < 0)
                                        return false;
                if (i == t->n || (i >= c->from && i < c->to) ||
                    (c->without_authorities && t->events[i]->type == EV_EFI_VARIABLE_AUTHORITY))
                        continue;
                if (pcr_extend(t->bank, value, log_event_digest(t->events[i], t->bank), NULL) < 0)
                        return false;
        }
        return memcmp(value, t->target, t->bank->size) == 0;
}

static bool hash(const struct pcr_algorithm *bank, const void *data, size_t n, uint8_t out[static PCR_DIGEST_MAX]) {
        return EVP_Q_digest(NULL, bank->name, NULL, data, n, out, NULL) == 1;
}

/* The digest of UEFI_VARIABLE_DATA for the variables of PCR7. */
static bool hash_variable(const struct pcr_algorithm *bank, const char *name, const uint8_t *data, size_t size,
                          uint8_t out[static PCR_DIGEST_MAX]) {
        static const uint8_t global[16] = "\x61\xdf\xe4\x8b\xca\x93\xd2\x11\xaa\x0d\x00\xe0\x98\x03\x2b\x8c";
        static const uint8_t database[16] = "\xcb\xb2\x19\xd7\x3a\x3d\x96\x45\xa3\xbc\xda\xd0\x0e\x67\x65\x6f";
        uint8_t event[16 + 16 + 2 * 16 + 1] = {};
        size_t n = strlen(name);

        if (n > 16 || size > 1)
                return false;
        memcpy(event, name[0] == 'd' ? database : global, 16);
        event[16] = (uint8_t) n;
        event[24] = (uint8_t) size;
        for (size_t i = 0; i < n; i++)
                event[32 + 2 * i] = (uint8_t) name[i];
        if (size > 0)
                event[32 + 2 * n] = data[0];
        return hash(bank, event, 32 + 2 * n + size, out);
}

static bool try_left_out(const struct trial *t, enum value_kind kind, struct difference *ret) {
        for (size_t length = 1; length <= t->n; length++)
                for (size_t from = t->n - length + 1; from-- > 0;) {
                        struct difference d;

                        if (!reaches(t, &(struct change) { .from = from, .to = from + length }))
                                continue;
                        say_extra(&d, t->events[from]);
                        if (kind == VALUE_MEASURED)
                                say(ret, t->events[from], "the log tells of it, but it was not measured: %.600s",
                                    d.meaning);
                        else
                                *ret = d;
                        return true;
                }
        return false;
}

static bool try_boot_attempts(const struct trial *t, struct difference *ret) {
        uint8_t with[2 * BOOT_ATTEMPTS_MAX][PCR_DIGEST_MAX];

        for (size_t i = 0; i < BOOT_ATTEMPTS_MAX; i++)
                if (!hash(t->bank, returning, strlen(returning), with[2 * i]) ||
                    !hash(t->bank, calling, strlen(calling), with[2 * i + 1]))
                        return false;
        for (size_t at = 0; at <= t->n; at++)
                for (size_t n = 1; n <= BOOT_ATTEMPTS_MAX; n++)
                        if (reaches(t, &(struct change) { .from = at, .to = at, .with = with, .n_with = 2 * n })) {
                                say(ret, NULL, "fewer boot options were tried than expected: there, %zu failed first",
                                    n);
                                return true;
                        }
        return false;
}

static bool try_variables(const struct trial *t, struct difference *ret) {
        for (size_t i = 0; i < t->n; i++) {
                const struct log_event *event = t->events[i];
                uint8_t with[1][PCR_DIGEST_MAX], other;
                struct change c = { .from = i, .to = i + 1, .with = with, .n_with = 1 };
                char name[32];

                if (event->type != EV_EFI_VARIABLE_DRIVER_CONFIG)
                        continue;
                variable_name(event->text, name);
                other = ends_with(event->text, "= 1") ? 0 : 1;
                if (streq(name, "SecureBoot") ? !hash_variable(t->bank, name, &other, 1, with[0])
                                              : !hash_variable(t->bank, name, NULL, 0, with[0]))
                        continue;
                if (!reaches(t, &c)) {
                        c.without_authorities = true;
                        if (!reaches(t, &c))
                                continue;
                }
                if (streq(name, "SecureBoot"))
                        say(ret, event, "Secure Boot is %s", other ? "off" : "on");
                else
                        say(ret, event, "the key list %s is set, and was not when the value was computed", name);
                return true;
        }
        return false;
}

static void say_unknown(const struct trial *t, unsigned pcr, enum value_kind kind, struct difference *ret) {
        const struct log_event *first = NULL;

        for (size_t i = 0; i < t->n && !first; i++)
                if (is_outside_driver(pcr, t->events[i]->type) ||
                    (pcr == PCR_IMAGE && t->events[i]->type == EV_EFI_BOOT_SERVICES_APPLICATION) ||
                    (pcr == PCR_SECURE_BOOT && t->events[i]->type == EV_EFI_VARIABLE_DRIVER_CONFIG &&
                     !strstr(t->events[i]->text, "SecureBoot")))
                        first = t->events[i];
        if (kind == VALUE_MEASURED)
                say(ret, NULL,
                    "the log does not lead to this value, with or without any of its events: it is of another boot, "
                    "altered, or a later log (of userspace) is missing");
        else if (t->n == 0)
                say(ret, NULL, "nothing was measured, although something was expected");
        else if (pcr == PCR_DRIVERS)
                say(ret, first,
                    first ? "a UEFI driver from outside the firmware differs, this one or a later one; --against tells "
                            "which"
                          : "no driver from outside the firmware ran, and one was expected");
        else if (pcr == PCR_IMAGE)
                say(ret, first, "an image differs, this one or a later one; --image or --against tells which");
        else if (pcr == PCR_SECURE_BOOT)
                say(ret, first,
                    "a key list differs, or the entry of db that authorised the image; --against tells which");
        else
                say(ret, t->events[0], "what was measured differs, from this event on or later; --against tells which");
}

int compare_value(const struct event_log *log, const struct pcr_algorithm *bank, unsigned pcr, const uint8_t *value,
                  enum value_kind kind, struct difference *ret, struct error *e) {
        struct trial t = { .bank = bank, .target = value };
        struct replay r;
        size_t n;
        int k = 0;

        replay_start(&r, bank, log->locality);
        memcpy(t.start, r.pcr[pcr], sizeof t.start);
        for (size_t i = 0; i < log->n && k == 0; i++)
                k = replay_event(&r, &log->events[i], e);
        if (k < 0)
                return k;
        if (memcmp(r.pcr[pcr], value, bank->size) == 0 && !(r.unknown & UINT32_C(1) << pcr)) {
                *ret = (struct difference) { .equal = true };
                return 0;
        }
        n = events_of(log, pcr, t.events, TRIAL_EVENTS_MAX);
        if (r.unknown & UINT32_C(1) << pcr)
                say(ret, NULL, "the log lacks %s digests for this PCR", bank->name);
        else if (n > TRIAL_EVENTS_MAX)
                say(ret, NULL, "the log has too many events for this PCR to find the one that differs; give --against");
        else {
                t.n = n;
                if (!try_left_out(&t, kind, ret) &&
                    !(kind == VALUE_EXPECTED && pcr == PCR_IMAGE && try_boot_attempts(&t, ret)) &&
                    !(kind == VALUE_EXPECTED && pcr == PCR_SECURE_BOOT && try_variables(&t, ret)))
                        say_unknown(&t, pcr, kind, ret);
        }
        return 0;
}
