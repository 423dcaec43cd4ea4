/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/s3.h"

#include <inttypes.h>

#include "aws/denial.h"
#include "aws/service.h"
#include "aws/sigv4.h"
#include "aws/verdict.h"
#include "aws/xml.h"
#include "basic/encode.h"
#include "basic/utf8.h"

enum { DEADLINE_MS = 30000, MAX_ERROR = 64 * 1024, MAX_KEY = 1024, MAX_SKEW_SECONDS = 15 * 60 };

struct s3 {
        struct service service;
};

int s3_new(const struct service_access *access, struct s3 **ret, struct error *e) {
        _cleanup_(s3_freep) struct s3 *s3 = calloc(1, sizeof *s3);
        int r;

        if (!s3)
                return fail_oom(e);
        r = service_init(&s3->service, "s3", "S3 endpoint", access, e);
        if (r < 0)
                return r;
        *ret = TAKE(s3);
        return 0;
}

void s3_free(struct s3 *s3) {
        if (!s3)
                return;
        service_done(&s3->service);
        free(s3);
}

/* The name becomes part of a host name or path: 3 to 63 of a-z 0-9 . -, a letter or digit at both ends, no empty label.
 */
static bool bucket_valid(const char *bucket) {
        size_t n = strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789.-");

        return n >= 3 && n <= 63 && !bucket[n] && !strchr(".-", bucket[0]) && !strchr(".-", bucket[n - 1]) &&
               !strstr(bucket, "..");
}

/* Names that AWS keeps for things that have other hosts and other signatures. NULL: none of these. */
static const char *reserved_name(const char *bucket) {
        static const struct {
                const char *end, *what;
        } table[] = {
                { "--x-s3", "is a directory bucket (S3 Express One Zone), which sealboot does not read or write: use a "
                            "general purpose bucket" },
                { "--table-s3", "is a table bucket's: use a general purpose bucket" },
                { ".mrap", "is a multi-Region access point, whose requests are signed in another way: name a bucket" },
        };
        size_t n = strlen(bucket);

        for (size_t i = 0; i < ELEMENTS(table); i++)
                if (n > strlen(table[i].end) && streq(bucket + n - strlen(table[i].end), table[i].end))
                        return table[i].what;
        return NULL;
}

int s3_parse_uri(const char *uri, enum failure failure, char **ret_bucket, char **ret_key, struct error *e) {
        _cleanup_free_ char *bucket = NULL, *key = NULL;
        const char *slash, *reserved;

        if (strncmp(uri, "s3://", 5) != 0)
                return fail(e, failure, -EINVAL, uri, "it is not of the form s3://bucket/key");
        /* S3 allows others, but consoles and the service manager show the name. */
        if (!utf8_printable(uri))
                return fail(e, failure, -EINVAL, uri, "it has control characters, or is not UTF-8");
        slash = strchrnul(uri + 5, '/');
        bucket = strndup(uri + 5, (size_t) (slash - uri - 5));
        key = strdup(*slash ? slash + 1 : "");
        if (!bucket || !key)
                return fail_oom(e);
        if (!bucket_valid(bucket))
                return fail(e, failure, -EINVAL, uri, "\"%s\" is not the name of a bucket", bucket);
        reserved = reserved_name(bucket);
        if (reserved)
                return fail(e, failure, -EINVAL, uri, "\"%s\" %s", bucket, reserved);
        if (strlen(key) > MAX_KEY)
                return fail(e, failure, -EINVAL, uri, "the key is longer than %d bytes", MAX_KEY);
        *ret_bucket = TAKE(bucket);
        *ret_key = TAKE(key);
        return 0;
}

bool s3_etag_valid(const char *text) {
        size_t n = strlen(text);

        if (n < 3 || n >= S3_ETAG_SIZE || text[0] != '"' || text[n - 1] != '"')
                return false;
        for (size_t i = 1; i < n - 1; i++)
                if (text[i] <= ' ' || text[i] > '~' || text[i] == '"')
                        return false;
        return true;
}

static int parse_length(const char *text, uint64_t *ret) {
        return text && decimal_parse(text, UINT64_MAX, ret) == 0 ? 0 : -EBADMSG;
}

