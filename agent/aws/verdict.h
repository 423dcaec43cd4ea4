/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a refusal of AWS's means to a program that runs once: whether the same request can succeed a moment later,
 * needs fresh credentials, or is refused for good. One table for all services. Every caller bounds its attempts by a
 * deadline (retry.h), and tells the service manager about each (http_options.on_retry). */

#include "aws/http.h"

enum verdict_service {
        VERDICT_IMDS = 1 << 0,
        VERDICT_KMS = 1 << 1,
        VERDICT_S3 = 1 << 2,
        VERDICT_AUTOSCALING = 1 << 3,
};

/* What IMDS's answers without an error code are called in the table. */
#define VERDICT_CODE_EMPTY "(empty)"

struct verdict {
        enum failure failure;
        enum http_verdict verdict;
};

/* `code` is the service's own word for the error, or NULL when the answer has none; `message` may be NULL. S3's
 * "KMS.X" is KMS's X, as a failure of S3's. An answer that has a code, but one that the table does not know, is a
 * refusal for good (KMS_DENIED, S3_DENIED, ...): code and message are the service's, so nothing is malformed. */
struct verdict verdict_of(enum verdict_service service, long status, const char *code, const char *message);

/* Letters, digits, dots and dashes: what is none of these is no error code of AWS's. */
bool verdict_code_valid(const char *code);
