/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The client certificate as nginx hands it on, and the attestation document that an attested peer has put into it:
 * extension 2.23.133.5.4.9 (TCG DICE Attestation Architecture, conceptual message wrapper), whose value is
 *
 *     OCTET STRING { CBOR: ["application/cose; cose-type=\"cose-sign1\"", h'document'] }
 */

#include <openssl/x509.h>

#include "basic/failure.h"

#define PEER_EXTENSION "2.23.133.5.4.9"
#define PEER_MEDIA_TYPE "application/cose; cose-type=\"cose-sign1\""

enum { PEER_CERTIFICATE_MAX = 48 * 1024 }; /* as escaped PEM */

/* A certificate as nginx's $ssl_client_escaped_cert: one, as PEM, in which characters are written as %XX.
 * FAILURE_DOCUMENT. The caller frees it. */
int peer_certificate_read(const char *escaped, X509 **ret, struct error *e);

/* The document inside, borrowed from the certificate. -ENOENT: it has no such extension. FAILURE_DOCUMENT. */
int peer_certificate_document(X509 *x, const uint8_t **ret, size_t *ret_n, struct error *e);
/* The same of the extension's value alone. */
int peer_extension_parse(const uint8_t *value, size_t n, const uint8_t **ret, size_t *ret_n, struct error *e);