int s3_parse_content_range(const char *text, uint64_t *ret_first, uint64_t *ret_last, uint64_t *ret_total) {
        uint64_t first, last, total;

        if (strncmp(text, "bytes ", 6) != 0)
                return -EBADMSG;
        text += 6;
        if (decimal_read(&text, UINT64_MAX, &first) < 0 || *text++ != '-' ||
            decimal_read(&text, UINT64_MAX, &last) < 0 || *text++ != '/' || parse_length(text, &total) < 0 ||
            first > last || last >= total)
                return -EBADMSG;
        *ret_first = first;
        *ret_last = last;
        *ret_total = total;
        return 0;
}

struct s3_error {
        char code[80];
        char message[768];
        char region[32];
        char storage_class[32];
};

static void parse_error(const struct service_answer *answer, struct s3_error *ret) {
        const struct {
                const char *path;
                char *to;
                size_t room;
        } table[] = {
                { "Error/Code", ret->code, sizeof ret->code },
                { "Error/Message", ret->message, sizeof ret->message },
                { "Error/Region", ret->region, sizeof ret->region },
                { "Error/StorageClass", ret->storage_class, sizeof ret->storage_class },
        };
        _cleanup_free_ char *copy = strndup(answer->text, answer->n);
        struct xml_item item;
        struct xml x;

        if (!copy)
                return;
        x = xml_over(copy, strlen(copy));
        while (xml_next(&x, &item) > 0)
                for (size_t i = 0; item.text && i < ELEMENTS(table); i++)
                        if (streq(item.path, table[i].path))
                                snprintf(table[i].to, table[i].room, "%s", item.text);
        if (!ret->region[0] && answer->region && region_valid(answer->region))
                snprintf(ret->region, sizeof ret->region, "%s", answer->region);
}

/* The bucket's key is not the key of the model. S3 uses it with the permissions of the caller. */
static void advise_about_bucket_key(const char *action, const struct denial *d, struct error *e) {
        char how[512] = "";

        if (d)
                denial_advice(d, "the policy of that key", how, sizeof how);
        fail_advice(e,
                    "The bucket encrypts its objects with a KMS key (SSE-KMS). That key, which is not the one that the "
                    "model is sealed under, must be enabled, and must allow %s to the caller.%s%s",
                    action, how[0] ? " " : "", how);
}

static void advise_about_denial(const struct service_answer *answer, const struct s3_error *s3, struct error *e) {
        static const char no_list[] =
                " To a role without s3:ListBucket S3 answers the same for a key that does not exist.";
        const char *needed = answer->action ?: "s3:GetObject";
        char advice[512] = "";
        struct denial d = {};

        if (denial_parse(s3->message, &d) && d.action[0])
                needed = d.action;
        if (strncmp(needed, "kms:", 4) == 0) {
                advise_about_bucket_key(needed, &d, e);
                return;
        }
        denial_advice(&d, "the bucket policy", advice, sizeof advice);
        if (advice[0])
                fail_advice(e, "%s", advice);
        else
                fail_advice(e, "The caller needs %s on the object named above, and the bucket policy must allow it.%s",
                            needed, streq(needed, "s3:GetObject") ? no_list : "");
}

static void advise(const struct service_answer *answer, const struct s3_error *s3, enum failure failure,
                   struct error *e) {
        bool writes = answer->action && streq(answer->action, "s3:PutObject");

        if (failure == FAILURE_S3_NOT_FOUND && answer->status != 404)
                fail_advice(e, "The bucket is in another Region%s%s; use that Region.", s3->region[0] ? ": " : "",
                            s3->region);
        else if (failure == FAILURE_SEALED_FORMAT)
                fail_advice(e, "The object is empty, or too short to be a sealed file.");
        else if (failure != FAILURE_S3_DENIED)
                return;
        else if (strncmp(s3->code, "KMS.", 4) == 0)
                advise_about_bucket_key(writes ? "kms:GenerateDataKey" : "kms:Decrypt", NULL, e);
        else if (streq(s3->code, "InvalidObjectState"))
                fail_advice(e,
                            "The object is archived%s%s: restore it (`aws s3api restore-object`), or copy it to a "
                            "storage class that can be read at once, then try again.",
                            s3->storage_class[0] ? " in the storage class " : "", s3->storage_class);
        else if (!s3->code[0] || strncmp(s3->code, "AccessDenied", 12) == 0)
                advise_about_denial(answer, s3, e);
        else
                fail_advice(e, "S3 named the reason above: its list of error codes says what %s means.", s3->code);
}

