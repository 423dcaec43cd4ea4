/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/replay-report.h"

#include "basic/encode.h"
#include "basic/json.h"
#include "replay/outside.h"

bool replay_is_as_expected(const struct replayed *r, const struct comparisons *c) {
        return comparisons_all_equal(c) && replayed_altered(r) == 0;
}

static bool is_unknown(const struct replayed *r, unsigned pcr) {
        return r->replay.unknown & UINT32_C(1) << pcr;
}

/* --- text --------------------------------------------------------------------------------------------------------- */

static void print_event(const struct log_event *event) {
        if (event->elsewhere) {
                printf("  %4zu  -      %-32s  %s\n", event->number, event->type_name, event->text);
                return;
        }
        printf("  %4zu  PCR%-2u  %-32s  %s\n", event->number, event->pcr, event->type_name, event->text);
        if (event->text_is == TEXT_NOT_MEASURED)
                printf("               NOT WHAT WAS MEASURED: the digest is not of this text\n");
        if (event_outside(event))
                printf("               NOTE: %s\n", event_outside(event));
}

/* Records of NV indexes belong to no PCR, so they are shown when no PCRs were chosen. */
static bool is_shown(const struct replayed *r, const struct log_event *event) {
        return event->elsewhere ? r->pcrs == PCRS_ALL : event->extended && replayed_wants(r, event->pcr);
}

static void print_events(const struct replayed *r) {
        const char *log = NULL;

        for (size_t i = 0; i < r->log.n; i++) {
                const struct log_event *event = &r->log.events[i];

                if (!is_shown(r, event))
                        continue;
                if (event->log != log)
                        printf("%s%s\n", log ? "\n" : "", event->log);
                log = event->log;
                print_event(event);
        }
}

/* PCRs that key policies name are shown even where nothing was measured: it matters that they are zero. */
static void print_values(const struct replayed *r) {
        static const uint32_t in_policies =
                1 << PCR_DRIVERS | 1 << PCR_IMAGE | 1 << PCR_SECURE_BOOT | 1 << PCR_COMMAND_LINE | 1 << PCR_MODEL;
        char hex[2 * PCR_DIGEST_MAX + 1];

        printf("\n%s bank:\n", r->replay.bank->name);
        for (unsigned pcr = 0; pcr < PCR_COUNT; pcr++) {
                if (!replayed_wants(r, pcr) || !((r->replay.touched | in_policies) & UINT32_C(1) << pcr))
                        continue;
                hex_encode(r->replay.pcr[pcr], r->replay.bank->size, hex);
                printf("  PCR%-2u %s\n", pcr,
                       is_unknown(r, pcr) ? "unknown: an event lacks a digest for this bank" : hex);
        }
}

static void print_comparison(const struct replayed *r, const struct comparison *c) {
        const struct log_event *event = c->difference.event;
        char hex[2 * PCR_DIGEST_MAX + 1];

        if (c->difference.equal) {
                printf("  PCR%-2u equal\n", c->pcr);
                return;
        }
        printf("  PCR%-2u DIFFERS: %s\n", c->pcr, c->difference.meaning);
        if (event)
                printf("        at event %zu of %s: %s, %s\n", event->number, event->log, event->type_name,
                       event->text);
        if (!c->has_value)
                return;
        hex_encode(c->value, r->replay.bank->size, hex);
        printf("        there:  %s\n", hex);
        hex_encode(r->replay.pcr[c->pcr], r->replay.bank->size, hex);
        printf("        by log: %s\n", hex);
}

