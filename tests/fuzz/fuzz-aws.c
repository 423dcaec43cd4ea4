/* SPDX-License-Identifier: Apache-2.0 */

/* What AWS, or whoever sits where AWS should, answers. The first byte picks the reader, so that one corpus serves all.
 */

#include "aws/denial.h"
#include "aws/http-internal.h"
#include "aws/imds.h"
#include "aws/key-arn.h"
#include "aws/kms.h"
#include "aws/s3.h"
#include "aws/service.h"
#include "owner/s3-write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void list(char *text, size_t n) {
        _cleanup_(s3_list_done) struct s3_list list = {};

        if (s3_parse_list(text, n, "list", &list, NULL) == 0)
                for (size_t i = 0; i < list.n; i++)
                        if (!list.entries[i].key)
                                abort();
}

static void kms(char *text, size_t n) {
        _cleanup_(kms_answer_done) struct kms_answer answer = {};

        if (kms_parse_answer(text, n, "kms", &answer, NULL) == 0 && !answer.key_arn)
                abort();
}

static void role(char *text, size_t n) {
        _cleanup_credentials_ struct credentials *c = NULL;

        /* What would be sent in a header must not be able to end it. */
        if (imds_parse_credentials(text, n, "role", &c, NULL) == 0 &&
            (strpbrk(c->access_key_id, "\r\n") || strpbrk((char *) c->session_token->data, "\r\n")))
                abort();
}

static void range(const char *text) {
        uint64_t first, last, total;

        if (s3_parse_content_range(text, &first, &last, &total) == 0 && (first > last || last >= total))
                abort();
        (void) s3_etag_valid(text);
}

static void uri(const char *text) {
        _cleanup_free_ char *bucket = NULL, *key = NULL, *region = NULL;

        if (s3_parse_uri(text, FAILURE_LAUNCH, &bucket, &key, NULL) == 0 && (strchr(bucket, '/') || strlen(key) > 1024))
                abort();
        if (key_arn_region(text, &region) == 0 && !region_valid(region))
                abort();
}

static void arn(const char *text) {
        _cleanup_free_ char *other = NULL;

        if (!key_arn_valid(text))
                return;
        /* Only what is a replica's, and stays one, is related to another. */
        if (key_arn_in_region(text, "eu-west-1", &other) < 0 || !key_arn_valid(other) ||
            (key_arn_related(text, other) != key_arn_is_multi_region(text) && strcmp(text, other) != 0))
                abort();
}

static void denial(const char *text) {
        struct denial d;
        char advice[300];

        if (!denial_parse(text, &d))
                return;
        denial_advice(&d, "key policy", advice, sizeof advice);
        if ((d.kind == DENIAL_UNNAMED) != (advice[0] == '\0'))
                abort();
}

static void notice(const char *text, size_t n) {
        struct interruption interruption = {};
        enum lifecycle_state state;

        if (lifecycle_state_parse(text, n, "state", &state, NULL) == 0 &&
            strcmp(lifecycle_state_name(state), text) != 0)
                abort();
        if (interruption_parse(text, n, "notice", &interruption, NULL) == 0 && !interruption.action)
                abort();
}

/* A header in front fills the room for them, up to what the first two bytes say. */
static void fill_head(struct http_call *call, const uint8_t size[static 2]) {
        static char line[UINT16_MAX + 3];
        size_t n = (size_t) size[0] << 8 | size[1];

        memset(line, 'f', n);
        memcpy(line + n, ":f\n", 3);
        if (http_call_on_header(line, 1, n + 3, call) > 0 && !call->headers.size)
                abort();
}

/* Each name has a value, and both end within what is kept. */
static void check_pairs(const struct buffer *b) {
        size_t ends = 0;

        for (size_t i = 0; i < b->size; i++)
                ends += b->data[i] == '\0';
        if (ends % 2 != 0 || (b->size > 0 && b->data[b->size - 1]))
                abort();
}

/* The lines of an answer's head, as libcurl gives them. */
static void head(char *text, size_t n) {
        struct http_call *call = calloc(1, sizeof *call);
        const char *value;

        if (!call)
                return;
        call->status = 200;
        if (n > 2) {
                fill_head(call, (const uint8_t *) text);
                text += 2;
                n -= 2;
        }
        for (size_t line; n > 0 && !call->flaw; text += line, n -= line) {
                const char *end = memchr(text, '\n', n);

                line = end ? (size_t) (end - text) + 1 : n;
                if (http_call_on_header(text, 1, line, call) != line && !call->flaw)
                        abort();
        }
        check_pairs(&call->headers);
        value = http_call_header(call, "etag");
        if (value && strpbrk(value, "\n"))
                abort();
        (void) http_call_request_id(call);
        http_call_free(call);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = NULL;
        struct service_answer answer;
        struct imds_identity identity;
        struct error e;
        size_t n;

        if (size == 0)
                return 0;
        n = size - 1;
        text = malloc(n + 1);
        if (!text)
                return 0;
        memcpy(text, data + 1, n);
        text[n] = '\0';
        answer = (struct service_answer) { .status = 400, .text = text, .n = n, .date = text, .subject = "answer" };
        switch (data[0]) {
        case 'l':
                list(text, n);
                break;
        case 'k':
                kms(text, n);
                break;
        case 'r':
                role(text, n);
                break;
        case 'i':
                (void) imds_parse_identity(text, n, "identity", &identity, &e);
                break;
        case 'h':
                head(text, n);
                break;
        case 'n':
                notice(text, n);
                break;
        case 'c':
                range(text);
                break;
        case 'u':
                uri(text);
                break;
        case 'a':
                arn(text);
                break;
        case 'd':
                denial(text);
                break;
        case 'K':
                (void) kms_judge_error(&answer, &e);
                break;
        case 'S':
                (void) s3_judge_error(&answer, &e);
                break;
        }
        return 0;
}
