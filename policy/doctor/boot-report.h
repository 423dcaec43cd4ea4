/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The agent's boot report (sealboot-agent(8)) as a table of what the doctor looks at. The report was copied from an
 * instance, or written by hand: a member that is missing or has another type counts as not there. */

#include "basic/json.h"
#include "evidence/registers.h"

/* Everything is borrowed from the JSON. Texts are NULL where the report has none. */
struct boot_report {
        const char *outcome; /* never NULL */
        struct {
                const char *name; /* NULL: no failure is named */
                const char *title, *subject, *reason, *advice, *request_id;
        } failure;
        struct {
                const char *instance, *account, *region;
        } identity;
        const char *key_arn;
        json_object *encryption_context; /* NULL: none */
        bool has_times;
        int64_t asked_s, document_s; /* of the attestation, by the instance's clock and by the NitroTPM's */
        json_object *gpu_checks;     /* an array: what a self-test found; NULL: there was none */
        uint32_t present;            /* PCRs of the document; 0: no document was made */
        uint8_t pcr[PCR_COUNT_MAX][SHA384_SIZE];
};

/* FAILURE_USAGE when this is not a boot report. */
int boot_report_parse(json_object *json, struct boot_report *ret, struct error *e);
bool boot_report_has_pcr(const struct boot_report *b, unsigned pcr);

/* The text at "failure.name" of a JSON object, or NULL. */
const char *json_text_at(json_object *o, const char *place);
