/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/s3-write.h"

#include <pthread.h>

#include "aws/service.h"
#include "aws/sigv4.h"
#include "aws/xml.h"
#include "basic/encode.h"
#include "owner/crc32c.h"

enum { WRITE_DEADLINE_MS = 5 * 60 * 1000, MAX_LIST_ANSWER = 8 * 1024 * 1024 };

#define CHECKSUM "x-amz-checksum-crc32c"

/* As S3 writes it: the value in big-endian order, in base64. */
struct checksum {
        uint8_t value[4];
        char text[12];
};

static int checksum_of(const void *data, size_t n, struct checksum *ret) {
        _cleanup_free_ char *text = NULL;
        uint32_t crc = crc32c(data, n);

        for (size_t i = 0; i < sizeof ret->value; i++)
                ret->value[i] = (uint8_t) (crc >> (24 - 8 * i));
        if (base64_encode(ret->value, sizeof ret->value, &text) < 0)
                return -ENOMEM;
        snprintf(ret->text, sizeof ret->text, "%s", text);
        return 0;
}

/* S3 compares the checksum that was sent with the bytes that it received before it stores them, and answers with the
 * checksum that it stored. A service that does not support checksums answers without one. */
static int check_stored(struct http_call *call, const char *stored, const char *sent, struct error *e) {
        if (!stored || streq(stored, sent))
                return 0;
        return fail(e, FAILURE_S3_ANSWER, -EBADMSG, http_call_subject(call),
                    "S3 stored bytes with the CRC32C \"%.40s\", but those that were sent have \"%s\"", stored, sent);
}

/* Sends the bytes of a PUT, with their checksum. */
static int put(struct s3 *s3, const struct s3_request *what, struct checksum *ret, struct http_call **ret_call,
               struct error *e) {
        struct pair header = { CHECKSUM, ret->text };
        struct s3_request request = *what;
        int r;

        if (checksum_of(request.body, request.body_size, ret) < 0)
                return fail_oom(e);
        request.method = "PUT";
        request.headers = &header;
        request.n_headers = 1;
        request.deadline_ms = WRITE_DEADLINE_MS;
        r = s3_perform(s3, &request, ret_call, e);
        return r < 0 ? r : check_stored(*ret_call, http_call_header(*ret_call, CHECKSUM), ret->text, e);
}

int s3_put(struct s3 *s3, const char *bucket, const char *key, const void *data, size_t n, struct error *e) {
        struct s3_request request = { .bucket = bucket, .key = key, .body = data, .body_size = n };
        _cleanup_http_call_ struct http_call *call = NULL;
        struct checksum unused;

        return put(s3, &request, &unused, &call, e);
}

int s3_delete(struct s3 *s3, const char *bucket, const char *key, struct error *e) {
        struct s3_request request = { .method = "DELETE", .bucket = bucket, .key = key };
        _cleanup_http_call_ struct http_call *call = NULL;

        return s3_perform(s3, &request, &call, e);
}

struct s3_part {
        char *etag; /* NULL: not there yet */
        struct checksum checksum;
};

struct s3_upload {
        struct s3 *s3;
        char *bucket, *key;
        char *id; /* encoded, for the query; NULL once the upload is over */
        pthread_mutex_t lock;
        struct s3_part *parts; /* parts[number - 1] */
        size_t n_parts;
};

static int read_upload_id(struct http_call *call, char **ret, struct error *e) {
        char *text, *id;
        size_t n;

        text = http_call_text(call, &n);
        id = xml_find(text, n, "InitiateMultipartUploadResult/UploadId");
        if (!id || !id[0])
                return fail(e, FAILURE_S3_ANSWER, -EBADMSG, http_call_subject(call),
                            "the answer to CreateMultipartUpload has no UploadId");
        return sigv4_encode(id, false, ret) < 0 ? fail_oom(e) : 0;
}

