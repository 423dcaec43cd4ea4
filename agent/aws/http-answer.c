/* SPDX-License-Identifier: Apache-2.0 */

/* An answer: its headers and body as they arrive, and what a finished transfer means. */

#include <openssl/x509_vfy.h>
#include <stdarg.h>
#include <strings.h>

#include "aws/http-internal.h"
#include "basic/clock.h"

enum { MAX_HEADER_BYTES = 32 * 1024 };
_Static_assert(MAX_HEADER_BYTES == 32768, "BAD_HEADERS says so");
#define BAD_HEADERS "headers that are malformed or larger than 32768 bytes"

static int append(struct buffer *b, const void *data, size_t n, size_t max) {
        if (n > max || b->size > max - n)
                return -EFBIG;
        if (b->size + n + 1 > b->room) {
                size_t room = MIN_OF(MAX_OF(2 * b->room, b->size + n + 1), max + 1);
                char *larger = malloc(room);

                /* Not realloc(): the old copy may hold a secret. */
                if (!larger)
                        return -ENOMEM;
                if (b->data)
                        memcpy(larger, b->data, b->size);
                wipe_free(b->data);
                b->data = larger;
                b->room = room;
        }
        if (n > 0)
                memcpy(b->data + b->size, data, n);
        b->size += n;
        b->data[b->size] = '\0';
        return 0;
}

static int append_text(struct buffer *b, const char *text, size_t n) {
        return append(b, text, n, MAX_HEADER_BYTES) < 0 || append(b, "", 1, MAX_HEADER_BYTES) < 0 ? -EFBIG : 0;
}

/* "Name: value\r\n" becomes "Name\0value\0", the value without spaces around it; or nothing is kept of it. */
static int keep_header(struct http_call *call, const char *line, size_t n) {
        const char *colon = memchr(line, ':', n), *text;
        size_t before = call->headers.size, name;

        while (n > 0 && strchr("\r\n \t", line[n - 1]) && line[n - 1])
                n--;
        if (n == 0)
                return 0;
        /* A NUL would shift names and values; a name of nothing, or one with a space (a folded line), is no header. */
        if (!colon || memchr(line, 0, n))
                return -EBADMSG;
        name = (size_t) (colon - line);
        if (name == 0 || memchr(line, ' ', name) || memchr(line, '\t', name))
                return -EBADMSG;
        text = colon + 1;
        n -= MIN_OF(n, name + 1);
        while (n > 0 && (*text == ' ' || *text == '\t')) {
                text++;
                n--;
        }
        if (append_text(&call->headers, line, name) < 0 || append_text(&call->headers, text, n) < 0) {
                call->headers.size = before;
                return -EFBIG;
        }
        return 0;
}

/* How many headers of this name there are; *ret_value is the last one's. */
static size_t find_header(const struct http_call *call, const char *name, const char **ret_value) {
        size_t found = 0;

        for (size_t i = 0; i < call->headers.size;) {
                const char *candidate = call->headers.data + i, *value = candidate + strlen(candidate) + 1;

                if (strcasecmp(candidate, name) == 0) {
                        *ret_value = value;
                        found++;
                }
                i = (size_t) (value - call->headers.data) + strlen(value) + 1;
        }
        return found;
}

/* NULL: a head that is whole has none. */
static const char *find_flaw(const struct http_call *call) {
        size_t lengths, encodings;
        const char *value;

        if (call->status == 101)
                return "a change of the protocol, which was not asked for";
        lengths = find_header(call, "content-length", &value);
        encodings = find_header(call, "transfer-encoding", &value);
        /* Programs disagree where the body of such an answer ends (RFC 9112, section 6.3). */
        return lengths > 1 || (lengths > 0 && encodings > 0) ? "more than one length of its body" : NULL;
}

size_t http_call_on_header(char *data, size_t one, size_t n, void *userdata) {
        struct http_call *call = userdata;

        (void) one;
        if (n >= 5 && memcmp(data, "HTTP/", 5) == 0) {
                call->headers.size = 0;
                call->complete = false;
                curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &call->status);
                return n;
        }
        if (call->complete) /* a trailer */
                return n;
        if (n <= 2 && n > 0 && (data[0] == '\r' || data[0] == '\n')) {
                call->complete = call->status >= 200;
                call->flaw = find_flaw(call);
                return call->flaw ? 0 : n;
        }
        if (keep_header(call, data, n) < 0) {
                call->flaw = BAD_HEADERS;
                return 0;
        }
        return n;
}

size_t http_call_on_body(char *data, size_t one, size_t n, void *userdata) {
        (void) one;
        return http_call_body(userdata, data, n) < 0 ? 0 : n;
}

int http_call_body(struct http_call *call, const void *data, size_t n) {
        int r;

        r = append(&call->body, data, n, call->max_body);
        if (r == -EFBIG)
                call->too_large = true;
        return r;
}

void http_call_free(struct http_call *call) {
        if (!call)
                return;
        /* The handle points at the call's list, error text and callbacks' data. */
        if (call->easy)
                curl_easy_reset(call->easy);
        /* Authorization and session token are in there. */
        for (struct curl_slist *l = call->lines; l; l = l->next)
                OPENSSL_cleanse(l->data, strlen(l->data));
        curl_slist_free_all(call->lines);
        if (call->context_free)
                call->context_free(call->context);
        wipe_free(call->body.data);
        free(call->headers.data);
        free(call->subject);
        free(call);
}

