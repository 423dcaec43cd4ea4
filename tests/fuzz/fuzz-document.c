/* SPDX-License-Identifier: Apache-2.0 */

/* An attestation document, down to its certificates: the root is whichever the document brings, so that chains are
 * reached too. What is refused is refused for a reason, and what is accepted has everything a verifier looks at. */

#include <openssl/sha.h>

#include "verify/chain.h"
#include "verify/document.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_chain_ struct chain chain = {};
        uint8_t root[ROOT_FINGERPRINT_SIZE];
        struct error e = { 0 };
        struct document d;

        if (document_parse(data, size, "fuzz", &d, &e) < 0)
                return e.failure != FAILURE_DOCUMENT || !e.reason[0] ? (abort(), 0) : 0;
        if (d.signature.size != DOCUMENT_SIGNATURE_SIZE || d.n_cabundle == 0 || !d.certificate.data || d.timestamp == 0)
                abort();
        SHA256(d.cabundle[0].data, d.cabundle[0].size, root);
        if (chain_build(&d, "fuzz", root, &chain, &e) < 0)
                return e.failure != FAILURE_DOCUMENT || !e.reason[0] ? (abort(), 0) : 0;
        (void) !chain_valid_at(&chain, "fuzz", (int64_t) (d.timestamp / 1000), &e);
        (void) !document_signature(&d, "fuzz", chain_key(&chain), &e);
        return 0;
}
