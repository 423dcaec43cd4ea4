/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How a document names a TLS key: user_data = "sealboot tls v1" || 00 || SHA-256(SubjectPublicKeyInfo in DER). */

#include <openssl/x509.h>

#include "basic/macros.h"
#include "verify/sealboot-verify.h"

#define TLS_LABEL "sealboot tls v1"

void tls_user_data(const void *key, size_t key_size, uint8_t ret[static SEALBOOT_TLS_USER_DATA_SIZE]);
/* Whether it is such user data, of whatever key. */
bool tls_is_user_data(const uint8_t *data, size_t size);

/* The SubjectPublicKeyInfo of a certificate: its size, or -EINVAL when it has more than SEALBOOT_TLS_KEY_MAX bytes. */
int tls_certificate_key(const X509 *certificate, uint8_t ret[static SEALBOOT_TLS_KEY_MAX]);
