/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/utf8.h"

bool utf8_valid(const void *text, size_t n) {
        const uint8_t *s = text;

        for (size_t i = 0; i < n;) {
                uint32_t c = s[i];
                size_t more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : n;

                if (c == 0 || more >= n - i)
                        return false;
                c &= more == 0 ? 0x7f : 0x3fu >> more;
                for (size_t k = 1; k <= more; k++) {
                        if ((s[i + k] & 0xc0) != 0x80)
                                return false;
                        c = c << 6 | (s[i + k] & 0x3f);
                }
                if ((more == 2 && (c < 0x800 || (c >= 0xd800 && c < 0xe000))) || (more == 3 && (c < 0x10000 || c > 0x10ffff)))
                        return false;
                i += more + 1;
        }
        return true;
}
