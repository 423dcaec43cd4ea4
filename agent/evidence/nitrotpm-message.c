/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/cbor.h"
#include "evidence/nitrotpm.h"

static int put_field(struct cbor_writer *w, const char *key, const void *data, size_t n) {
        if (cbor_put_text(w, key) < 0)
                return -ENOBUFS;
        return data ? cbor_put_bytes(w, data, n) : cbor_put_null(w);
}

int nitrotpm_encode_request(const struct attestation_request *q, uint8_t out[static ATTESTATION_REQUEST_MAX],
                            size_t *ret_size, struct error *e) {
        const struct {
                const char *key;
                const void *data;
                size_t size;
        } fields[] = {
                { "user_data", q->user_data, q->user_data_size },
                { "nonce", q->nonce, q->nonce_size },
                { "public_key", q->public_key, q->public_key_size },
        };
        struct cbor_writer w = { .data = out, .room = ATTESTATION_REQUEST_MAX };
        bool fits = cbor_put_map(&w, 1) == 0 && cbor_put_text(&w, "Attestation") == 0 &&
                    cbor_put_map(&w, ELEMENTS(fields)) == 0;

        for (size_t i = 0; i < ELEMENTS(fields); i++) {
                if (fields[i].data && fields[i].size > ATTESTATION_FIELD_MAX)
                        return fail(e, FAILURE_USAGE, -E2BIG, fields[i].key,
                                    "it has %zu bytes, and an attestation document holds at most %d", fields[i].size,
                                    ATTESTATION_FIELD_MAX);
                fits = fits && put_field(&w, fields[i].key, fields[i].data, fields[i].size) == 0;
        }
        if (!fits)
                return fail(e, FAILURE_INTERNAL, -ENOBUFS, "attestation request", "it does not fit");
        *ret_size = w.size;
        return 0;
}

int nitrotpm_decode_answer(const uint8_t *answer, size_t size, const char *subject, const uint8_t **ret_document,
                           size_t *ret_size, struct error *e) {
        struct cbor_item attestation = { .data = NULL }, error = { .data = NULL }, document = { .data = NULL };
        const struct cbor_field outer[] = {
                { .key = "Attestation", .kind = CBOR_MAP, .ret = &attestation },
                { .key = "Error", .kind = CBOR_TEXT, .min = 1, .max = 64, .ret = &error },
        };
        /* clang-format off */
        const struct cbor_field inner[] = {
                { .key = "document", .kind = CBOR_BYTES, .required = true, .min = 1, .max = ATTESTATION_INDEX_BYTES,
                  .ret = &document },
        };
        /* clang-format on */
        struct reader r = reader_over(answer, size);
        const char *wrong;

        if (cbor_take_fields(&r, outer, ELEMENTS(outer), &wrong) < 0)
                return fail(e, FAILURE_ATTESTATION, -EBADMSG, subject, "the NitroTPM's answer is malformed: %s", wrong);
        if (!attestation.data == !error.data)
                return fail(e, FAILURE_ATTESTATION, -EBADMSG, subject,
                            "the NitroTPM's answer is neither a document nor an error");
        if (error.data)
                return fail(e, FAILURE_ATTESTATION, -EREMOTEIO, subject, "the NitroTPM answered: %.*s",
                            (int) error.size, (const char *) error.data);
        r = reader_over(attestation.data, attestation.size);
        if (cbor_take_fields(&r, inner, ELEMENTS(inner), &wrong) < 0)
                return fail(e, FAILURE_ATTESTATION, -EBADMSG, subject, "the NitroTPM's answer is malformed: %s", wrong);
        *ret_document = document.data;
        *ret_size = document.size;
        return 0;
}