enum http_verdict s3_judge_error(const struct service_answer *answer, struct error *e) {
        struct s3_error s3 = {};
        struct verdict v;
        char words[1024];

        parse_error(answer, &s3);
        v = verdict_of(VERDICT_S3, answer->status, verdict_code_valid(s3.code) ? s3.code : NULL, s3.message);
        snprintf(words, sizeof words, "HTTP %ld%s%s%s%s", answer->status, s3.code[0] ? " " : "", s3.code,
                 s3.message[0] ? ": " : "", s3.message);
        /* A refused HEAD has no body, but it has a Date. */
        if (v.failure == FAILURE_S3_DENIED && !s3.code[0] && llabs(service_clock_ahead(answer)) > MAX_SKEW_SECONDS)
                v.failure = FAILURE_CLOCK;
        if (v.failure == FAILURE_CLOCK)
                return service_clock_fail(answer, words, e);
        fail(e, v.failure, -EIO, answer->subject, "%s", words);
        advise(answer, &s3, v.failure, e);
        return v.verdict;
}

/* The permission that a request needs, unless S3 names one in its refusal. */
static const char *action_of(const struct s3_request *q) {
        if (!q->key || !q->key[0])
                return "s3:ListBucket";
        if (streq(q->method, "GET") || streq(q->method, "HEAD"))
                return q->query && strstr(q->query, "versionId=") ? "s3:GetObjectVersion" : "s3:GetObject";
        if (streq(q->method, "DELETE"))
                return q->query && strstr(q->query, "uploadId=") ? "s3:AbortMultipartUpload" : "s3:DeleteObject";
        return "s3:PutObject";
}

/* The path of a request. The bucket is in it, and not in the host's name, at an endpoint of one's own, and where the
 * bucket's name has dots: AWS's wildcard certificate does not cover such a host. */
static int make_path(const char *bucket, const char *key, bool path_style, char **ret) {
        _cleanup_free_ char *encoded = NULL;

        if (sigv4_encode(key, true, &encoded) < 0 ||
            asprintf(ret, "/%s%s%s", path_style ? bucket : "", path_style && key[0] ? "/" : "", encoded) < 0)
                return -ENOMEM;
        return 0;
}

static int prepare_request(struct s3 *s3, const struct s3_request *q, CURL *easy, bool refresh, struct http_call **ret,
                           struct error *e) {
        bool path_style = s3->service.endpoint.host || strchr(q->bucket, '.');
        _cleanup_free_ char *path = NULL, *subject = NULL;
        const char *key = q->key ?: "";

        if (asprintf(&subject, "s3://%s/%s", q->bucket, key) < 0)
                return fail_oom(e);
        if (!bucket_valid(q->bucket) || strlen(key) > MAX_KEY)
                return fail(e, FAILURE_S3_NOT_FOUND, -EINVAL, subject, "it is not the name of an object");
        if (make_path(q->bucket, key, path_style, &path) < 0)
                return fail_oom(e);
        return service_prepare(&s3->service, &(struct service_request) {
                .host_prefix = path_style ? NULL : q->bucket, .path = path, .query = q->query,
                .unsigned_payload = true,
                .http = {
                        .method = q->method, .headers = q->headers, .n_headers = q->n_headers,
                        .body = q->body, .body_size = q->body_size,
                        .max_answer = MAX_OF(q->max_answer, (size_t) MAX_ERROR),
                        .subject = subject, .malformed = FAILURE_S3_ANSWER,
                },
        }, easy, refresh, ret, e);
}

struct exchange {
        struct s3 *s3;
        const struct s3_request *request;
        bool refreshed; /* a HEAD was answered 400 before */
};

static int prepare(void *userdata, CURL *easy, bool refresh, struct http_call **ret, struct error *e) {
        const struct exchange *x = userdata;

        return prepare_request(x->s3, x->request, easy, refresh, ret, e);
}

