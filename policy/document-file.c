/* SPDX-License-Identifier: Apache-2.0 */
#include "document.h"

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

int document_read(const char *path, uint8_t **ret, size_t *ret_n, struct error *e) {
        _cleanup_free_ uint8_t *data = NULL;
        uint8_t *decoded;
        size_t n, length;
        int r;

        r = file_read(path, 2 * DOCUMENT_MAX, FAILURE_IO, &data, &n, e);
        if (r < 0)
                return r;
        /* A COSE_Sign1 message starts with an array head or a tag, both outside ASCII. */
        if (n > 0 && data[0] < 0x80) {
                length = squeeze((char *) data, n);
                r = base64_decode((const char *) data, length, &decoded, &n);
                if (r < 0)
                        return fail(e, FAILURE_DOCUMENT, -EBADMSG, path, "is neither a COSE_Sign1 message nor base64 text");
                free(data);
                data = decoded;
        }
        *ret = TAKE(data);
        *ret_n = n;
        return 0;
}
