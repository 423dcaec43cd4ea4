/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/verdict.h"

enum {
        ALL = VERDICT_IMDS | VERDICT_KMS | VERDICT_S3 | VERDICT_AUTOSCALING,
        API = VERDICT_KMS | VERDICT_S3 | VERDICT_AUTOSCALING,
        IMDS = VERDICT_IMDS,
        KMS = VERDICT_KMS,
        S3 = VERDICT_S3,
        AUTOSCALING = VERDICT_AUTOSCALING,
        SERVER_FAULT = 5, /* as a status: 500 and above */
};

/* The first row that fits decides. A failure of 0 is the service's own for the verdict: see default_failure(). */
static const struct row {
        unsigned services;
        long status;       /* 0: any */
        const char *code;  /* NULL: any, or none */
        const char *words; /* that the message has; NULL: any */
        enum http_verdict verdict;
        enum failure failure;
} table[] = {
        /* Expired credentials: the metadata service has new ones. */
        { API, 0, "ExpiredToken", NULL, HTTP_REFRESH, 0 },
        { API, 0, "ExpiredTokenException", NULL, HTTP_REFRESH, 0 },
        { API, 0, "TokenRefreshRequired", NULL, HTTP_REFRESH, 0 },
        /* Wrong credentials. Those of a role are valid at once or never: their token carries what they grant. */
        { API, 0, "IncompleteSignature", NULL, HTTP_FINAL, FAILURE_CREDENTIALS },
        { API, 0, "IncompleteSignatureException", NULL, HTTP_FINAL, FAILURE_CREDENTIALS },
        { API, 0, "InvalidAccessKeyId", NULL, HTTP_FINAL, FAILURE_CREDENTIALS },
        { API, 0, "InvalidClientTokenId", NULL, HTTP_FINAL, FAILURE_CREDENTIALS },
        { API, 0, "InvalidSignatureException", NULL, HTTP_FINAL, FAILURE_CREDENTIALS },
        { API, 0, "InvalidToken", NULL, HTTP_FINAL, FAILURE_CREDENTIALS },
        { API, 0, "MissingAuthenticationToken", NULL, HTTP_FINAL, FAILURE_CREDENTIALS },
        { API, 0, "MissingAuthenticationTokenException", NULL, HTTP_FINAL, FAILURE_CREDENTIALS },
        { API, 0, "SignatureDoesNotMatch", NULL, HTTP_FINAL, FAILURE_CREDENTIALS },
        { API, 0, "UnrecognizedClientException", NULL, HTTP_FINAL, FAILURE_CREDENTIALS },
        /* A wrong clock. The unit starts after the clock was set, so waiting does not help. */
        { API, 0, "RequestExpired", NULL, HTTP_FINAL, FAILURE_CLOCK },
        { API, 0, "RequestInTheFuture", NULL, HTTP_FINAL, FAILURE_CLOCK },
        { API, 0, "RequestTimeTooSkewed", NULL, HTTP_FINAL, FAILURE_CLOCK },
        /* Load, and faults inside the service: the SDKs' lists of what they retry. */
        { API, 0, "BadDigest", NULL, HTTP_RETRY, 0 }, /* the bytes of an upload were damaged on the way */
        { API, 0, "IncompleteBody", NULL, HTTP_RETRY, 0 },
        { API, 0, "XAmzContentChecksumMismatch", NULL, HTTP_RETRY, 0 },
        { API, 0, "XAmzContentSHA256Mismatch", NULL, HTTP_RETRY, 0 },
        { API, 0, "BandwidthLimitExceeded", NULL, HTTP_RETRY, 0 },
        { API, 0, "InternalError", NULL, HTTP_RETRY, 0 },
        { API, 0, "InternalFailure", NULL, HTTP_RETRY, 0 },
        { API, 0, "InternalServerError", NULL, HTTP_RETRY, 0 },
        { API, 0, "PriorRequestNotComplete", NULL, HTTP_RETRY, 0 },
        { API, 0, "RequestLimitExceeded", NULL, HTTP_RETRY, 0 },
        { API, 0, "RequestThrottled", NULL, HTTP_RETRY, 0 },
        { API, 0, "RequestThrottledException", NULL, HTTP_RETRY, 0 },
        { API, 0, "RequestTimeout", NULL, HTTP_RETRY, 0 },
        { API, 0, "RequestTimeoutException", NULL, HTTP_RETRY, 0 },
        { API, 0, "ServiceUnavailable", NULL, HTTP_RETRY, 0 },
        { API, 0, "ServiceUnavailableException", NULL, HTTP_RETRY, 0 },
        { API, 0, "SlowDown", NULL, HTTP_RETRY, 0 },
        { API, 0, "ThrottledException", NULL, HTTP_RETRY, 0 },
        { API, 0, "Throttling", NULL, HTTP_RETRY, 0 },
        { API, 0, "ThrottlingException", NULL, HTTP_RETRY, 0 },
        { API, 0, "TooManyRequestsException", NULL, HTTP_RETRY, 0 },

        /* KMS. A replica of a multi-Region key cannot be used while it is made. */
        { KMS, 0, "DependencyTimeoutException", NULL, HTTP_RETRY, 0 },
        { KMS, 0, "KMSInternalException", NULL, HTTP_RETRY, 0 },
        { KMS, 0, "KeyUnavailableException", NULL, HTTP_RETRY, 0 },
        { KMS, 0, "KMSInvalidStateException", "creating", HTTP_RETRY, 0 },
        { KMS, 0, "AccessDeniedException", NULL, HTTP_FINAL, FAILURE_KMS_DENIED },
        { KMS, 0, "InvalidCiphertextException", NULL, HTTP_FINAL, FAILURE_KMS_CIPHERTEXT },
        { KMS, 0, "IncorrectKeyException", NULL, HTTP_FINAL, FAILURE_KMS_CIPHERTEXT },
        { KMS, 0, "DisabledException", NULL, HTTP_FINAL, FAILURE_KMS_KEY },
        { KMS, 0, "InvalidArnException", NULL, HTTP_FINAL, FAILURE_KMS_KEY },
        { KMS, 0, "InvalidKeyUsageException", NULL, HTTP_FINAL, FAILURE_KMS_KEY },
        { KMS, 0, "KMSInvalidStateException", NULL, HTTP_FINAL, FAILURE_KMS_KEY },
        { KMS, 0, "NotFoundException", NULL, HTTP_FINAL, FAILURE_KMS_KEY },
        { KMS, 0, "ValidationException", "attestation", HTTP_FINAL, FAILURE_KMS_DENIED },
        { KMS, 0, "ValidationException", NULL, HTTP_FINAL, FAILURE_KMS_CIPHERTEXT },

        /* S3 is consistent: an object that is missing now is not on its way. */
        { S3, 0, "ConditionalRequestConflict", NULL, HTTP_RETRY, 0 },
        { S3, 0, "OperationAborted", NULL, HTTP_RETRY, 0 },
        { S3, 0, "AuthorizationHeaderMalformed", NULL, HTTP_FINAL, FAILURE_S3_NOT_FOUND },
        { S3, 0, "IllegalLocationConstraintException", NULL, HTTP_FINAL, FAILURE_S3_NOT_FOUND },
        { S3, 0, "PermanentRedirect", NULL, HTTP_FINAL, FAILURE_S3_NOT_FOUND },
        { S3, 0, "TemporaryRedirect", NULL, HTTP_FINAL, FAILURE_S3_NOT_FOUND },
        { S3, 301, NULL, NULL, HTTP_FINAL, FAILURE_S3_NOT_FOUND },
        { S3, 307, NULL, NULL, HTTP_FINAL, FAILURE_S3_NOT_FOUND },
        { S3, 403, NULL, NULL, HTTP_FINAL, FAILURE_S3_DENIED },
        { S3, 404, NULL, NULL, HTTP_FINAL, FAILURE_S3_NOT_FOUND },
        { S3, 412, NULL, NULL, HTTP_FINAL, FAILURE_S3_CHANGED },
        { S3, 416, NULL, NULL, HTTP_FINAL, FAILURE_SEALED_FORMAT },

        /* Auto Scaling shows an instance as waiting before it accepts an action for it. */
        { AUTOSCALING, 0, "ValidationError", "No active Lifecycle Action", HTTP_RETRY, 0 },
        { AUTOSCALING, 0, "ResourceContention", NULL, HTTP_RETRY, 0 },
        { AUTOSCALING, 0, "ResourceContentionFault", NULL, HTTP_RETRY, 0 },
        { AUTOSCALING, 0, "ScalingActivityInProgress", NULL, HTTP_RETRY, 0 },

        /* In the first seconds of an instance the metadata service may lack an answer, or have an empty one, and the
         * role of a new instance profile cannot be assumed yet ("Failed", "InstanceProfileNotFound", ...). */
        { IMDS, 401, NULL, NULL, HTTP_REFRESH, FAILURE_IMDS },
        { IMDS, 404, NULL, NULL, HTTP_RETRY, FAILURE_IMDS },
        { IMDS, 200, VERDICT_CODE_EMPTY, NULL, HTTP_RETRY, FAILURE_IMDS },
        { IMDS, 200, NULL, NULL, HTTP_RETRY, FAILURE_CREDENTIALS },

        { ALL, 408, NULL, NULL, HTTP_RETRY, 0 },
        { ALL, 425, NULL, NULL, HTTP_RETRY, 0 },
        { ALL, 429, NULL, NULL, HTTP_RETRY, 0 },
        { ALL, SERVER_FAULT, NULL, NULL, HTTP_RETRY, 0 },
};

