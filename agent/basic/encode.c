/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/encode.h"

#include <limits.h>
#include <openssl/evp.h>

void hex_encode(const void *data, size_t n, char *out) {
        static const char digits[] = "0123456789abcdef";
        const uint8_t *p = data;

        for (size_t i = 0; i < n; i++) {
                out[2 * i] = digits[p[i] >> 4];
                out[2 * i + 1] = digits[p[i] & 15];
        }
        out[2 * n] = '\0';
}

static int hex_digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

int hex_decode(const char *text, void *out, size_t n) {
        uint8_t *p = out;

        if (strnlen(text, 2 * n + 1) != 2 * n)
                return -EINVAL;
        for (size_t i = 0; i < 2 * n; i++)
                if (hex_digit(text[i]) < 0)
                        return -EINVAL;
        for (size_t i = 0; i < n; i++)
                p[i] = (uint8_t) ((unsigned) hex_digit(text[2 * i]) << 4 | (unsigned) hex_digit(text[2 * i + 1]));
        return 0;
}

int decimal_read(const char **cursor, uint64_t max, uint64_t *ret) {
        const char *p = *cursor;
        uint64_t v = 0;

        for (; *p >= '0' && *p <= '9'; p++)
                if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t) (*p - '0'), &v))
                        return -EINVAL;
        if (p == *cursor || (**cursor == '0' && p - *cursor > 1) || v > max)
                return -EINVAL;
        *cursor = p;
        *ret = v;
        return 0;
}

int decimal_parse(const char *text, uint64_t max, uint64_t *ret) {
        uint64_t v;

        if (decimal_read(&text, max, &v) < 0 || *text)
                return -EINVAL;
        *ret = v;
        return 0;
}

int base64_encode(const void *data, size_t n, char **ret) {
        char *s;

        if (n > INT_MAX / 2)
                return -ENOMEM;
        s = malloc(4 * ((n + 2) / 3) + 1);
        if (!s)
                return -ENOMEM;
        EVP_EncodeBlock((unsigned char *) s, data, (int) n);
        *ret = s;
        return 0;
}

/* EVP_DecodeBlock does the work but forgives white space and padding anywhere, so the text is checked first. */
int base64_decode(const char *text, size_t length, uint8_t **ret, size_t *ret_n) {
        static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        _cleanup_free_ uint8_t *out = NULL;
        size_t padding = 0;
        int n;

        if (length % 4 != 0 || length > INT_MAX)
                return -EINVAL;
        while (padding < 2 && padding < length && text[length - 1 - padding] == '=')
                padding++;
        for (size_t i = 0; i < length - padding; i++)
                if (text[i] == '\0' || !strchr(alphabet, text[i]))
                        return -EINVAL;
        out = malloc(length / 4 * 3 + 1);
        if (!out)
                return -ENOMEM;
        n = length > 0 ? EVP_DecodeBlock(out, (const unsigned char *) text, (int) length) : 0;
        if (n < 0 || (size_t) n < padding)
                return -EINVAL;
        *ret = TAKE(out);
        *ret_n = (size_t) n - padding;
        return 0;
}