int s3_upload_begin(struct s3 *s3, const char *bucket, const char *key, struct s3_upload **ret, struct error *e) {
        struct s3_request request = { .method = "POST",
                                      .bucket = bucket,
                                      .key = key,
                                      .query = "uploads=",
                                      .headers = &(struct pair) { "x-amz-checksum-algorithm", "CRC32C" },
                                      .n_headers = 1 };
        _cleanup_(s3_upload_freep) struct s3_upload *upload = calloc(1, sizeof *upload);
        _cleanup_http_call_ struct http_call *call = NULL;
        int r;

        if (!upload)
                return fail_oom(e);
        pthread_mutex_init(&upload->lock, NULL);
        upload->s3 = s3;
        upload->bucket = strdup(bucket);
        upload->key = strdup(key);
        if (!upload->bucket || !upload->key)
                return fail_oom(e);
        r = s3_perform(s3, &request, &call, e);
        if (r < 0)
                return r;
        r = read_upload_id(call, &upload->id, e);
        if (r < 0)
                return r;
        *ret = TAKE(upload);
        return 0;
}

static enum http_verdict judge_part(struct http_call *call, struct error *e) {
        const char *etag = http_call_header(call, "etag");

        /* It goes into XML text later. */
        if (!etag || !s3_etag_valid(etag) || strpbrk(etag, "<&"))
                return http_verdict_fail(call, HTTP_FINAL, e, FAILURE_S3_ANSWER,
                                         "the answer HTTP %ld to a part has no usable ETag", http_call_status(call));
        return HTTP_OK;
}

static int keep_part(struct s3_upload *upload, unsigned number, const char *etag, const struct checksum *checksum) {
        char *copy = strdup(etag);
        int r = copy ? 0 : -ENOMEM;

        pthread_mutex_lock(&upload->lock);
        if (r == 0 && number > upload->n_parts) {
                struct s3_part *larger = reallocarray(upload->parts, number, sizeof *larger);

                if (larger) {
                        memset(larger + upload->n_parts, 0, (number - upload->n_parts) * sizeof *larger);
                        upload->parts = larger;
                        upload->n_parts = number;
                } else
                        r = -ENOMEM;
        }
        if (r == 0) {
                free(upload->parts[number - 1].etag);
                upload->parts[number - 1] = (struct s3_part) { TAKE(copy), *checksum };
        }
        pthread_mutex_unlock(&upload->lock);
        free(copy);
        return r;
}

int s3_upload_part(struct s3_upload *upload, unsigned number, const void *data, size_t n, struct error *e) {
        struct s3_request request = {
                .bucket = upload->bucket, .key = upload->key, .body = data, .body_size = n, .judge = judge_part
        };
        _cleanup_http_call_ struct http_call *call = NULL;
        _cleanup_free_ char *query = NULL;
        struct checksum checksum;
        int r;

        if (number < 1 || number > S3_PARTS_MAX)
                return fail(e, FAILURE_INTERNAL, -EINVAL, upload->key, "part %u is not between 1 and %d", number,
                            S3_PARTS_MAX);
        if (asprintf(&query, "partNumber=%u&uploadId=%s", number, upload->id) < 0)
                return fail_oom(e);
        request.query = query;
        r = put(upload->s3, &request, &checksum, &call, e);
        if (r < 0)
                return r;
        return keep_part(upload, number, http_call_header(call, "etag"), &checksum) < 0 ? fail_oom(e) : 0;
}

/* S3 answers 200 at once, and reports a later failure in the body. */
static enum http_verdict judge_complete(struct http_call *call, struct error *e) {
        struct service_answer answer = service_answer(call);
        _cleanup_free_ char *copy = strndup(answer.text, answer.n);
        const char *code;

        if (!copy)
                return http_verdict_fail(call, HTTP_FINAL, e, FAILURE_INTERNAL, "out of memory");
        code = xml_find(copy, answer.n, "Error/Code");
        if (!code)
                return HTTP_OK;
        answer.status = streq(code, "InternalError") || streq(code, "SlowDown") ? 503 : 400;
        answer.action = "s3:PutObject";
        return s3_judge_error(&answer, e);
}

