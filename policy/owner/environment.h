/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A person's credentials, from where the AWS tools keep them. The agent gets its own only from the metadata service. */

#include "aws/credential-source.h"

/* The value of a variable; NULL when it is not set or empty, which the SDKs treat alike. */
const char *environment_value(const char *name);

/* From AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; without them the profile AWS_PROFILE
 * (else AWS_DEFAULT_PROFILE, else "default") of AWS_SHARED_CREDENTIALS_FILE (else ~/.aws/credentials), and where that
 * has none, of AWS_CONFIG_FILE (else ~/.aws/config). FAILURE_CREDENTIALS when there is none. */
int credentials_from_environment(struct credential_source **ret, struct error *e);
