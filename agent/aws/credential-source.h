/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where the credentials of the moment come from. */

#include "aws/imds.h"

/* Hands out credentials that are good now; may be used from any thread. */
struct credential_source;

/* The instance's role. Nothing is fetched until credentials_get(). Fetched again five minutes before they expire, and
 * on `force_refresh`; a refresh that fails while they are still good is tried again later. `imds` must outlive it. */
int credentials_from_imds(struct imds *imds, struct credential_source **ret, struct error *e);

/* These and no others, for as long as they last; takes a reference. (policy/owner/environment.h finds a person's.) */
int credentials_fixed(struct credentials *credentials, struct credential_source **ret, struct error *e);

void credential_source_free(struct credential_source *s);
DEFINE_CLEANUP(struct credential_source *, credential_source_free, credential_source_freep)

/* `force_refresh`: the service said ExpiredToken; ignored within two seconds of the last refresh, so that parallel
 * requests which all expired refresh once. -EKEYEXPIRED where there are no others (a person's). The caller unrefs
 * *ret. FAILURE_CREDENTIALS, FAILURE_IMDS. */
int credentials_get(struct credential_source *s, bool force_refresh, struct credentials **ret, struct error *e);