static int complete_body(const struct s3_upload *upload, char **ret, size_t *ret_n, struct error *e) {
        FILE *f = open_memstream(ret, ret_n);

        if (!f)
                return fail_oom(e);
        fputs("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">", f);
        for (size_t i = 0; i < upload->n_parts; i++) {
                const struct s3_part *part = &upload->parts[i];

                if (!part->etag) {
                        fclose(f);
                        return fail(e, FAILURE_INTERNAL, -EINVAL, upload->key, "part %zu of %zu is missing", i + 1,
                                    upload->n_parts);
                }
                fprintf(f, "<Part><PartNumber>%zu</PartNumber><ETag>%s</ETag>", i + 1, part->etag);
                fprintf(f, "<ChecksumCRC32C>%s</ChecksumCRC32C></Part>", part->checksum.text);
        }
        fputs("</CompleteMultipartUpload>", f);
        return fclose(f) == 0 ? 0 : fail_oom(e);
}

/* The object's checksum is that of its parts' checksums, and their number follows. */
static int check_complete(const struct s3_upload *upload, struct http_call *call, struct error *e) {
        _cleanup_free_ uint8_t *values = malloc(upload->n_parts * sizeof upload->parts->checksum.value);
        struct checksum whole;
        char expected[32], *text;
        size_t n;

        if (!values)
                return fail_oom(e);
        for (size_t i = 0; i < upload->n_parts; i++)
                memcpy(values + i * sizeof whole.value, upload->parts[i].checksum.value, sizeof whole.value);
        if (checksum_of(values, upload->n_parts * sizeof whole.value, &whole) < 0)
                return fail_oom(e);
        snprintf(expected, sizeof expected, "%s-%zu", whole.text, upload->n_parts);
        text = http_call_text(call, &n);
        return check_stored(call, xml_find(text, n, "CompleteMultipartUploadResult/ChecksumCRC32C"), expected, e);
}

int s3_upload_complete(struct s3_upload *upload, struct error *e) {
        struct s3_request request = { .method = "POST",
                                      .bucket = upload->bucket,
                                      .key = upload->key,
                                      .headers = &(struct pair) { "content-type", "application/xml" },
                                      .n_headers = 1,
                                      .deadline_ms = WRITE_DEADLINE_MS,
                                      .judge = judge_complete };
        _cleanup_http_call_ struct http_call *call = NULL;
        _cleanup_free_ char *body = NULL, *query = NULL;
        int r;

        r = complete_body(upload, &body, &request.body_size, e);
        if (r < 0)
                return r;
        if (asprintf(&query, "uploadId=%s", upload->id) < 0)
                return fail_oom(e);
        request.query = query;
        request.body = body;
        r = s3_perform(upload->s3, &request, &call, e);
        if (r < 0)
                return r;
        free(upload->id);
        upload->id = NULL;
        return check_complete(upload, call, e);
}

static void upload_abort(struct s3_upload *upload) {
        struct s3_request request = {
                .method = "DELETE", .bucket = upload->bucket, .key = upload->key, .deadline_ms = 1
        };
        _cleanup_http_call_ struct http_call *call = NULL;
        _cleanup_free_ char *query = NULL;

        if (asprintf(&query, "uploadId=%s", upload->id) < 0)
                return;
        request.query = query;
        (void) s3_perform(upload->s3, &request, &call, NULL);
}

void s3_upload_free(struct s3_upload *upload) {
        if (!upload)
                return;
        if (upload->id)
                upload_abort(upload);
        for (size_t i = 0; i < upload->n_parts; i++)
                free(upload->parts[i].etag);
        free(upload->parts);
        free(upload->id);
        free(upload->bucket);
        free(upload->key);
        pthread_mutex_destroy(&upload->lock);
        free(upload);
}

void s3_list_done(struct s3_list *list) {
        for (size_t i = 0; i < list->n; i++)
                free(list->entries[i].key);
        free(list->entries);
        free(list->next);
        *list = (struct s3_list) {};
}

static int list_append(struct s3_list *list, char **key, uint64_t size) {
        /* Room grows at the powers of two. */
        if ((list->n & (list->n - 1)) == 0) {
                struct s3_entry *larger = reallocarray(list->entries, MAX_OF(2 * list->n, 1u), sizeof *larger);

                if (!larger)
                        return -ENOMEM;
                list->entries = larger;
        }
        list->entries[list->n++] = (struct s3_entry) { .key = TAKE(*key), .size = size };
        return 0;
}

struct page {
        struct s3_list *list;
        char *key;
        uint64_t size;
        bool has_size, is_list, truncated;
};

/* One element of a ListBucketResult. */
static int list_item(struct page *page, const struct xml_item *item) {
        if (streq(item->path, "ListBucketResult"))
                page->is_list = true;
        else if (streq(item->path, "ListBucketResult/IsTruncated") && item->text)
                page->truncated = streq(item->text, "true");
        else if (streq(item->path, "ListBucketResult/NextContinuationToken") && item->text) {
                free(page->list->next);
                page->list->next = strdup(item->text);
                return page->list->next ? 0 : -ENOMEM;
        } else if (streq(item->path, "ListBucketResult/Contents/Key") && item->text) {
                free(page->key);
                page->key = strdup(item->text);
                return page->key ? 0 : -ENOMEM;
        } else if (streq(item->path, "ListBucketResult/Contents/Size") && item->text) {
                page->has_size = true;
                return decimal_parse(item->text, INT64_MAX, &page->size) < 0 ? -EBADMSG : 0;
        } else if (streq(item->path, "ListBucketResult/Contents")) {
                if (!page->key || !page->has_size)
                        return -EBADMSG;
                page->has_size = false;
                return list_append(page->list, &page->key, page->size);
        }
        return 0;
}

int s3_parse_list(char *text, size_t n, const char *subject, struct s3_list *list, struct error *e) {
        struct xml x = xml_over(text, n);
        struct page page = { .list = list };
        struct xml_item item;
        int r;

        free(list->next);
        list->next = NULL;
        while ((r = xml_next(&x, &item)) > 0)
                if ((r = list_item(&page, &item)) < 0)
                        break;
        free(page.key);
        if (r == -ENOMEM)
                return fail_oom(e);
        if (r < 0 || !page.is_list || page.truncated != (list->next != NULL))
                return fail(e, FAILURE_S3_ANSWER, -EBADMSG, subject,
                            "the listing is not a well-formed ListBucketResult");
        return 0;
}

static int list_page(struct s3 *s3, const char *bucket, const char *prefix, struct s3_list *list, struct error *e) {
        struct s3_request request = { .method = "GET", .bucket = bucket, .key = "", .max_answer = MAX_LIST_ANSWER };
        _cleanup_free_ char *prefix_encoded = NULL, *token_encoded = NULL, *query = NULL;
        _cleanup_http_call_ struct http_call *call = NULL;
        char *text;
        size_t n;
        int r;

        if (sigv4_encode(prefix, false, &prefix_encoded) < 0 ||
            sigv4_encode(list->next ?: "", false, &token_encoded) < 0 ||
            asprintf(&query, "%s%s%slist-type=2&prefix=%s", list->next ? "continuation-token=" : "", token_encoded,
                     list->next ? "&" : "", prefix_encoded) < 0)
                return fail_oom(e);
        request.query = query;
        r = s3_perform(s3, &request, &call, e);
        if (r < 0)
                return r;
        text = http_call_text(call, &n);
        return s3_parse_list(text, n, http_call_subject(call), list, e);
}

int s3_list(struct s3 *s3, const char *bucket, const char *prefix, size_t max, struct s3_list *ret, struct error *e) {
        _cleanup_(s3_list_done) struct s3_list list = {};
        int r;

        do {
                size_t before = list.n;

                r = list_page(s3, bucket, prefix, &list, e);
                if (r < 0)
                        return r;
                if (list.n > max || (list.next && list.n == before))
                        return fail(e, FAILURE_S3_ANSWER, -EFBIG, bucket,
                                    "the listing has more than %zu objects, or does not end", max);
        } while (list.next);
        *ret = TAKE_STRUCT(list);
        return 0;
}
