/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Asks S3 for the size and the ETag of an object. The agent learns both from the first bytes that it fetches. Errors
 * and retries as in aws/s3.h. Source: Amazon S3 API Reference, HeadObject. */

#include "aws/s3.h"

/* S3's answer to a HEAD has no body, so a refusal's reason is fetched by a GET of one byte. */
int s3_head(struct s3 *s3, const char *bucket, const char *key, struct s3_head *ret, struct error *e);
