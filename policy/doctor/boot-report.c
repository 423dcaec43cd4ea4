/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/boot-report.h"

#include "basic/encode.h"

enum { STAGE_OFFSET_MAX_MS = 24 * 3600 * 1000 }; /* no boot takes a day */

/* "failure.name" of an object that somebody else wrote; NULL when it is not there or has another type. */
static json_object *json_at(json_object *at, const char *place, enum json_type type) {
        char part[64];

        for (;;) {
                size_t n = strcspn(place, ".");

                snprintf(part, sizeof part, "%.*s", (int) n, place);
                if (!json_object_is_type(at, json_type_object) || !json_object_object_get_ex(at, part, &at))
                        return NULL;
                if (!place[n])
                        return json_object_is_type(at, type) ? at : NULL;
                place += n + 1;
        }
}

const char *json_text_at(json_object *o, const char *place) {
        return json_text(json_at(o, place, json_type_string));
}

bool boot_report_has_pcr(const struct boot_report *b, unsigned pcr) {
        return (b->present & UINT32_C(1) << pcr) != 0;
}

static int take_pcrs(struct boot_report *b, json_object *json, struct error *e) {
        json_object *pcrs = json_at(json, "pcrs", json_type_object);
        char index[8];

        for (unsigned i = 0; i < PCR_COUNT_MAX; i++) {
                const char *hex;

                snprintf(index, sizeof index, "%u", i);
                hex = json_text_at(pcrs, index);
                if (!hex)
                        continue;
                if (hex_decode(hex, b->pcr[i], SHA384_SIZE) < 0)
                        return fail(e, FAILURE_USAGE, -EINVAL, "boot report", "PCR%u is not 96 hex digits", i);
                b->present |= UINT32_C(1) << i;
        }
        return 0;
}

/* The last stage of this name: an earlier one was tried again. */
static json_object *find_stage(json_object *json, const char *name) {
        json_object *stages = json_at(json, "stages", json_type_array);

        for (size_t i = stages ? json_object_array_length(stages) : 0; i > 0; i--) {
                json_object *stage = json_object_array_get_idx(stages, i - 1);
                const char *its = json_text_at(stage, "name");

                if (its && streq(its, name))
                        return stage;
        }
        return NULL;
}

static double number_at(json_object *o, const char *place, double absent) {
        json_object *number = json_at(o, place, json_type_double) ?: json_at(o, place, json_type_int);

        return number ? json_object_get_double(number) : absent;
}

/* When the document was asked for by the instance's clock: the boot's beginning, and the stage's offset from it. */
static void take_times(struct boot_report *b, json_object *json) {
        json_object *document = json_at(json, "document.timestamp_ms", json_type_int);
        json_object *began = json_at(json, "clock.realtime_ms", json_type_int);
        double offset_ms = number_at(find_stage(json, "attestation"), "began_ms", -1);

        /* Written this way round, the comparison is false for a NaN. */
        if (!document || !began || !(offset_ms >= 0 && offset_ms < STAGE_OFFSET_MAX_MS))
                return;
        b->has_times = true;
        b->asked_s = json_object_get_int64(began) / 1000 + (int64_t) (offset_ms / 1000);
        b->document_s = json_object_get_int64(document) / 1000;
}

int boot_report_parse(json_object *json, struct boot_report *ret, struct error *e) {
        struct boot_report b = {
                .outcome = json_text_at(json, "outcome"),
                .failure = { .name = json_text_at(json, "failure.name"),
                             .title = json_text_at(json, "failure.title"),
                             .subject = json_text_at(json, "failure.subject"),
                             .reason = json_text_at(json, "failure.reason"),
                             .advice = json_text_at(json, "failure.advice"),
                             .request_id = json_text_at(json, "failure.request_id") },
                .identity = { .instance = json_text_at(json, "identity.instance_id"),
                              .account = json_text_at(json, "identity.account"),
                              .region = json_text_at(json, "identity.region") },
                .key_arn = json_text_at(json, "key_arn"),
                .encryption_context = json_at(json, "encryption_context", json_type_object),
                .gpu_checks = json_at(json, "gpu_test", json_type_array),
        };
        int r;

        if (!b.outcome)
                return fail(e, FAILURE_USAGE, -EINVAL, "boot report",
                            "it has no \"outcome\": it is not the report of a sealboot-agent");
        take_times(&b, json);
        r = take_pcrs(&b, json, e);
        if (r < 0)
                return r;
        *ret = b;
        return 0;
}
