/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/http.h"

#include <malloc.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <stdarg.h>
#include <strings.h>

#include "basic/clock.h"

enum { MAX_HEADER_BYTES = 32 * 1024, MAX_IDLE = 16, MAX_REACHED = 8 };

struct http {
        char *ca_bundle;
        char *user_agent;
        struct http_options options;
        bool is_openssl; /* libcurl uses OpenSSL for TLS */
        CURLSH *share;
        pthread_mutex_t share_locks[CURL_LOCK_DATA_LAST];
        /* Handles of http_perform(), kept for their open connections. */
        pthread_mutex_t idle_lock;
        CURL *idle[MAX_IDLE];
        size_t n_idle;
        uint64_t reached[MAX_REACHED]; /* origins that answered once; under idle_lock, too */
        size_t n_reached;
};

struct buffer {
        char *data;
        size_t size, room;
};

struct http_call {
        CURL *easy; /* borrowed; NULL once http_perform() is done with it */
        struct curl_slist *lines;
        char *subject;
        enum failure malformed;
        long status;
        bool complete; /* the headers of the final answer are */
        bool malformed_head;
        bool too_large;
        struct buffer headers; /* name NUL value NUL, again and again */
        struct buffer body;
        size_t max_body;
        void *context;
        void (*context_free)(void *context);
        char curl_error[CURL_ERROR_SIZE];
};

static void wipe_free(void *data) {
        if (data)
                OPENSSL_cleanse(data, malloc_usable_size(data));
        free(data);
}

/* For libcurl: credentials and data keys pass through its buffers, which it gives back as they are. */
static void *wipe_realloc(void *data, size_t n) {
        size_t had = data ? malloc_usable_size(data) : 0;
        void *larger;

        if (data && n <= had)
                return data;
        larger = malloc(n);
        if (larger && data) {
                memcpy(larger, data, had);
                wipe_free(data);
        }
        return larger;
}

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

static void share_lock(CURL *easy, curl_lock_data data, curl_lock_access access, void *userdata) {
        struct http *http = userdata;

        (void) easy;
        (void) access;
        pthread_mutex_lock(&http->share_locks[data]);
}

static void share_unlock(CURL *easy, curl_lock_data data, void *userdata) {
        struct http *http = userdata;

        (void) easy;
        pthread_mutex_unlock(&http->share_locks[data]);
}

