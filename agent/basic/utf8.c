/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/utf8.h"

/* The length of the character that the n > 0 bytes at s begin with; 0 if they begin with none. */
static size_t character(const uint8_t *s, size_t n) {
        uint32_t c = s[0];
        size_t more = c < 0x80                ? 0
                      : c >= 0xc2 && c < 0xe0 ? 1
                      : c >= 0xe0 && c < 0xf0 ? 2
                      : c >= 0xf0 && c < 0xf5 ? 3
                                              : n;

        if (c == 0 || more >= n)
                return 0;
        c &= more == 0 ? 0x7f : 0x3fu >> more;
        for (size_t k = 1; k <= more; k++) {
                if ((s[k] & 0xc0) != 0x80)
                        return 0;
                c = c << 6 | (s[k] & 0x3f);
        }
        if ((more == 2 && (c < 0x800 || (c >= 0xd800 && c < 0xe000))) || (more == 3 && (c < 0x10000 || c > 0x10ffff)))
                return 0;
        return more + 1;
}

bool utf8_valid(const void *text, size_t n) {
        const uint8_t *s = text;

        for (size_t i = 0, k; i < n; i += k) {
                k = character(s + i, n - i);
                if (k == 0)
                        return false;
        }
        return true;
}

static size_t printable_character(const uint8_t *s, size_t n) {
        if (s[0] < 0x20 || s[0] == 0x7f || (s[0] == 0xc2 && n > 1 && s[1] < 0xa0))
                return 0;
        return character(s, n);
}

bool utf8_printable(const char *text) {
        const uint8_t *s = (const uint8_t *) text;
        size_t n = strlen(text);

        for (size_t i = 0, k; i < n; i += k) {
                k = printable_character(s + i, n - i);
                if (k == 0)
                        return false;
        }
        return true;
}

void utf8_make_printable(char *text) {
        const uint8_t *s = (const uint8_t *) text;
        size_t n = strlen(text);

        for (size_t i = 0; i < n;) {
                size_t k = printable_character(s + i, n - i);

                if (k == 0)
                        text[i] = '?';
                i += MAX_OF(k, (size_t) 1);
        }
}
