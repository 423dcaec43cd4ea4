/* SPDX-License-Identifier: Apache-2.0 */

/* The client, and the requests it makes ready. */

#include <openssl/ssl.h>
#include <strings.h>

#include "aws/http-internal.h"

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

bool http_tls_is_openssl(void) {
        return strncmp(curl_version_info(CURLVERSION_NOW)->ssl_version ?: "", "OpenSSL/", 8) == 0;
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
        http->is_openssl = http_tls_is_openssl();
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
        /* libcurl 7.88, for one, takes bytes that arrived unasked on an open connection for the next answer. */
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, request->own_connection ? 1L : 0L);
        curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, request->own_connection ? 1L : 0L);
        if (request->secret_answer && http->is_openssl)
                curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls);
        curl_easy_setopt(easy, CURLOPT_USERAGENT, http->user_agent);
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->lines);
        curl_easy_setopt(easy, CURLOPT_SHARE, http->share);
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->curl_error);
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, http_call_on_header);
        curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, http_call_on_body);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
        *ret = TAKE(call);
        return 0;
}