int http_new(const struct http_options *o, struct http **ret, struct error *e) {
        _cleanup_(http_freep) struct http *http = NULL;

        /* libcurl would write the TLS session keys to the file that this names. */
        unsetenv("SSLKEYLOGFILE");
        if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wipe_free, wipe_realloc, strdup, calloc) != CURLE_OK)
                return fail(e, FAILURE_INTERNAL, -ENOMEM, "libcurl", "it cannot be initialised");
        http = calloc(1, sizeof *http);
        if (!http)
                return fail_oom(e);
        http->options = *o;
        http->is_openssl = strncmp(curl_version_info(CURLVERSION_NOW)->ssl_version ?: "", "OpenSSL/", 8) == 0;
        for (size_t i = 0; i < ELEMENTS(http->share_locks); i++)
                pthread_mutex_init(&http->share_locks[i], NULL);
        pthread_mutex_init(&http->idle_lock, NULL);
        if (o->ca_bundle && access(o->ca_bundle, R_OK) < 0)
                return fail(e, FAILURE_CONFIG, -errno, o->ca_bundle, "the CA bundle cannot be read: %m");
        http->ca_bundle = o->ca_bundle ? strdup(o->ca_bundle) : NULL;
        http->user_agent = strdup(o->user_agent ?: "sealboot");
        http->share = curl_share_init();
        if (!http->share || !http->user_agent || (o->ca_bundle && !http->ca_bundle))
                return fail_oom(e);
        curl_share_setopt(http->share, CURLSHOPT_LOCKFUNC, share_lock);
        curl_share_setopt(http->share, CURLSHOPT_UNLOCKFUNC, share_unlock);
        curl_share_setopt(http->share, CURLSHOPT_USERDATA, http);
        /* Not the connections: libcurl cannot share those between threads. */
        curl_share_setopt(http->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
        curl_share_setopt(http->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
        *ret = TAKE(http);
        return 0;
}

void http_free(struct http *http) {
        if (!http)
                return;
        for (size_t i = 0; i < http->n_idle; i++)
                curl_easy_cleanup(http->idle[i]);
        if (http->share)
                curl_share_cleanup(http->share);
        for (size_t i = 0; i < ELEMENTS(http->share_locks); i++)
                pthread_mutex_destroy(&http->share_locks[i]);
        pthread_mutex_destroy(&http->idle_lock);
        free(http->ca_bundle);
        free(http->user_agent);
        free(http);
        curl_global_cleanup();
}

/* "Name: value\r\n" becomes "Name\0value\0", the value without spaces around it. */
static int keep_header(struct http_call *call, const char *line, size_t n) {
        const char *colon = memchr(line, ':', n);
        size_t name;

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
        line += name + 1;
        n -= MIN_OF(n, name + 1);
        if (append(&call->headers, line - name - 1, name, MAX_HEADER_BYTES) < 0 ||
            append(&call->headers, "", 1, MAX_HEADER_BYTES) < 0)
                return -EFBIG;
        while (n > 0 && (*line == ' ' || *line == '\t')) {
                line++;
                n--;
        }
        if (append(&call->headers, line, n, MAX_HEADER_BYTES) < 0 ||
            append(&call->headers, "", 1, MAX_HEADER_BYTES) < 0)
                return -EFBIG;
        return 0;
}

static size_t on_header(char *data, size_t one, size_t n, void *userdata) {
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
                return n;
        }
        if (keep_header(call, data, n) < 0) {
                call->malformed_head = true;
                return 0;
        }
        return n;
}

static size_t on_body(char *data, size_t one, size_t n, void *userdata) {
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

static int add_line(struct http_call *call, const char *name, const char *value) {
        size_t n = strlen(name) + strlen(": ") + strlen(value ?: "") + 1;
        struct curl_slist *longer;
        char *line;

        /* Not asprintf(): it may leave copies of a session token behind. A header that ends with a colon alone tells
         * libcurl not to send one of its own. */
        line = malloc(n);
        if (!line)
                return -ENOMEM;
        snprintf(line, n, "%s:%s%s", name, value ? " " : "", value ?: "");
        longer = curl_slist_append(call->lines, line);
        wipe_free(line);
        if (!longer)
                return -ENOMEM;
        call->lines = longer;
        return 0;
}

static bool has_header(const struct http_request *request, const char *name) {
        for (size_t i = 0; i < request->n_headers; i++)
                if (strcasecmp(request->headers[i].name, name) == 0)
                        return true;
        return false;
}

static int set_headers(struct http_call *call, const struct http_request *request) {
        for (size_t i = 0; i < request->n_headers; i++)
                if (add_line(call, request->headers[i].name, request->headers[i].value) < 0)
                        return -ENOMEM;
        /* libcurl would wait for "100 Continue", and call every body a form. */
        if (add_line(call, "Expect", NULL) < 0)
                return -ENOMEM;
        return has_header(request, "content-type") ? 0 : add_line(call, "Content-Type", NULL);
}

static void set_method(CURL *easy, const struct http_request *request) {
        if (streq(request->method, "GET"))
                return;
        if (streq(request->method, "HEAD")) {
                curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
                return;
        }
        if (streq(request->method, "PUT") || streq(request->method, "POST")) {
                curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body ?: "");
                curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) request->body_size);
        }
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
}

static void set_limits(const struct http *http, CURL *easy, const struct http_request *request) {
        const struct http_options *o = &http->options;

#if LIBCURL_VERSION_NUM >= 0x075500
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long) (CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
        curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
        if (http->ca_bundle) {
                curl_easy_setopt(easy, CURLOPT_CAINFO, http->ca_bundle);
                curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
        }
        /* With an empty string libcurl does not read the proxy from the environment. */
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
        curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
        /* S3 has no HTTP/2, and is fastest with one connection for each range. */
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long) (o->connect_timeout_ms ?: 5000));
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, (long) (o->low_speed_bytes ?: 1024));
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long) (o->low_speed_seconds ?: 15));
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) request->timeout_ms);
}

