/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* AWS credentials and where they come from. */

#include "basic/failure.h"
#include "basic/secret.h"

struct imds;

/* Immutable and counted: what credentials_get() returns may be used while another thread refreshes. */
struct credentials {
        char *access_key_id;
        struct secret *secret_access_key;
        struct secret *session_token; /* NULL for long-term keys */
        int64_t expires;              /* seconds since the epoch; INT64_MAX: never */
        int64_t obtained_ns;          /* retry_clock_ns() when the source gave them */
        unsigned references;
};

/* Copies the strings into secrets; `session_token` may be NULL. References: one. */
int credentials_new(const char *access_key_id, const char *secret_access_key, const char *session_token, int64_t expires,
                    struct credentials **ret, struct error *e);
struct credentials *credentials_ref(struct credentials *c);
void credentials_unref(struct credentials *c);
DEFINE_CLEANUP(struct credentials *, credentials_unref, credentials_unrefp)
#define _cleanup_credentials_ _cleanup_(credentials_unrefp)

/* Hands out credentials that are good now; may be used from any thread. */
struct credential_source;

/* For people: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; without them the profile AWS_PROFILE (else
 * "default") of AWS_SHARED_CREDENTIALS_FILE (else ~/.aws/credentials). FAILURE_CREDENTIALS when there is neither. */
int credentials_from_environment(struct credential_source **ret, struct error *e);

/* The instance's role. Nothing is fetched until credentials_get(). Fetched again five minutes before they expire, and on
 * `force_refresh`; a refresh that fails while they are still good is tried again later. `imds` must outlive it. */
int credentials_from_imds(struct imds *imds, struct credential_source **ret, struct error *e);

void credential_source_free(struct credential_source *s);
DEFINE_CLEANUP(struct credential_source *, credential_source_free, credential_source_freep)

/* `force_refresh`: the service said ExpiredToken; ignored within two seconds of the last refresh, so that parallel
 * requests which all expired refresh once. -EKEYEXPIRED where there are no others (a person's). The caller unrefs
 * *ret. FAILURE_CREDENTIALS, FAILURE_IMDS. */
int credentials_get(struct credential_source *s, bool force_refresh, struct credentials **ret, struct error *e);