void replay_print_text(const struct replayed *r, const struct comparisons *c) {
        print_events(r);
        print_values(r);
        for (size_t i = 0; i < c->n; i++) {
                if (i == 0 || !streq(c->items[i].with, c->items[i - 1].with))
                        printf("\nCompared with %s:\n", c->items[i].with);
                print_comparison(r, &c->items[i]);
        }
        if (replayed_altered(r) > 0)
                printf("\nThe log was ALTERED: %zu of its events say other things than were measured.\n",
                       replayed_altered(r));
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

static json_object *hex_to_json(const uint8_t *data, size_t n) {
        char hex[2 * PCR_DIGEST_MAX + 1];

        hex_encode(data, n, hex);
        return json_object_new_string(hex);
}

static json_object *elsewhere_to_json(const struct log_event *event) {
        json_object *o = json_object_new_object();

        if (!o)
                return NULL;
        json_object_object_add(o, "log", json_object_new_string(event->log));
        json_object_object_add(o, "number", json_object_new_int64((int64_t) event->number));
        json_object_object_add(o, "type", json_object_new_string(event->type_name));
        json_object_object_add(o, "text", json_object_new_string(event->text));
        return o;
}

static json_object *event_to_json(const struct replayed *r, const struct log_event *event) {
        const uint8_t *digest = log_event_digest(event, r->replay.bank);
        json_object *o = json_object_new_object();

        if (!o)
                return NULL;
        json_object_object_add(o, "log", json_object_new_string(event->log));
        json_object_object_add(o, "number", json_object_new_int64((int64_t) event->number));
        json_object_object_add(o, "pcr", json_object_new_int((int) event->pcr));
        json_object_object_add(o, "type", json_object_new_string(event->type_name));
        json_object_object_add(o, "text", json_object_new_string(event->text));
        json_object_object_add(o, "text_measured",
                               event->text_is == TEXT_UNCHECKED
                                       ? NULL
                                       : json_object_new_boolean(event->text_is == TEXT_MEASURED));
        if (event_outside(event))
                json_object_object_add(o, "note", json_object_new_string(event_outside(event)));
        if (digest)
                json_object_object_add(o, "digest", hex_to_json(digest, r->replay.bank->size));
        return o;
}

static json_object *comparison_to_json(const struct replayed *r, const struct comparison *c) {
        json_object *o = json_object_new_object();

        if (!o)
                return NULL;
        json_object_object_add(o, "with", json_object_new_string(c->with));
        json_object_object_add(o, "pcr", json_object_new_int((int) c->pcr));
        json_object_object_add(o, "equal", json_object_new_boolean(c->difference.equal));
        if (c->has_value)
                json_object_object_add(o, "value", hex_to_json(c->value, r->replay.bank->size));
        if (!c->difference.equal)
                json_object_object_add(o, "meaning", json_object_new_string(c->difference.meaning));
        if (c->difference.event)
                json_object_object_add(o, "event", event_to_json(r, c->difference.event));
        return o;
}

static json_object *values_to_json(const struct replayed *r) {
        json_object *o = json_object_new_object();
        char name[sizeof "PCR4294967295"];

        for (unsigned pcr = 0; o && pcr < PCR_COUNT; pcr++) {
                if (!replayed_wants(r, pcr) || is_unknown(r, pcr))
                        continue;
                snprintf(name, sizeof name, "PCR%u", pcr);
                json_object_object_add(o, name, hex_to_json(r->replay.pcr[pcr], r->replay.bank->size));
        }
        return o;
}

static json_object *events_to_json(const struct replayed *r) {
        json_object *array = json_object_new_array();

        for (size_t i = 0; array && i < r->log.n; i++)
                if (r->log.events[i].extended && replayed_wants(r, r->log.events[i].pcr))
                        json_object_array_add(array, event_to_json(r, &r->log.events[i]));
        return array;
}

static json_object *all_elsewhere_to_json(const struct replayed *r) {
        json_object *array = json_object_new_array();

        for (size_t i = 0; array && i < r->log.n; i++)
                if (r->log.events[i].elsewhere)
                        json_object_array_add(array, elsewhere_to_json(&r->log.events[i]));
        return array;
}

static json_object *comparisons_to_json(const struct replayed *r, const struct comparisons *c) {
        json_object *array = json_object_new_array();

        for (size_t i = 0; array && i < c->n; i++)
                json_object_array_add(array, comparison_to_json(r, &c->items[i]));
        return array;
}

int replay_print_json(const struct replayed *r, const struct comparisons *c, struct error *e) {
        const struct {
                const char *key;
                json_object *value;
        } members[] = {
                { "bank", json_object_new_string(r->replay.bank->name) },
                { "pcrs", values_to_json(r) },
                { "events", events_to_json(r) },
                { "elsewhere", all_elsewhere_to_json(r) },
                { "comparisons", comparisons_to_json(r, c) },
                { "equal", json_object_new_boolean(replay_is_as_expected(r, c)) },
        };
        _cleanup_json_ json_object *o = json_object_new_object();
        bool complete = o;

        for (size_t i = 0; i < ELEMENTS(members); i++)
                if (!members[i].value || !o || json_object_object_add(o, members[i].key, members[i].value) < 0) {
                        json_object_put(members[i].value);
                        complete = false;
                }
        if (!complete)
                return fail_oom(e);
        puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
        return 0;
}
