/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What this side shows of itself in the TLS handshake: nothing; a certificate and key from files; or evidence, where
 * this machine is itself an attested instance: a key made here, and a self-signed certificate for it with this
 * instance's attestation document inside.
 *
 * The document is in the extension 2.23.133.5.4.9 (TCG DICE Attestation Architecture, conceptual message wrapper): a
 * DER OCTET STRING that holds the CBOR array ["application/cose; cose-type=\"cose-sign1\"", document]. Its user data
 * binds the certificate's key as verify/tls.h says; it has no nonce, so whoever checks it requires an age. The key
 * never leaves this process, and each new document has a new key. */

#include <openssl/ssl.h>

#include "basic/failure.h"

struct identity;

/* `certificate` and `key` are PEM files; both NULL: nothing is shown. */
int identity_of_files(const char *certificate, const char *key, struct identity **ret, struct error *e);
/* `tcti`: as for tpm_open(). Asks the TPM once. */
int identity_of_instance(const char *tcti, struct identity **ret, struct error *e);
void identity_free(struct identity *i);
DEFINE_CLEANUP(struct identity *, identity_free, identity_freep)

/* New evidence, if this is evidence; waits for the TPM. Until it returns, the others are served with the old one. */
int identity_renew(struct identity *i, struct error *e);
/* When it was made, by clock_ns(); INT64_MAX where it does not age. */
int64_t identity_made_ns(struct identity *i);

/* Has this context show it. 0 or -EIO. */
int identity_use(struct identity *i, SSL_CTX *ctx);
