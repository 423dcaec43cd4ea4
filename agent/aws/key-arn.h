/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* ARNs of KMS keys, and which of them name one multi-Region key. The replicas of such a key have one id, which begins
 * with "mrk-", and one key material; their ARNs differ in the Region alone, and each has a key policy of its own.
 * Source: AWS Encryption SDK specification, aws-kms-mrk-match-for-decrypt. */

#include "basic/macros.h"

/* arn:PARTITION:kms:REGION:ACCOUNT:key/ID, of any partition. Not an alias: it can be pointed at another key. */
bool key_arn_valid(const char *arn);

/* The Region of a KMS ARN, of a key or of an alias; -EINVAL when it is no such ARN, -ENOMEM. */
int key_arn_region(const char *arn, char **ret);

/* Whether a key of the ARN's partition can be in that Region: "arn:aws:" is not for cn-north-1. */
bool key_arn_may_be_in(const char *arn, const char *region);
bool key_arn_has_its_partition(const char *arn); /* ... in the Region of the ARN itself */

bool key_arn_is_multi_region(const char *arn);

/* The same key, or two replicas of one multi-Region key: same partition, account and id. */
bool key_arn_related(const char *a, const char *b);

/* The ARN of the multi-Region key's replica in `region`, whether there is one or not. -ENOMEM. */
int key_arn_in_region(const char *arn, const char *region, char **ret);
