/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What an error of AWS means: whether the same request can succeed a moment later, needs fresh credentials, or is
 * refused for good. One table for all services. Every caller bounds its attempts by a deadline (retry.h), and tells the
 * service manager about each (http_options.on_retry). */

#include "aws/http.h"

enum verdict_service {
        VERDICT_IMDS = 1 << 0,
        VERDICT_KMS = 1 << 1,
        VERDICT_S3 = 1 << 2,
        VERDICT_AUTOSCALING = 1 << 3,
};

/* The table's code for an empty answer of IMDS, which has no error code. */
#define VERDICT_CODE_EMPTY "(empty)"

struct verdict {
        enum failure failure;
        enum http_verdict verdict;
};

/* `code` is the service's own word for the error, or NULL when the answer has none; `message` may be NULL. S3's
 * "KMS.X" is KMS's error X, as a failure of S3. An answer whose code the table does not know is a refusal for good
 * (KMS_DENIED, S3_DENIED, ...), and not a malformed answer: it has a code and a message. */
struct verdict verdict_of(enum verdict_service service, long status, const char *code, const char *message);

/* Whether a text can be an error code of AWS: letters, digits, dots, dashes and underscores. */
bool verdict_code_valid(const char *code);
