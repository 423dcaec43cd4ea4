/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/document-time.h"

#include "evidence/cbor.h"

enum { COSE_SIGN1_TAG = 18 };

/* COSE_Sign1: an optional tag, then [protected, unprotected, payload, signature]. */
static int find_payload(struct reader *r, struct cbor_item *ret) {
        struct cbor_item item;

        if (cbor_take(r, &item) < 0)
                return -EBADMSG;
        if (item.kind == CBOR_TAG && item.value == COSE_SIGN1_TAG && cbor_take(r, &item) < 0)
                return -EBADMSG;
        if (item.kind != CBOR_ARRAY || item.value != 4 || cbor_skip(r) < 0 || cbor_skip(r) < 0)
                return -EBADMSG;
        return cbor_take_kind(r, CBOR_BYTES, ret);
}

int document_timestamp(const uint8_t *document, size_t n, uint64_t *ret) {
        struct reader r = reader_over(document, n), payload;
        struct cbor_item item;
        size_t pairs;

        if (find_payload(&r, &item) < 0)
                return -EBADMSG;
        payload = reader_over(item.data, item.size);
        if (cbor_take_map(&payload, &pairs) < 0)
                return -EBADMSG;
        while (cbor_map_more(&payload, &pairs)) {
                struct cbor_item key;

                if (cbor_take_kind(&payload, CBOR_TEXT, &key) < 0)
                        return -EBADMSG;
                if (key.size != strlen("timestamp") || memcmp(key.data, "timestamp", key.size) != 0) {
                        if (cbor_skip(&payload) < 0)
                                return -EBADMSG;
                        continue;
                }
                if (cbor_take_kind(&payload, CBOR_UINT, &item) < 0)
                        return -EBADMSG;
                *ret = item.value;
                return 0;
        }
        return -EBADMSG;
}
