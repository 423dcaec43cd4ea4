/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/document-claims.h"

#include "evidence/cbor.h"

enum { COSE_SIGN1_TAG = 18 };

/* COSE_Sign1: an optional tag, then [protected, unprotected, payload, signature]. */
static int find_payload(struct reader *r, struct reader *ret) {
        struct cbor_item item;

        if (cbor_take(r, &item) < 0)
                return -EBADMSG;
        if (item.kind == CBOR_TAG && item.value == COSE_SIGN1_TAG && cbor_take(r, &item) < 0)
                return -EBADMSG;
        if (item.kind != CBOR_ARRAY || item.value != 4 || cbor_skip(r) < 0 || cbor_skip(r) < 0 ||
            cbor_take_kind(r, CBOR_BYTES, &item) < 0)
                return -EBADMSG;
        *ret = reader_over(item.data, item.size);
        return 0;
}

static int take_pcrs(struct reader *r, uint8_t pcrs[static PCR_COUNT][SHA384_SIZE]) {
        struct cbor_item pcr, value;
        size_t pairs;

        if (cbor_take_map(r, &pairs) < 0)
                return -EBADMSG;
        while (cbor_map_more(r, &pairs)) {
                if (cbor_take_kind(r, CBOR_UINT, &pcr) < 0 || cbor_take_kind(r, CBOR_BYTES, &value) < 0 ||
                    pcr.value >= PCR_COUNT || value.size != SHA384_SIZE)
                        return -EBADMSG;
                memcpy(pcrs[pcr.value], value.data, SHA384_SIZE);
        }
        return 0;
}

static bool is(const struct cbor_item *key, const char *name) {
        return key->size == strlen(name) && memcmp(key->data, name, key->size) == 0;
}

int document_claims(const uint8_t *document, size_t n, struct document_claims *ret) {
        struct reader r = reader_over(document, n), payload;
        struct document_claims claims = { 0 };
        bool has_timestamp = false, has_pcrs = false;
        struct cbor_item key, item;
        size_t pairs;

        if (find_payload(&r, &payload) < 0 || cbor_take_map(&payload, &pairs) < 0)
                return -EBADMSG;
        while (cbor_map_more(&payload, &pairs)) {
                if (cbor_take_kind(&payload, CBOR_TEXT, &key) < 0)
                        return -EBADMSG;
                if (is(&key, "timestamp")) {
                        if (cbor_take_kind(&payload, CBOR_UINT, &item) < 0)
                                return -EBADMSG;
                        claims.timestamp_ms = item.value;
                        has_timestamp = true;
                } else if (is(&key, "nitrotpm_pcrs")) {
                        if (take_pcrs(&payload, claims.pcrs) < 0)
                                return -EBADMSG;
                        has_pcrs = true;
                } else if (cbor_skip(&payload) < 0)
                        return -EBADMSG;
        }
        if (!has_timestamp || !has_pcrs)
                return -EBADMSG;
        *ret = claims;
        return 0;
}