static CURLcode on_tls(CURL *easy, void *ctx, void *userdata) {
        (void) easy;
        (void) userdata;
        SSL_CTX_set_options(ctx, SSL_OP_CLEANSE_PLAINTEXT);
        return CURLE_OK;
}

int http_prepare(struct http *http, CURL *easy, const struct http_request *request, struct http_call **ret,
                 struct error *e) {
        _cleanup_http_call_ struct http_call *call = NULL;

        curl_easy_reset(easy);
        call = calloc(1, sizeof *call);
        if (!call)
                return fail_oom(e);
        call->easy = easy;
        call->malformed = request->malformed;
        call->max_body = request->max_answer;
        call->subject = strdup(request->subject ?: request->url);
        if (!call->subject || set_headers(call, request) < 0)
                return fail_oom(e);
        if (curl_easy_setopt(easy, CURLOPT_URL, request->url) != CURLE_OK)
                return fail_oom(e);
        /* Otherwise "a/../b" becomes "b", which is another object. */
        curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
        set_method(easy, request);
        set_limits(http, easy, request);
        if (request->secret_answer && http->is_openssl)
                curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls);
        curl_easy_setopt(easy, CURLOPT_USERAGENT, http->user_agent);
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->lines);
        curl_easy_setopt(easy, CURLOPT_SHARE, http->share);
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->curl_error);
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
        *ret = TAKE(call);
        return 0;
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

/* For errors: not all of libcurl's texts name the host. */
static const char *effective_url(const struct http_call *call) {
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
                    (int) strcspn(effective_url(call), "?"), effective_url(call));
        return HTTP_FINAL;
}

enum http_verdict http_judge(struct http_call *call, CURLcode code, struct error *e) {
        if (call->too_large)
                return http_verdict_fail(call, HTTP_FINAL, e, call->malformed,
                                         "the answer is HTTP %ld with a body of more than %zu bytes", call->status,
                                         call->max_body);
        if (call->malformed_head)
                return http_verdict_fail(call, HTTP_FINAL, e, call->malformed,
                                         "the answer is HTTP %ld with headers that are malformed or larger than %d "
                                         "bytes",
                                         call->status, MAX_HEADER_BYTES);
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

static enum http_verdict judge_2xx(struct http_call *call, CURLcode code, struct error *e) {
        enum http_verdict verdict = http_judge(call, code, e);

        if (verdict != HTTP_OK || call->status / 100 == 2)
                return verdict;
        return http_verdict_fail(call, call->status >= 500 || call->status == 429 ? HTTP_RETRY : HTTP_FINAL, e,
                                 call->malformed, "HTTP %ld", call->status);
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
        const char *found = NULL;

