/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The credentials that are valid now, and their renewal. */

#include "aws/imds.h"

/* May be used from any thread. */
struct credential_source;

/* Those of the instance's role. credentials_get() fetches them, again five minutes before they expire, and on
 * `force_refresh`. When that fails while they are still valid, it is tried again later. `imds` must outlive it. */
int credentials_from_imds(struct imds *imds, struct credential_source **ret, struct error *e);

/* These credentials alone, without renewal; takes a reference. (policy/owner/environment.h finds a person's.) */
int credentials_fixed(struct credentials *credentials, struct credential_source **ret, struct error *e);

void credential_source_free(struct credential_source *s);
DEFINE_CLEANUP(struct credential_source *, credential_source_free, credential_source_freep)

/* `force_refresh`: the service said ExpiredToken. It is ignored within two seconds of the last refresh: when many
 * parallel requests fail together, one of them refreshes. -EKEYEXPIRED for credentials without renewal. The caller
 * unrefs *ret. FAILURE_CREDENTIALS, FAILURE_IMDS. */
int credentials_get(struct credential_source *s, bool force_refresh, struct credentials **ret, struct error *e);
