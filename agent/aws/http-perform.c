/* SPDX-License-Identifier: Apache-2.0 */

/* Exchanges that block: attempts until the judge is content or the retry policy gives up. */

#include "aws/http-internal.h"
#include "basic/clock.h"

static enum http_verdict judge_2xx(struct http_call *call, CURLcode code, struct error *e) {
        enum http_verdict verdict = http_judge(call, code, e);

        if (verdict != HTTP_OK || call->status / 100 == 2)
                return verdict;
        return http_verdict_fail(call, call->status >= 500 || call->status == 429 ? HTTP_RETRY : HTTP_FINAL, e,
                                 call->malformed, "HTTP %ld", call->status);
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
        if (http->n_idle < HTTP_IDLE_MAX)
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
        const char *url = http_call_url(call), *host = strstr(url, "://");
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
        if (answered && !found && http->n_reached < HTTP_REACHED_MAX)
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

/* ---- cancelling */

static bool is_cancelled(const struct http *http) {
        return http->options.cancelled && atomic_load(http->options.cancelled);
}

static int on_progress(void *userdata, curl_off_t total_in, curl_off_t in, curl_off_t total_out, curl_off_t out) {
        (void) total_in;
        (void) in;
        (void) total_out;
        (void) out;
        return is_cancelled(userdata);
}

void http_make_cancellable(const struct http *http, CURL *easy) {
        if (!http->options.cancelled)
                return;
        curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(easy, CURLOPT_XFERINFODATA, (void *) http);
        curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
}

static void sleep_unless_cancelled(const struct http *http, unsigned ms) {
        enum { STEP_MS = 100 };
        int64_t deadline_ns = clock_deadline_ns(ms);

        if (!http->options.cancelled)
                clock_sleep_ms(ms);
        else
                while (!is_cancelled(http) && !clock_has_passed(deadline_ns))
                        clock_sleep_ms(MIN_OF(ms, (unsigned) STEP_MS));
}

static int fail_cancelled(struct error *e) {
        return fail(e, FAILURE_INTERNAL, -ECANCELED, "", "the request was given up");
}

/* ---- the attempts */

/* On one handle. Expired credentials say nothing about load: after the first refresh the request is sent
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

                r = is_cancelled(http) ? fail_cancelled(&why) : x->prepare(x->userdata, easy, refresh, &call, &why);
                if (r < 0) {
                        if (e && r != -EKEYEXPIRED)
                                *e = why;
                        return r;
                }
                http_make_cancellable(http, easy);
                code = curl_easy_perform(easy);
                if (is_cancelled(http))
                        return fail_cancelled(e);
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
                        sleep_unless_cancelled(http, ms);
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
