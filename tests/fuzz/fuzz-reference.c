/* SPDX-License-Identifier: Apache-2.0 */

/* Reference measurements. What is accepted can be written, and read back with the same values. */

#include "verify/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const struct reference *r) {
        _cleanup_references_ struct references again = {};
        _cleanup_json_ json_object *o = NULL;
        struct error e = { 0 };
        const char *text;

        if (reference_to_json(r, &o, &e) < 0)
                abort();
        text = json_object_to_json_string(o);
        if (references_parse(&again, text, strlen(text), "again", &e) < 0 || again.n != 1 ||
            again.items[0].present != r->present || memcmp(again.items[0].pcr, r->pcr, sizeof r->pcr) != 0)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_references_ struct references references = {};
        struct error e = { 0 };

        if (references_parse(&references, (const char *) data, size, "fuzz", &e) < 0)
                return references.n > 0 || e.failure != FAILURE_USAGE || !e.reason[0] ? (abort(), 0) : 0;
        for (size_t i = 0; i < references.n; i++)
                round_trip(&references.items[i]);
        return 0;
}
