/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* AWS credentials. Where they come from: credential-source.h. */

#include "basic/failure.h"
#include "basic/secret.h"

/* Immutable and counted: what credentials_get() returns may be used while another thread refreshes. */
struct credentials {
        char *access_key_id;
        struct secret *secret_access_key;
        struct secret *session_token; /* NULL for long-term keys */
        int64_t expires;              /* seconds since the epoch; INT64_MAX: never */
        int64_t obtained_ns;          /* clock_ns() when the source gave them */
        unsigned references;
};

/* Copies the strings into secrets; `session_token` may be NULL. References: one. */
int credentials_new(const char *access_key_id, const char *secret_access_key, const char *session_token,
                    int64_t expires, struct credentials **ret, struct error *e);
struct credentials *credentials_ref(struct credentials *c);
void credentials_unref(struct credentials *c);
DEFINE_CLEANUP(struct credentials *, credentials_unref, credentials_unrefp)
#define _cleanup_credentials_ _cleanup_(credentials_unrefp)