static bool is_final(CURLcode code) {
        static const CURLcode final[] = {
                CURLE_URL_MALFORMAT,    CURLE_NOT_BUILT_IN,        CURLE_OUT_OF_MEMORY, CURLE_BAD_FUNCTION_ARGUMENT,
                CURLE_UNKNOWN_OPTION,   CURLE_ABORTED_BY_CALLBACK, CURLE_SSL_CIPHER,    CURLE_SSL_CACERT_BADFILE,
                CURLE_SSL_ISSUER_ERROR,
        };

        for (size_t i = 0; i < ELEMENTS(final); i++)
                if (final[i] == code)
                        return true;
        return false;
}

/* libcurl shows a line of the head once it is whole. For one of more than 100 KiB it says that memory is short. */
static bool has_endless_line(const struct http_call *call, CURLcode code) {
        bool too_large = code == CURLE_OUT_OF_MEMORY;
        long sent = 0;

#if LIBCURL_VERSION_NUM >= 0x080600
        too_large = too_large || code == CURLE_TOO_LARGE;
#endif
        if (too_large)
                curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &sent);
        return sent > 0 && !call->complete;
}

const char *http_call_url(const struct http_call *call) {
        char *url = NULL;

        curl_easy_getinfo(call->easy, CURLINFO_EFFECTIVE_URL, &url);
        return url ?: "";
}

static enum http_verdict judge_tls(struct http_call *call, struct error *e) {
        char now[DATE_TEXT_SIZE];
        long result = 0;

        curl_easy_getinfo(call->easy, CURLINFO_SSL_VERIFYRESULT, &result);
        if (result == X509_V_ERR_CERT_NOT_YET_VALID) {
                date_text(wall_clock_seconds(), now);
                return http_verdict_fail(call, HTTP_FINAL, e, FAILURE_CLOCK,
                                         "the server's certificate is not valid yet: this machine's clock says %s",
                                         now);
        }
        http_verdict_fail(call, HTTP_FINAL, e, FAILURE_NETWORK, "the server's certificate is not accepted: %s",
                          call->curl_error[0] ? call->curl_error : "no reason given");
        fail_advice(e, "Check the endpoint %.*s, the CA bundle (\"ca_bundle\", AWS_CA_BUNDLE), and the clock.",
                    (int) strcspn(http_call_url(call), "?"), http_call_url(call));
        return HTTP_FINAL;
}

enum http_verdict http_judge(struct http_call *call, CURLcode code, struct error *e) {
        if (call->too_large)
                return http_verdict_fail(call, HTTP_FINAL, e, call->malformed,
                                         "the answer is HTTP %ld with a body of more than %zu bytes", call->status,
                                         call->max_body);
        if (!call->flaw && has_endless_line(call, code))
                call->flaw = BAD_HEADERS;
        if (call->flaw && call->status == 0)
                return http_verdict_fail(call, HTTP_FINAL, e, call->malformed,
                                         "the answer is not HTTP: its first line has no end");
        if (call->flaw)
                return http_verdict_fail(call, HTTP_FINAL, e, call->malformed, "the answer is HTTP %ld with %s",
                                         call->status, call->flaw);
        if (code == CURLE_OK && call->complete)
                return HTTP_OK;
        if (code == CURLE_WRITE_ERROR) {
                if (e && e->failure == FAILURE_NONE)
                        http_verdict_fail(call, HTTP_FINAL, e, FAILURE_INTERNAL,
                                          "the bytes of the answer could not be stored");
                return HTTP_FINAL;
        }
        if (code == CURLE_PEER_FAILED_VERIFICATION)
                return judge_tls(call, e);
        if (code == CURLE_WEIRD_SERVER_REPLY || code == CURLE_UNSUPPORTED_PROTOCOL)
                return http_verdict_fail(call, HTTP_FINAL, e, call->malformed, "the answer is not HTTP: %s",
                                         call->curl_error);
        return http_verdict_fail(call, is_final(code) ? HTTP_FINAL : HTTP_RETRY, e, FAILURE_NETWORK, "%s",
                                 call->curl_error[0] ? call->curl_error : curl_easy_strerror(code));
}

enum http_verdict http_verdict_fail(struct http_call *call, enum http_verdict verdict, struct error *e,
                                    enum failure failure, const char *format, ...) {
        char reason[sizeof((struct error) {}).reason];
        va_list ap;

        va_start(ap, format);
        vsnprintf(reason, sizeof reason, format, ap);
        va_end(ap);
        fail(e, failure, -EIO, call->subject, "%s", reason);
        if (e)
                snprintf(e->request_id, sizeof e->request_id, "%s", http_call_request_id(call));
        return verdict;
}

long http_call_status(const struct http_call *call) {
        return call->complete ? call->status : 0;
}

const char *http_call_header(const struct http_call *call, const char *name) {
        const char *value;

        return find_header(call, name, &value) == 1 ? value : NULL;
}

const char *http_call_request_id(const struct http_call *call) {
        const char *id = http_call_header(call, "x-amzn-requestid") ?: http_call_header(call, "x-amz-request-id");

        for (const char *c = id; c && *c; c++)
                if (*c <= ' ' || *c > '~')
                        return "";
        return id ?: "";
}

const char *http_call_subject(const struct http_call *call) {
        return call->subject;
}

char *http_call_text(struct http_call *call, size_t *ret_n) {
        static char empty[1];

        *ret_n = call->body.size;
        return call->body.data ?: empty;
}

void http_call_attach(struct http_call *call, void *context, void (*context_free)(void *context)) {
        call->context = context;
        call->context_free = context_free;
}

void *http_call_context(const struct http_call *call) {
        return call->context;
}
