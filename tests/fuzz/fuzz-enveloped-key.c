/* SPDX-License-Identifier: Apache-2.0 */

/* A CiphertextForRecipient: what is accepted borrows from the input, with the lengths its reader relies on. */

#include "recipient/recipient.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(const uint8_t *part, size_t n, const uint8_t *data, size_t size) {
        if (part < data || n > size || (size_t) (part - data) > size - n)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct enveloped_key k;
        struct error e = { 0 };

        if (enveloped_key_parse(data, size, &k, &e) < 0)
                return e.failure == FAILURE_KMS_ANSWER ? 0 : (abort(), 0);
        check_inside(k.key_identifier, k.key_identifier_size, data, size);
        check_inside(k.encrypted_key, 256, data, size);
        check_inside(k.iv, 16, data, size);
        return 0;
}