static enum http_verdict judge(void *userdata, struct http_call *call, CURLcode code, struct error *e) {
        struct exchange *x = userdata;
        enum http_verdict verdict = http_judge(call, code, e);

        if (verdict != HTTP_OK)
                return verdict;
        if (http_call_status(call) / 100 == 2)
                return x->request->judge ? x->request->judge(call, e) : HTTP_OK;
        /* The 400 may be that of an expired token: a HEAD does not tell. If it is not, the next answer is the same. */
        if (http_call_status(call) == 400 && streq(x->request->method, "HEAD") && !x->refreshed) {
                service_judge(call, action_of(x->request), s3_judge_error, e);
                x->refreshed = true;
                return HTTP_REFRESH;
        }
        return service_judge(call, action_of(x->request), s3_judge_error, e);
}

int s3_perform(struct s3 *s3, const struct s3_request *request, struct http_call **ret, struct error *e) {
        struct exchange userdata = { .s3 = s3, .request = request };
        struct http_exchange exchange = { .prepare = prepare, .judge = judge, .userdata = &userdata };
        struct retry_policy policy = { .deadline_ms = request->deadline_ms ?: DEADLINE_MS,
                                       .base_ms = 100,
                                       .cap_ms = 5000 };

        return http_perform(s3->service.http, &exchange, &policy, ret, e);
}

static enum http_verdict malformed(struct http_call *call, const char *header, struct error *e) {
        return http_verdict_fail(call, HTTP_FINAL, e, FAILURE_S3_ANSWER, "HTTP %ld, and its %s header is %.200s",
                                 http_call_status(call), header,
                                 http_call_header(call, header) ?: "missing or sent twice");
}

enum http_verdict s3_read_head(struct http_call *call, struct s3_head *ret, struct error *e) {
        const char *etag = http_call_header(call, "etag");

        if (!etag || !s3_etag_valid(etag))
                return malformed(call, "ETag", e);
        if (parse_length(http_call_header(call, "content-length"), &ret->size) < 0)
                return malformed(call, "Content-Length", e);
        snprintf(ret->etag, sizeof ret->etag, "%s", etag);
        return HTTP_OK;
}

static enum http_verdict judge_head(struct http_call *call, struct error *e) {
        struct s3_head head;

        return s3_read_head(call, &head, e);
}

int s3_get(struct s3 *s3, const char *bucket, const char *key, size_t max, uint8_t **ret, size_t *ret_n,
           struct s3_head *ret_head, struct error *e) {
        struct s3_request request = {
                .method = "GET", .bucket = bucket, .key = key, .max_answer = max, .judge = judge_head
        };
        _cleanup_http_call_ struct http_call *call = NULL;
        struct s3_head head = {};
        uint8_t *copy;
        char *text;
        size_t n;
        int r;

        r = s3_perform(s3, &request, &call, e);
        if (r < 0)
                return r;
        (void) s3_read_head(call, &head, e);
        text = http_call_text(call, &n);
        if (n > max || n != head.size)
                return fail(e, FAILURE_S3_ANSWER, -EFBIG, http_call_subject(call),
                            "the object has %" PRIu64 " bytes, at most %zu were expected", head.size, max);
        copy = malloc(n + 1);
        if (!copy)
                return fail_oom(e);
        memcpy(copy, text, n + 1);
        if (ret_head)
                *ret_head = head;
        *ret = copy;
        *ret_n = n;
        return 0;
}

static enum http_verdict judge_start(struct http_call *call, struct error *e) {
        return http_call_status(call) == 206 ? HTTP_OK : malformed(call, "Content-Range", e);
}

int s3_get_start(struct s3 *s3, const char *bucket, const char *key, size_t max, uint8_t **ret, size_t *ret_n,
                 struct error *e) {
        char bytes[sizeof "bytes=0-18446744073709551615"];
        const struct pair range = { "range", bytes };
        const struct s3_request request = { .method = "GET",
                                            .bucket = bucket,
                                            .key = key,
                                            .headers = &range,
                                            .n_headers = 1,
                                            .max_answer = max,
                                            .judge = judge_start };
        _cleanup_http_call_ struct http_call *call = NULL;
        uint8_t *copy;
        char *text;
        size_t n;
        int r;

        snprintf(bytes, sizeof bytes, "bytes=0-%zu", max - 1);
        r = s3_perform(s3, &request, &call, e);
        if (r < 0)
                return r;
        text = http_call_text(call, &n);
        if (n > max)
                return fail(e, FAILURE_S3_ANSWER, -EFBIG, http_call_subject(call),
                            "the answer has %zu bytes, %zu were asked for", n, max);
        copy = malloc(n + 1);
        if (!copy)
                return fail_oom(e);
        memcpy(copy, text, n + 1);
        *ret = copy;
        *ret_n = n;
        return 0;
}

