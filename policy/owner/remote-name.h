/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Names that are meant for S3 or another service, but are not s3://BUCKET/...: ARNs, URLs, other spellings of the
 * scheme. Taken as local paths, they would have a model sealed to a directory called "arn:aws:s3:::models". A local
 * path that looks like one is given with "./" in front. */

#include "basic/macros.h"

enum { REMOTE_NAME_ADVICE_MAX = 640 };

/* Whether the text is such a name; `advice` then says what to give instead. s3://BUCKET/... is none, whatever the
 * bucket's name, unless that is an ARN. */
bool remote_name(const char *text, char advice[static REMOTE_NAME_ADVICE_MAX]);

/* Whether a path that does not exist may be a bucket and a key: its first part could be a bucket's name, and nothing
 * here has that name. */
bool may_be_bucket(const char *path);

/* Whether the text names something outside the file system: a name as above, or s3://... */
bool is_remote(const char *text);
