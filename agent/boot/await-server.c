/* SPDX-License-Identifier: Apache-2.0 */

/* The wait for the inference server, after the model is published: an instance that cannot answer yet should get no
 * requests. The agent has no key any more when it waits. */

#include <systemd/sd-journal.h>

#include "basic/clock.h"
#include "basic/utf8.h"
#include "boot/boot.h"

enum {
        ANSWER_MAX = 1024 * 1024,
        HEALTH_MS = 5000,     /* for one answer about health */
        ANSWER_MIN_MS = 1000, /* for any answer: the last question of all shall not fail for want of time */
        QUICK_MS = 20,        /* between two questions, ... */
        QUICK_FOR_MS = 2000,  /* ... for this long; a server of a small model needs no longer */
        SLOW_MS = 250,
        WORDS_MAX = 200,
};

/* The state of the wait. */
struct wait {
        struct boot *b;
        const struct readiness *ready;
        CURL *easy;
        int64_t began_ns, deadline_ns;
        /* How the server explains its last answer. It reads the weights, and what it says must not leave the instance
         * by way of the console or the report: only the journal has it. */
        char words[WORDS_MAX + 1];
};

static int64_t left_ms(const struct wait *w) {
        return MAX_OF((w->deadline_ns - clock_ns()) / NS_PER_MS, INT64_C(0));
}

/* One request. *ret_status: that of the answer. A negative errno with e filled: there was no whole answer. */
static int ask(struct wait *w, const char *path, const char *body, int64_t timeout_ms, long *ret_status,
               struct error *e) {
        const struct pair header = { "Content-Type", "application/json" };
        _cleanup_http_call_ struct http_call *call = NULL;
        _cleanup_free_ char *url = NULL;
        size_t n;
        int r;

        w->words[0] = '\0';
        if (asprintf(&url, "http://localhost%s", path) < 0)
                return fail_oom(e);
        r = http_prepare(w->b->services.http, w->easy,
                         &(struct http_request) {
                                 .method = body ? "POST" : "GET",
                                 .url = url,
                                 .headers = &header,
                                 .n_headers = body ? 1 : 0,
                                 .body = body,
                                 .body_size = body ? strlen(body) : 0,
                                 .max_answer = ANSWER_MAX,
                                 .timeout_ms = (unsigned) MAX_OF(timeout_ms, (int64_t) ANSWER_MIN_MS),
                                 .subject = w->ready->socket,
                                 .malformed = FAILURE_SERVER,
                         },
                         &call, e);
        if (r < 0)
                return r;
        http_make_cancellable(w->b->services.http, w->easy);
        /* No byte arrives while the server thinks. */
        if (curl_easy_setopt(w->easy, CURLOPT_UNIX_SOCKET_PATH, w->ready->socket) != CURLE_OK ||
            curl_easy_setopt(w->easy, CURLOPT_LOW_SPEED_TIME, 0L) != CURLE_OK ||
            curl_easy_setopt(w->easy, CURLOPT_FRESH_CONNECT, 1L) != CURLE_OK)
                return fail(e, FAILURE_INTERNAL, -EIO, w->ready->socket, "libcurl takes no Unix socket");
        if (http_judge(call, curl_easy_perform(w->easy), e) != HTTP_OK)
                return -EIO;
        *ret_status = http_call_status(call);
        if (*ret_status == 200)
                return 0;
        fail(e, FAILURE_SERVER, -EAGAIN, w->ready->socket, "%s answered HTTP %ld", path, *ret_status);
        snprintf(w->words, sizeof w->words, "%s", http_call_text(call, &n));
        utf8_make_printable(w->words);
        return 0;
}

/* A server that is loading answers 503 or nothing. Its refusal of the request itself is final. */
static bool is_final(long status) {
        return status >= 400 && status < 500 && status != 408 && status != 425 && status != 429;
}

/* Waits before the next question, and tells why. False: the time is over. */
static bool pause_before_next(const struct wait *w, const struct error *why) {
        int64_t waited = (clock_ns() - w->began_ns) / NS_PER_MS;

        if (left_ms(w) == 0 || atomic_load(&w->b->cancelled))
                return false;
        if (waited >= QUICK_FOR_MS)
                boot_status("Waiting for the inference server: %s%s%s", why->reason, w->words[0] ? ": " : "", w->words);
        clock_sleep_ms(waited < QUICK_FOR_MS ? QUICK_MS : SLOW_MS);
        return true;
}

static int fail_late(const struct wait *w, const struct error *last, struct error *e) {
        return fail(e, FAILURE_SERVER, -ETIMEDOUT, w->ready->socket, "it was not ready after %u seconds: %s",
                    w->ready->seconds, last->reason);
}

static int await_health(struct wait *w, struct error *e) {
        struct error last = {};
        long status = 0;

        do {
                if (ask(w, w->ready->health, NULL, MIN_OF(left_ms(w), (int64_t) HEALTH_MS), &status, &last) == 0 &&
                    status == 200)
                        return 0;
        } while (pause_before_next(w, &last));
        return fail_late(w, &last, e);
}

static int warm_up(struct wait *w, struct error *e) {
        struct error last = {};
        long status = 0;

        boot_status("Waiting for the first answer of the inference server");
        do {
                if (ask(w, w->ready->warm_up_path, w->ready->warm_up_body, left_ms(w), &status, &last) == 0) {
                        if (status == 200)
                                return 0;
                        if (is_final(status)) {
                                *e = last;
                                fail_advice(e, "Correct \"ready\" in the measured configuration: the server refuses "
                                               "the request of \"warm_up\".");
                                return -EINVAL;
                        }
                }
        } while (pause_before_next(w, &last));
        return fail_late(w, &last, e);
}

static int await(struct wait *w, struct error *e) {
        struct report *report = w->b->report;
        int r;

        report_begin(report, "server");
        r = await_health(w, e);
        report_end(report, "server", 0);
        if (r < 0 || !w->ready->warm_up_path)
                return r;
        report_begin(report, "warm-up");
        r = warm_up(w, e);
        report_end(report, "warm-up", 0);
        return r;
}

int boot_await_server(struct boot *b, struct error *e) {
        struct wait w = { .b = b, .ready = &b->config->ready, .began_ns = clock_ns() };
        int r, noticed;

        if (!w.ready->socket)
                return 0;
        w.deadline_ns = w.began_ns + (int64_t) w.ready->seconds * 1000 * NS_PER_MS;
        w.easy = curl_easy_init();
        atomic_store(&b->awaiting_server, true);
        boot_heed_notices(b);
        r = w.easy ? await(&w, e) : fail_oom(e);
        noticed = boot_ignore_notices(b, e);
        if (noticed < 0) {
                r = noticed;
                fail_advice(e, "The model stays published. There is nothing to do on this instance: see the activity "
                               "history of the Auto Scaling group, or the Spot interruption notice.");
        }
        atomic_store(&b->awaiting_server, false);
        if (r < 0 && w.words[0])
                sd_journal_print(LOG_NOTICE, "the inference server said: %s", w.words);
        curl_easy_cleanup(w.easy);
        /* The weights are in the memory of an accelerator now. */
        if (r == 0 && b->config->keep == KEEP_UNTIL_READY)
                r = handoff_withdraw(b->handoff, e);
        report_server(b->report, r < 0 ? e : NULL);
        return r;
}