void s3_tell_retry(const struct s3 *s3, const struct error *why, unsigned wait_ms) {
        http_tell_retry(s3->service.http, why, wait_ms);
}

/* What http_call_attach() ties to the call of one range. */
struct range {
        uint64_t first, last;
        char if_match[S3_ETAG_SIZE]; /* "": any version */
        bool judged;
        const char *wrong; /* the header that does not fit; NULL: none */
        struct s3_range answer;
};

int s3_prepare_range(struct s3 *s3, CURL *easy, const char *bucket, const char *key, uint64_t first, uint64_t last,
                     const char *if_match, bool refresh, struct http_call **ret, struct error *e) {
        char bytes[sizeof "bytes=18446744073709551615-18446744073709551615"];
        struct pair headers[2] = { { "range", bytes }, { "if-match", if_match } };
        struct s3_request request = {
                .method = "GET", .bucket = bucket, .key = key, .headers = headers, .n_headers = if_match ? 2 : 1
        };
        struct range *range;
        int r;

        if (first > last || (if_match && !s3_etag_valid(if_match)))
                return fail(e, FAILURE_INTERNAL, -EINVAL, key,
                            "bytes %" PRIu64 "-%" PRIu64 " of version %s are not a range that can be asked for", first,
                            last, if_match ?: "any");
        snprintf(bytes, sizeof bytes, "bytes=%" PRIu64 "-%" PRIu64, first, last);
        range = calloc(1, sizeof *range);
        if (!range)
                return fail_oom(e);
        *range = (struct range) { .first = first, .last = last };
        if (if_match)
                snprintf(range->if_match, sizeof range->if_match, "%s", if_match);
        r = prepare_request(s3, &request, easy, refresh, ret, e);
        if (r < 0)
                free(range);
        else
                http_call_attach(*ret, range, free);
        return r;
}

/* The first header of a 206 that does not fit the request. */
static const char *check_range(struct http_call *call, struct range *range) {
        const char *content_range = http_call_header(call, "content-range");
        struct s3_range *a = &range->answer;
        uint64_t length;

        if (!content_range || s3_parse_content_range(content_range, &a->first, &a->last, &a->total) < 0 ||
            a->first != range->first || a->last != MIN_OF(range->last, a->total - 1))
                return "Content-Range";
        if (parse_length(http_call_header(call, "content-length"), &length) < 0 || length != a->last - a->first + 1)
                return "Content-Length";
        a->etag = http_call_header(call, "etag");
        if (!a->etag || !s3_etag_valid(a->etag) || (range->if_match[0] && !streq(a->etag, range->if_match)))
                return "ETag";
        return NULL;
}

int s3_range_answer(struct http_call *call, struct s3_range *ret) {
        struct range *range = http_call_context(call);

        if (http_call_status(call) != 206)
                return 0;
        if (!range->judged) {
                range->wrong = check_range(call, range);
                range->judged = true;
        }
        if (range->wrong)
                return 0;
        *ret = range->answer;
        return 1;
}

enum http_verdict s3_judge_range(struct http_call *call, CURLcode code, struct error *e) {
        const struct range *range = http_call_context(call);
        long status = http_call_status(call);
        enum http_verdict verdict;
        struct s3_range answer;

        if (status == 200)
                return http_verdict_fail(call, HTTP_FINAL, e, FAILURE_S3_ANSWER,
                                         "HTTP 200: S3 sent the whole object instead of the range asked for");
        if (status == 206 && !s3_range_answer(call, &answer))
                return malformed(call, range->wrong, e);
        verdict = http_judge(call, code, e);
        return verdict != HTTP_OK || status == 206 ? verdict : service_judge(call, "s3:GetObject", s3_judge_error, e);
}
