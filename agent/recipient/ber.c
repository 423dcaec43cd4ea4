/* SPDX-License-Identifier: Apache-2.0 */
#include "recipient/ber.h"

enum { LEVELS_MAX = 16, CONSTRUCTED = 0x20, LONG_TAG = 0x1f, END_OF_CONTENTS = 0x00 };

static int take_header(struct reader *r, uint8_t *ret_identifier, size_t *ret_length, bool *ret_indefinite) {
        uint8_t identifier, first, byte;
        size_t length = 0;

        if (reader_u8(r, &identifier) < 0 || reader_u8(r, &first) < 0 || (identifier & LONG_TAG) == LONG_TAG)
                return -EBADMSG;
        if (first < 0x80)
                length = first;
        else if (first == 0x80 ? !(identifier & CONSTRUCTED) : first > 0x84)
                return -EBADMSG;
        for (unsigned i = first < 0x80 ? 0 : first & 0x7f; i > 0; i--) {
                if (reader_u8(r, &byte) < 0)
                        return -EBADMSG;
                length = length << 8 | byte;
        }
        if (identifier == END_OF_CONTENTS && first != 0)
                return -EBADMSG;
        *ret_identifier = identifier;
        *ret_length = length;
        *ret_indefinite = first == 0x80;
        return 0;
}

/* Passes elements up to and with the end-of-contents that closes the one whose header was just taken; *ret_end is where
 * its contents end. */
static int skip_indefinite(struct reader *r, size_t *ret_end) {
        unsigned levels = 1;

        for (;;) {
                size_t start = r->offset, length;
                uint8_t identifier;
                bool indefinite;

                if (take_header(r, &identifier, &length, &indefinite) < 0 || reader_skip(r, length) < 0)
                        return -EBADMSG;
                if (indefinite && ++levels > LEVELS_MAX)
                        return -EBADMSG;
                if (identifier == END_OF_CONTENTS && --levels == 0) {
                        *ret_end = start;
                        return 0;
                }
        }
}

int ber_take(struct reader *r, uint8_t identifier, struct reader *ret) {
        struct reader at = *r;
        size_t start, length;
        uint8_t found;
        bool indefinite;

        if (take_header(&at, &found, &length, &indefinite) < 0 || found != identifier)
                return -EBADMSG;
        start = at.offset;
        if (indefinite) {
                if (skip_indefinite(&at, &length) < 0)
                        return -EBADMSG;
                length -= start;
        } else if (reader_skip(&at, length) < 0)
                return -EBADMSG;
        *r = at;
        *ret = reader_over(at.data + start, length);
        return 0;
}

int ber_expect(struct reader *r, uint8_t identifier, const void *contents, size_t n) {
        struct reader at = *r, inside;

        if (ber_take(&at, identifier, &inside) < 0 || inside.size != n ||
            (n > 0 && memcmp(inside.data, contents, n) != 0))
                return -EBADMSG;
        *r = at;
        return 0;
}

int ber_peek(const struct reader *r, uint8_t *ret) {
        struct reader at = *r;

        return reader_u8(&at, ret);
}

int ber_end(const struct reader *r) {
        return reader_left(r) == 0 ? 0 : -EBADMSG;
}
