/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/document-file.h"

#include "basic/encode.h"
#include "basic/file.h"

/* Drops white space in place; the base64 reader itself is strict. */
static size_t squeeze(char *text, size_t n) {
        size_t kept = 0;

        for (size_t i = 0; i < n; i++)
                if (!strchr(" \t\r\n", text[i]))
                        text[kept++] = text[i];
        return kept;
}

/* Hex digits are base64's too, but a document's base64 has others. */
static int decode_text(const char *text, size_t n, uint8_t **ret, size_t *ret_n) {
        _cleanup_free_ uint8_t *out = NULL;

        if (strspn(text, "0123456789abcdefABCDEF") < n)
                return base64_decode(text, n, ret, ret_n);
        out = malloc(n / 2 + 1);
        if (!out)
                return -ENOMEM;
        if (n % 2 != 0 || hex_decode(text, out, n / 2) < 0)
                return -EINVAL;
        *ret = TAKE(out);
        *ret_n = n / 2;
        return 0;
}

int document_read(const char *path, uint8_t **ret, size_t *ret_n, struct error *e) {
        _cleanup_free_ uint8_t *data = NULL;
        uint8_t *decoded;
        size_t n;
        int r;

        r = file_read(path, 3 * DOCUMENT_MAX, FAILURE_IO, &data, &n, e);
        if (r < 0)
                return r;
        /* A COSE_Sign1 message starts with an array head or a tag, both outside ASCII. */
        if (n > 0 && data[0] < 0x80) {
                n = squeeze((char *) data, n);
                data[n] = '\0';
                r = decode_text((const char *) data, n, &decoded, &n);
                if (r == -ENOMEM)
                        return fail_oom(e);
                if (r < 0)
                        return fail(e, FAILURE_DOCUMENT, -EBADMSG, path,
                                    "is neither a COSE_Sign1 message nor its base64 or hex text");
                free(data);
                data = decoded;
        }
        *ret = TAKE(data);
        *ret_n = n;
        return 0;
}
