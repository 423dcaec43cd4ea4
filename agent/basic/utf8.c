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

/* U+2028 to U+202E and U+2066 to U+2069: E2 80 A8..AE, E2 81 A6..A9. */
static bool reorders_text(const uint8_t *s, size_t n) {
        if (n < 3 || s[0] != 0xe2)
                return false;
        return (s[1] == 0x80 && s[2] >= 0xa8 && s[2] <= 0xae) || (s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9);
}

/* As character(), and 0 for a character that is not printable. */
static size_t printable_character(const uint8_t *s, size_t n) {
        bool is_c0 = s[0] < 0x20 || s[0] == 0x7f, is_c1 = s[0] == 0xc2 && n > 1 && s[1] < 0xa0;

        return is_c0 || is_c1 || reorders_text(s, n) ? 0 : character(s, n);
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

/* The printable character, or else "?" for the character or the byte, at the start of the n > 0 bytes at s. */
static size_t next_shown(const uint8_t *s, size_t n, const uint8_t **ret, size_t *ret_n) {
        size_t k = printable_character(s, n);

        *ret = k > 0 ? s : (const uint8_t *) "?";
        *ret_n = k > 0 ? k : 1;
        return k > 0 ? k : MAX_OF(character(s, n), (size_t) 1);
}

void utf8_make_printable(char *text) {
        const uint8_t *s = (const uint8_t *) text, *shown;
        size_t n = strlen(text), to = 0, k;

        for (size_t i = 0; i < n;) {
                i += next_shown(s + i, n - i, &shown, &k);
                memmove(text + to, shown, k);
                to += k;
        }
        text[to] = '\0';
}

void utf8_print(FILE *f, const char *text) {
        const uint8_t *s = (const uint8_t *) text, *shown;
        size_t n = strlen(text), k;

        for (size_t i = 0; i < n;) {
                i += next_shown(s + i, n - i, &shown, &k);
                fwrite(shown, 1, k, f);
        }
}
