/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An owner's clients of AWS, set up from the environment variables of the AWS SDKs (AWS_REGION, AWS_PROFILE,
 * AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL_S3, AWS_CA_BUNDLE, ...). The agent in the image never reads them. */

#include "aws/kms.h"
#include "aws/s3.h"

struct owner {
        struct http *http;
        struct credential_source *credentials;
        const char *region; /* of the environment; NULL: none is set */
        struct s3 *s3;      /* NULL: no region is known */
        struct kms *kms;
};

/* FAILURE_CREDENTIALS, FAILURE_CONFIG. Without a region, S3 is missing (owner_s3) and KMS keys must be named by ARN. */
int owner_new(struct owner **ret, struct error *e);
void owner_free(struct owner *o);
DEFINE_CLEANUP(struct owner *, owner_free, owner_freep)
#define _cleanup_owner_ _cleanup_(owner_freep)

int owner_s3(struct owner *o, struct s3 **ret, struct error *e);