static bool fits(const struct row *row, enum verdict_service service, long status, const char *code,
                 const char *message) {
        if (!(row->services & service) || (row->code && (!code || !streq(row->code, code))))
                return false;
        if (row->status != 0 && row->status != status && !(row->status == SERVER_FAULT && status >= 500))
                return false;
        return !row->words || (message && strcasestr(message, row->words));
}

static enum failure default_failure(enum verdict_service service, enum http_verdict verdict, bool has_code) {
        bool later = verdict == HTTP_RETRY;

        if (verdict == HTTP_REFRESH && service != VERDICT_AUTOSCALING)
                return FAILURE_CREDENTIALS;
        switch (service) {
        case VERDICT_KMS:
                return later ? FAILURE_KMS_UNAVAILABLE : has_code ? FAILURE_KMS_DENIED : FAILURE_KMS_ANSWER;
        case VERDICT_S3:
                return later ? FAILURE_S3_UNAVAILABLE : has_code ? FAILURE_S3_DENIED : FAILURE_S3_ANSWER;
        case VERDICT_AUTOSCALING:
                return FAILURE_LIFECYCLE;
        default:
                return FAILURE_IMDS;
        }
}

static struct verdict look_up(enum verdict_service service, long status, const char *code, const char *message) {
        struct verdict v = { FAILURE_NONE, HTTP_FINAL };

        for (size_t i = 0; i < ELEMENTS(table); i++)
                if (fits(&table[i], service, status, code, message)) {
                        v = (struct verdict) { table[i].failure, table[i].verdict };
                        break;
                }
        if (v.failure == FAILURE_NONE)
                v.failure = default_failure(service, v.verdict, code);
        return v;
}

struct verdict verdict_of(enum verdict_service service, long status, const char *code, const char *message) {
        struct verdict v;

        if (service != VERDICT_S3 || !code || strncmp(code, "KMS.", 4) != 0)
                return look_up(service, status, code, message);
        v = look_up(VERDICT_KMS, status, code + 4, message);
        v.failure = v.verdict == HTTP_RETRY ? FAILURE_S3_UNAVAILABLE : FAILURE_S3_DENIED;
        if (v.verdict == HTTP_REFRESH) /* of credentials that are S3's, not ours */
                v.verdict = HTTP_FINAL;
        return v;
}

bool verdict_code_valid(const char *code) {
        static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_";

        return code[0] && !code[strspn(code, allowed)];
}
