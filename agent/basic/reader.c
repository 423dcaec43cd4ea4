/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/reader.h"

#include <endian.h>

int reader_bytes(struct reader *r, size_t n, const uint8_t **ret) {
        if (n > reader_left(r))
                return -EBADMSG;
        *ret = r->data + r->offset;
        r->offset += n;
        return 0;
}

int reader_copy(struct reader *r, void *out, size_t n) {
        const uint8_t *p;

        if (reader_bytes(r, n, &p) < 0)
                return -EBADMSG;
        if (n > 0)
                memcpy(out, p, n);
        return 0;
}

int reader_skip(struct reader *r, size_t n) {
        const uint8_t *p;

        return reader_bytes(r, n, &p);
}

int reader_sub(struct reader *r, size_t n, struct reader *ret) {
        const uint8_t *p;

        if (reader_bytes(r, n, &p) < 0)
                return -EBADMSG;
        *ret = reader_over(p, n);
        return 0;
}

int reader_seek(struct reader *r, size_t offset) {
        if (offset > r->size)
                return -EBADMSG;
        r->offset = offset;
        return 0;
}

int reader_u8(struct reader *r, uint8_t *ret) {
        return reader_copy(r, ret, 1);
}

#define DEFINE_INTEGER(name, type, convert) \
        int reader_##name(struct reader *r, type *ret) { \
                type v; \
                if (reader_copy(r, &v, sizeof v) < 0) \
                        return -EBADMSG; \
                *ret = convert(v); \
                return 0; \
        }

DEFINE_INTEGER(be16, uint16_t, be16toh)
DEFINE_INTEGER(be32, uint32_t, be32toh)
DEFINE_INTEGER(be64, uint64_t, be64toh)
DEFINE_INTEGER(le16, uint16_t, le16toh)
DEFINE_INTEGER(le32, uint32_t, le32toh)
DEFINE_INTEGER(le64, uint64_t, le64toh)