        for (size_t i = 0; i < call->headers.size;) {
                const char *candidate = call->headers.data + i, *value = candidate + strlen(candidate) + 1;

                if (strcasecmp(candidate, name) == 0) {
                        if (found)
                                return NULL;
                        found = value;
                }
                i = (size_t) (value - call->headers.data) + strlen(value) + 1;
        }
        return found;
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

static CURL *take_handle(struct http *http) {
        CURL *easy = NULL;

        pthread_mutex_lock(&http->idle_lock);
        if (http->n_idle > 0)
                easy = http->idle[--http->n_idle];
        pthread_mutex_unlock(&http->idle_lock);
        return easy ?: curl_easy_init();
}

static void return_handle(struct http *http, CURL *easy) {
        pthread_mutex_lock(&http->idle_lock);
        if (http->n_idle < MAX_IDLE)
                http->idle[http->n_idle++] = TAKE(easy);
        pthread_mutex_unlock(&http->idle_lock);
        if (easy)
                curl_easy_cleanup(easy);
}

void http_tell_retry(const struct http *http, const struct error *why, unsigned ms) {
        if (http->options.on_retry)
                http->options.on_retry(http->options.userdata, why, ms);
}

/* FNV-1a of "scheme://host:port". */
static uint64_t origin_of(const struct http_call *call) {
        const char *url = effective_url(call), *host = strstr(url, "://");
        size_t n = host ? (size_t) (host - url) + 3 + strcspn(host + 3, "/?") : 0;
        uint64_t hash = UINT64_C(0xcbf29ce484222325);

        for (size_t i = 0; i < n; i++)
                hash = (hash ^ (unsigned char) url[i]) * UINT64_C(0x100000001b3);
        return hash;
}

/* Whether this origin has ever answered. An origin that has just answered is remembered. */
static bool is_reached(struct http *http, const struct http_call *call, bool answered) {
        uint64_t origin = origin_of(call);
        bool found = false;

        pthread_mutex_lock(&http->idle_lock);
        for (size_t i = 0; i < http->n_reached && !found; i++)
                found = http->reached[i] == origin;
        if (answered && !found && http->n_reached < MAX_REACHED)
                http->reached[http->n_reached++] = origin;
        pthread_mutex_unlock(&http->idle_lock);
        return found || answered;
}

static bool is_unreachable(const struct http_call *call, CURLcode code) {
        long number = 0;

        if (code == CURLE_COULDNT_RESOLVE_HOST)
                return true;
        curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &number);
        return code == CURLE_COULDNT_CONNECT &&
               (number == ECONNREFUSED || number == EHOSTUNREACH || number == ENETUNREACH);
}

/* True: no server is at this address, and it was tried for unreachable_ms. */
static bool gives_up(struct http *http, const struct http_call *call, CURLcode code, const struct retry *retry) {
        unsigned limit = http->options.unreachable_ms;

        if (limit == 0 || is_reached(http, call, code == CURLE_OK) || !is_unreachable(call, code))
                return false;
        return clock_has_passed(retry->began_ns + limit * NS_PER_MS);
}

/* The attempts on one handle. Expired credentials say nothing about load: after the first refresh the request is sent
 * again at once. */
static int attempt(struct http *http, CURL *easy, const struct http_exchange *x, const struct retry_policy *policy,
                   struct http_call **ret, struct error *e) {
        bool refreshed = false, refresh = false;
        struct retry retry;

        retry_begin(&retry, policy);
        for (;;) {
                _cleanup_http_call_ struct http_call *call = NULL;
                struct error why = {};
                enum http_verdict verdict;
                bool unreachable;
                unsigned ms;
                CURLcode code;
                int r;

                r = x->prepare(x->userdata, easy, refresh, &call, &why);
                if (r < 0) {
                        if (e && r != -EKEYEXPIRED)
                                *e = why;
                        return r;
                }
                code = curl_easy_perform(easy);
                unreachable = gives_up(http, call, code, &retry);
                verdict = x->judge ? x->judge(x->userdata, call, code, &why) : judge_2xx(call, code, &why);
                if (verdict == HTTP_OK) {
                        *ret = TAKE(call);
                        return 0;
                }
                if (e)
                        *e = why;
                if (verdict == HTTP_FINAL)
                        return -EIO;
                if (!retry_next(&retry, &why, &ms) || unreachable) {
                        retry_explain(&retry, e);
                        return -ETIMEDOUT;
                }
                refresh = verdict == HTTP_REFRESH;
                if (!refresh || refreshed) {
                        http_tell_retry(http, &why, ms);
                        clock_sleep_ms(ms);
                }
                refreshed |= refresh;
        }
}

int http_perform(struct http *http, const struct http_exchange *exchange, const struct retry_policy *policy,
                 struct http_call **ret, struct error *e) {
        CURL *easy = take_handle(http);
        struct http_call *call = NULL;
        int r;

        if (!easy)
                return fail_oom(e);
        r = attempt(http, easy, exchange, policy, &call, e);
        if (call) {
                curl_easy_reset(easy);
                call->easy = NULL;
        }
        return_handle(http, easy);
        if (r < 0)
                return r;
        *ret = call;
        return 0;
}
