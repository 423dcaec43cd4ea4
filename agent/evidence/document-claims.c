/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/document-claims.h"

#include "evidence/cbor.h"

/* COSE_Sign1: an optional tag, then [protected, unprotected, payload, signature]. */
static int find_payload(struct reader *r, struct reader *ret) {
        struct cbor_item item;

        if (cbor_take(r, &item) < 0)
                return -EBADMSG;
        if (item.kind == CBOR_TAG && item.value == CBOR_TAG_COSE_SIGN1 && cbor_take(r, &item) < 0)
                return -EBADMSG;
        if (item.kind != CBOR_ARRAY || item.value != 4 || cbor_skip(r) < 0 || cbor_skip(r) < 0 ||
            cbor_take_kind(r, CBOR_BYTES, &item) < 0)
                return -EBADMSG;
        *ret = reader_over(item.data, item.size);
        return 0;
}

static bool is(const struct cbor_item *key, const char *name) {
        return key->size == strlen(name) && memcmp(key->data, name, key->size) == 0;
}

static int take_timestamp(struct reader *r, struct document_claims *claims) {
        struct cbor_item item;

        if (cbor_take_kind(r, CBOR_UINT, &item) < 0)
                return -EBADMSG;
        claims->timestamp_ms = item.value;
        return 0;
}

static int take_pcrs(struct reader *r, struct document_claims *claims) {
        struct cbor_item pcr, value;
        size_t pairs;

        if (cbor_take_map(r, &pairs) < 0)
                return -EBADMSG;
        while (cbor_map_more(r, &pairs)) {
                if (cbor_take_kind(r, CBOR_UINT, &pcr) < 0 || cbor_take_kind(r, CBOR_BYTES, &value) < 0 ||
                    pcr.value >= PCR_COUNT || value.size != SHA384_SIZE)
                        return -EBADMSG;
                memcpy(claims->pcrs[pcr.value], value.data, SHA384_SIZE);
        }
        return 0;
}

static const struct {
        const char *key;
        int (*take)(struct reader *r, struct document_claims *claims);
} fields[] = {
        { "timestamp", take_timestamp },
        { "nitrotpm_pcrs", take_pcrs },
};

static int take_pair(struct reader *r, struct document_claims *claims, bool found[static ELEMENTS(fields)]) {
        struct cbor_item key;

        if (cbor_take_kind(r, CBOR_TEXT, &key) < 0)
                return -EBADMSG;
        for (size_t i = 0; i < ELEMENTS(fields); i++) {
                if (!is(&key, fields[i].key))
                        continue;
                found[i] = true;
                return fields[i].take(r, claims);
        }
        return cbor_skip(r);
}

int document_claims(const uint8_t *document, size_t n, struct document_claims *ret) {
        struct reader r = reader_over(document, n), payload;
        struct document_claims claims = { 0 };
        bool found[ELEMENTS(fields)] = { 0 };
        size_t pairs;

        if (find_payload(&r, &payload) < 0 || cbor_take_map(&payload, &pairs) < 0)
                return -EBADMSG;
        while (cbor_map_more(&payload, &pairs))
                if (take_pair(&payload, &claims, found) < 0)
                        return -EBADMSG;
        for (size_t i = 0; i < ELEMENTS(fields); i++)
                if (!found[i])
                        return -EBADMSG;
        *ret = claims;
        return 0;
}
