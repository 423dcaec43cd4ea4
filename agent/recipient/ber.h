/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reading ASN.1 in BER (X.690, section 8) over the cursor of basic/reader.h: one-byte tags, definite and indefinite
 * lengths. DER is BER too. Nothing allocates; what is read is borrowed. -EBADMSG for anything malformed, and the cursor
 * then stays where it was. */

#include "basic/reader.h"

enum {
        BER_INTEGER = 0x02,
        BER_OCTET_STRING = 0x04,
        BER_NULL = 0x05,
        BER_OBJECT = 0x06,
        BER_SEQUENCE = 0x30,
        BER_SET = 0x31,
        BER_CONTEXT = 0x80,             /* | n: [n], primitive */
        BER_CONTEXT_CONSTRUCTED = 0xa0, /* | n: [n], constructed */
};

/* The element that comes next must have this identifier; its contents become a cursor of their own. Elements of
 * indefinite length may be nested 16 levels deep. */
int ber_take(struct reader *r, uint8_t identifier, struct reader *ret) _must_check_;
/* As ber_take(), and the contents must be these bytes. */
int ber_expect(struct reader *r, uint8_t identifier, const void *contents, size_t n) _must_check_;
/* The next identifier without taking it; -EBADMSG at the end. */
int ber_peek(const struct reader *r, uint8_t *ret) _must_check_;
/* -EBADMSG unless everything was taken. */
int ber_end(const struct reader *r) _must_check_;
