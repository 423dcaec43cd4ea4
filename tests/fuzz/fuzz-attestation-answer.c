/* SPDX-License-Identifier: Apache-2.0 */

/* A NitroTPM's answer, which arrives in pieces: each piece must lead to the same end as the whole. */

#include "evidence/cbor.h"
#include "evidence/nitrotpm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int measure_in_pieces(const uint8_t *data, size_t size, size_t *ret) {
        size_t got = 0, need = 1;

        for (;;) {
                int r;

                if (need > size)
                        return -EAGAIN;
                got = need;
                r = cbor_measure(data, got, &need);
                if (r == -EAGAIN && need <= got)
                        abort();
                if (r != -EAGAIN) {
                        *ret = need;
                        return r;
                }
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct reader r = reader_over(data, size);
        const uint8_t *document;
        size_t whole = 0, pieces = 0, n;
        struct error e = { 0 };
        int k;

        k = cbor_measure(data, size, &whole);
        if ((measure_in_pieces(data, size, &pieces) == 0) != (k == 0) || (k == 0 && pieces != whole) ||
            (cbor_skip(&r) == 0) != (k == 0))
                abort();
        if (k < 0)
                return 0;
        if (r.offset != whole || whole > size)
                abort();
        if (nitrotpm_decode_answer(data, whole, "fuzz", &document, &n, &e) < 0)
                return e.failure == FAILURE_ATTESTATION ? 0 : (abort(), 0);
        if (document < data || n == 0 || (size_t) (document - data) > whole - n)
                abort();
        return 0;
}
