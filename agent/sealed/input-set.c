/* SPDX-License-Identifier: Apache-2.0 */
#include "sealed/input-set.h"

#include <openssl/evp.h>

#include "basic/encode.h"

static void write_line(FILE *f, const struct input_state *in) {
        char hex[2 * MODEL_DIGEST + 1];

        if (!in->digest) {
                fprintf(f, "absent %s %s\n", in->name, in->owner);
                return;
        }
        hex_encode(in->digest, MODEL_DIGEST, hex);
        fprintf(f, "sha384:%s %s %s\n", hex, in->name, in->owner);
}

int input_set_text(const struct input_state *inputs, size_t n, char **ret, size_t *ret_n,
                   uint8_t ret_digest[static MODEL_DIGEST], struct error *e) {
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);
        bool failed;

        if (!f)
                return fail_oom(e);
        for (size_t i = 0; i < n; i++)
                write_line(f, &inputs[i]);
        failed = ferror(f);
        if (fclose(f) != 0 || failed)
                return fail_oom(e);
        if (EVP_Digest(text, size, ret_digest, NULL, EVP_sha384(), NULL) != 1)
                return fail(e, FAILURE_INTERNAL, -EIO, "", "SHA-384 is not available in OpenSSL");
        *ret = TAKE(text);
        *ret_n = size;
        return 0;
}
