/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "aws/http.h"
#include "basic/clock.h"
#include "canned.h"

static struct http *client(void) {
        struct http *http = NULL;
        struct error e = {};

        assert_ok(http_new(&(struct http_options) { .connect_timeout_ms = 2000, .low_speed_seconds = 1 }, &http, &e),
                  &e);
        return http;
}

struct get {
        struct http *http;
        const char *url;
        size_t max;
        unsigned refreshes;
};

static int prepare(void *userdata, CURL *easy, bool refresh, struct http_call **ret, struct error *e) {
        struct get *get = userdata;

        get->refreshes += refresh;
        return http_prepare(get->http, easy,
                            &(struct http_request) {
                                    .method = "GET",
                                    .url = get->url,
                                    .max_answer = get->max ?: 1024,
                                    .subject = "the thing",
                                    .malformed = FAILURE_S3_ANSWER,
                            },
                            ret, e);
}

static int perform(struct http *http, const char *url, struct http_call **ret, struct error *e) {
        struct get get = { .http = http, .url = url };
        struct http_exchange x = { .prepare = prepare, .userdata = &get };

        return http_perform(http, &x, &(struct retry_policy) { .deadline_ms = 20000, .base_ms = 1, .cap_ms = 4 }, ret,
                            e);
}

/* Serves the replies to one http_perform(). */
static int exchange(const struct canned_reply *replies, size_t n, size_t *ret_requests, struct http_call **ret,
                    struct error *e) {
        _cleanup_(http_freep) struct http *http = client();
        struct canned c;
        int r;

        canned_start(&c, replies, n);
        r = perform(http, c.url, ret, e);
        *ret_requests = canned_stop(&c);
        canned_done(&c);
        return r;
}

static void test_answer(void **state) {
        static const struct canned_reply reply = {
                .status = "200 OK",
                .body = "hello",
                .headers = "ETag:   \"a b\"  \r\nTwice: 1\r\ntwice: 2\r\nx-amz-request-id: R1\r\nEmpty:\r\n",
        };
        _cleanup_http_call_ struct http_call *call = NULL;
        struct error e = {};
        size_t n;

        (void) state;
        assert_ok(exchange(&reply, 1, &n, &call, &e), &e);
        assert_int_equal(http_call_status(call), 200);
        assert_string_equal(http_call_header(call, "etag"), "\"a b\"");
        assert_string_equal(http_call_header(call, "EMPTY"), "");
        assert_null(http_call_header(call, "twice"));
        assert_null(http_call_header(call, "absent"));
        assert_string_equal(http_call_request_id(call), "R1");
        assert_string_equal(http_call_text(call, &n), "hello");
        assert_int_equal(n, 5);
}

static void test_request_id_is_one_or_none(void **state) {
        static const char *const none[] = { "\x1b[2J", "a b", "a\xff", "" };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(none); i++) {
                _cleanup_http_call_ struct http_call *call = NULL;
                struct canned_reply reply = { .status = "200 OK" };
                _cleanup_free_ char *headers = NULL;
                struct error e = {};
                size_t n;

                assert_true(asprintf(&headers, "x-amz-request-id: %s\r\n", none[i]) > 0);
                reply.headers = headers;
                assert_ok(exchange(&reply, 1, &n, &call, &e), &e);
                assert_string_equal(http_call_request_id(call), "");
        }
}

static void test_request_is_ours_alone(void **state) {
        static const struct canned_reply reply = { .status = "200 OK" };
        _cleanup_(http_freep) struct http *http = client();
        _cleanup_http_call_ struct http_call *call = NULL;
        _cleanup_free_ char *url = NULL;
        struct error e = {};
        struct canned c;

        (void) state;
        /* Port 9 would refuse. */
        setenv("http_proxy", "http://127.0.0.1:9", 1);
        setenv("all_proxy", "http://127.0.0.1:9", 1);
        canned_start(&c, &reply, 1);
        assert_true(asprintf(&url, "%s/a/../b%%2Fc%%20d?x=%%2B", c.url) > 0);
        assert_ok(perform(http, url, &call, &e), &e);
        assert_int_equal(canned_stop(&c), 1);
        unsetenv("http_proxy");
        unsetenv("all_proxy");
        assert_memory_equal(c.requests[0], "GET /a/../b%2Fc%20d?x=%2B HTTP/1.1\r\n", 36);
        assert_non_null(strstr(c.requests[0], "User-Agent: sealboot\r\n"));
        assert_null(strcasestr(c.requests[0], "Content-Type:"));
        assert_null(strcasestr(c.requests[0], "Accept-Encoding:"));
        canned_done(&c);
}

/* One prepared reply (or a few), and what has to come of it. */
static void test_verdicts(void **state) {
        static const struct {
                const char *name;
                struct canned_reply replies[3];
                size_t requests; /* that have to be made */
                int r;
                enum failure failure;
                const char *words;
        } table[] = {
                { "retries 5xx",
                  { { .status = "503 Slow Down" }, { .status = "500 Oops" }, { .status = "200 OK" } },
                  3,
                  0,
                  0,
                  NULL },
                { "retries 429", { { .status = "429 Too Many" }, { .status = "204 No Content" } }, 2, 0, 0, NULL },
                { "retries a hang-up", { { .raw = "" }, { .status = "200 OK" } }, 2, 0, 0, NULL },
                { "retries a truncated body",
                  { { .raw = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort" }, { .status = "200 OK" } },
                  2,
                  0,
                  0,
                  NULL },
                { "retries a stall",
                  { { .status = "200 OK", .delay_ms = 1600 }, { .status = "200 OK" } },
                  2,
                  0,
                  0,
                  NULL },
                { "takes 4xx as final",
                  { { .status = "404 Not Found", .headers = "x-amzn-RequestId: R2\r\n" } },
                  1,
                  -EIO,
                  FAILURE_S3_ANSWER,
                  "HTTP 404" },
                { "follows no redirect",
                  { { .status = "302 Found", .headers = "Location: /other\r\n" } },
                  1,
                  -EIO,
                  FAILURE_S3_ANSWER,
                  "HTTP 302" },
                { "refuses a header without a colon",
                  { { .status = "200 OK", .headers = "nonsense\r\n" } },
                  1,
                  -EIO,
                  FAILURE_S3_ANSWER,
                  "eader" },
                { "refuses HTTP/0.9", { { .raw = "hello" } }, 1, -EIO, FAILURE_S3_ANSWER, "HTTP/0.9" },
                { "refuses two lengths",
                  { { .status = "200 OK", .headers = "content-length: 0\r\n" } },
                  1,
                  -EIO,
                  FAILURE_S3_ANSWER,
                  "HTTP 200 with more than one length of its body" },
                { "refuses a length and chunks",
                  { { .status = "200 OK", .headers = "Transfer-Encoding: chunked\r\n", .body = "0\r\n\r\n" } },
                  1,
                  -EIO,
                  FAILURE_S3_ANSWER,
                  "HTTP 200 with more than one length of its body" },
                { "takes chunks",
                  { { .raw = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
                             "Content-Length: 5\r\n\r\n" } },
                  1,
                  0,
                  0,
                  NULL },
                { "refuses another protocol",
                  { { .status = "101 Switching Protocols", .headers = "Upgrade: x\r\n" } },
                  1,
                  -EIO,
                  FAILURE_S3_ANSWER,
                  "HTTP 101 with a change of the protocol" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_http_call_ struct http_call *call = NULL;
                struct error e = {};
                size_t n;
                int r;

                r = exchange(table[i].replies, table[i].requests, &n, &call, &e);
                if (r != table[i].r || n != table[i].requests)
                        fail_msg("%s: %d after %zu requests: %s", table[i].name, r, n, e.reason);
                if (table[i].words && (e.failure != table[i].failure || !strstr(e.reason, table[i].words)))
                        fail_msg("%s: %d: %s", table[i].name, (int) e.failure, e.reason);
        }
}

static void test_bounds(void **state) {
        static char long_header[40 * 1024], long_body[2 * 1024], endless[200 * 1024], endless_status[200 * 1024];
        static char name_fits[40 * 1024];
        struct canned_reply replies[] = {
                { .status = "200 OK", .headers = long_header },
                { .status = "200 OK", .body = long_body },
                { .raw = endless },
                { .raw = endless_status },
                { .raw = name_fits },
        };
        struct http_call *call = NULL;
        struct error e = {};
        size_t n;

        (void) state;
        memset(long_header, 'a', sizeof long_header - 3);
        memcpy(long_header, "name: ", 6);
        memcpy(long_header + sizeof long_header - 3, "\r\n", 3);
        memset(long_body, 'b', sizeof long_body - 1);
        memset(endless, 'c', sizeof endless - 1);
        memcpy(endless, "HTTP/1.1 200 OK\r\nname: ", 23);
        memset(endless_status, 'd', sizeof endless_status - 1);
        memcpy(endless_status, "HTTP/1.1 200 ", 13);
        assert_refused(exchange(&replies[0], 1, &n, &call, &e), &e, FAILURE_S3_ANSWER,
                       "headers that are malformed or larger");
        assert_refused(exchange(&replies[1], 1, &n, &call, &e), &e, FAILURE_S3_ANSWER,
                       "a body of more than 1024 bytes");
        assert_refused(exchange(&replies[2], 1, &n, &call, &e), &e, FAILURE_S3_ANSWER,
                       "headers that are malformed or larger");
        assert_refused(exchange(&replies[3], 1, &n, &call, &e), &e, FAILURE_S3_ANSWER, "its first line has no end");
        /* The limit is where the name of the second header ends: it has no value, not even behind what is kept. */
        snprintf(name_fits, sizeof name_fits, "HTTP/1.1 200 OK\r\nx: %0*d\r\nname: value\r\n\r\n",
                 32768 - (int) sizeof "x" - (int) sizeof "" - (int) strlen("name"), 0);
        assert_refused(exchange(&replies[4], 1, &n, &call, &e), &e, FAILURE_S3_ANSWER,
                       "headers that are malformed or larger");
}

static void test_gives_up_at_the_deadline(void **state) {
        _cleanup_(http_freep) struct http *http = client();
        struct get get = { .http = http };
        struct http_exchange x = { .prepare = prepare, .userdata = &get };
        struct http_call *call = NULL;
        struct error e = {};
        struct canned c;
        int64_t began;

        (void) state;
        /* A port that was just closed refuses. */
        canned_start(&c, NULL, 0);
        canned_stop(&c);
        get.url = c.url;
        began = clock_ns();
        assert_int_equal(http_perform(http, &x, &(struct retry_policy) { 300, 20, 50 }, &call, &e), -ETIMEDOUT);
        assert_true(clock_ns() - began < 5 * NS_PER_SECOND);
        assert_int_equal(e.failure, FAILURE_NETWORK);
        assert_string_equal(e.subject, "the thing");
        assert_non_null(strstr(e.reason, " attempts in "));
        assert_int_equal(get.refreshes, 0);
}

/* An address where nothing ever answered is given up soon, whatever the policy; one that answered once is not. */
static void test_unreachable_is_given_up(void **state) {
        static const char *const nowhere[] = { NULL, "http://no-such-host.invalid/" };
        const struct http_options options = { .unreachable_ms = 200 };
        const struct canned_reply reply = { .status = "200 OK" };
        _cleanup_(http_freep) struct http *http = NULL;
        struct http_call *call = NULL;
        struct error e = {};
        struct get get;
        struct http_exchange x = { .prepare = prepare, .userdata = &get };
        struct canned c;
        int64_t began;

        (void) state;
        assert_ok(http_new(&options, &http, &e), &e);
        get = (struct get) { .http = http };
        for (size_t i = 0; i < ELEMENTS(nowhere); i++) {
                canned_start(&c, NULL, 0);
                canned_stop(&c);
                get.url = nowhere[i] ?: c.url;
                began = clock_ns();
                assert_int_equal(http_perform(http, &x, &(struct retry_policy) { 120000, 20, 50 }, &call, &e),
                                 -ETIMEDOUT);
                assert_true(clock_ns() - began < 20 * NS_PER_SECOND);
                assert_int_equal(e.failure, FAILURE_NETWORK);
        }
        canned_start(&c, &reply, 1);
        get.url = c.url;
        assert_ok(http_perform(http, &x, &(struct retry_policy) { 2000, 20, 50 }, &call, &e), &e);
        http_call_free(TAKE(call));
        canned_stop(&c);
        canned_done(&c);
        began = clock_ns();
        assert_int_equal(http_perform(http, &x, &(struct retry_policy) { 1500, 20, 50 }, &call, &e), -ETIMEDOUT);
        assert_true(clock_ns() - began > NS_PER_SECOND);
}

static enum http_verdict judge_refresh(void *userdata, struct http_call *call, CURLcode code, struct error *e) {
        (void) userdata;
        if (http_judge(call, code, e) == HTTP_OK && http_call_status(call) == 200)
                return HTTP_OK;
        return http_verdict_fail(call, HTTP_REFRESH, e, FAILURE_CREDENTIALS, "expired");
}

static void test_refresh_reaches_prepare(void **state) {
        static const struct canned_reply replies[] = { { .status = "400 Bad" },
                                                       { .status = "400 Bad" },
                                                       { .status = "200 OK" } };
        _cleanup_(http_freep) struct http *http = client();
        struct get get = { .http = http };
        struct http_exchange x = { .prepare = prepare, .judge = judge_refresh, .userdata = &get };
        _cleanup_http_call_ struct http_call *call = NULL;
        struct error e = {};
        struct canned c;

        (void) state;
        canned_start(&c, replies, 3);
        get.url = c.url;
        assert_ok(http_perform(http, &x, &(struct retry_policy) { 3000, 1, 2 }, &call, &e), &e);
        assert_int_equal(get.refreshes, 2);
        canned_stop(&c);
        canned_done(&c);
}

struct stream {
        struct http_call *call;
        long status;
        char seen[16];
};

static size_t on_bytes(char *data, size_t one, size_t n, void *userdata) {
        struct stream *s = userdata;

        (void) one;
        s->status = http_call_status(s->call);
        snprintf(s->seen, sizeof s->seen, "%s", http_call_header(s->call, "etag") ?: "");
        return memchr(data, '!', n) ? 0 : n;
}

/* What the unseal pipeline does: a handle and a write callback of its own, which sees whole headers and may refuse. */
static void test_streaming(void **state) {
        static const struct canned_reply replies[] = {
                { .status = "206 Partial", .headers = "ETag: \"v\"\r\n", .body = "bytes" },
                { .status = "200 OK", .body = "no!" }
        };
        _cleanup_(http_freep) struct http *http = client();
        CURL *easy = curl_easy_init();
        struct error e = {};
        struct canned c;

        (void) state;
        canned_start(&c, replies, 2);
        for (size_t i = 0; i < 2; i++) {
                _cleanup_http_call_ struct http_call *call = NULL;
                struct stream s = {};
                CURLcode code;

                assert_ok(http_prepare(http, easy,
                                       &(struct http_request) {
                                               .method = "GET", .url = c.url, .malformed = FAILURE_S3_ANSWER },
                                       &call, &e),
                          &e);
                assert_int_equal(http_call_status(call), 0);
                s.call = call;
                curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
                curl_easy_setopt(easy, CURLOPT_WRITEDATA, &s);
                code = curl_easy_perform(easy);
                assert_int_equal(s.status, i == 0 ? 206 : 200);
                assert_string_equal(s.seen, i == 0 ? "\"v\"" : "");
                if (i == 0)
                        assert_int_equal(http_judge(call, code, &e), HTTP_OK);
                else {
                        fail(&e, FAILURE_AUTHENTICATION, -EBADMSG, "frame 7", "the tag does not verify");
                        assert_int_equal(http_judge(call, code, &e), HTTP_FINAL);
                        assert_int_equal(e.failure, FAILURE_AUTHENTICATION);
                }
        }
        curl_easy_cleanup(easy);
        canned_stop(&c);
        canned_done(&c);
}

static void test_options(void **state) {
        struct http *http = NULL;
        struct error e = {};

        (void) state;
        assert_refused(http_new(&(struct http_options) { .ca_bundle = "/nonexistent/ca.pem" }, &http, &e), &e,
                       FAILURE_CONFIG, "the CA bundle cannot be read");
        assert_null(http);
}

/* Gives the loopback interface its address, and with it the only route there is, or takes it away. */
static int set_loopback(in_addr_t address) {
        _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct ifreq up = { .ifr_name = "lo", .ifr_flags = IFF_UP }, lo = { .ifr_name = "lo" };
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(address) };

        memcpy(&lo.ifr_addr, &a, sizeof a);
        if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &up) < 0 || ioctl(fd, SIOCSIFADDR, &lo) < 0)
                return -errno;
        return 0;
}

static void *bring_up_later(void *unused) {
        nanosleep(&(struct timespec) { .tv_nsec = 400000000 }, NULL);
        (void) set_loopback(INADDR_LOOPBACK);
        return unused;
}

static void count_retry(void *userdata, const struct error *why, unsigned wait_ms) {
        unsigned *told = userdata;

        (void) wait_ms;
        *told += why->failure == FAILURE_NETWORK;
}

/* In a network of its own, whose one route goes away and comes back. Returns an exit code. */
static int boot_before_the_route(void) {
        static const struct canned_reply reply = { .status = "200 OK", .body = "here" };
        unsigned told = 0;
        const struct http_options options = { .on_retry = count_retry, .userdata = &told };
        _cleanup_(http_freep) struct http *http = NULL;
        _cleanup_http_call_ struct http_call *call = NULL;
        struct http_exchange x = { .prepare = prepare };
        pthread_t thread;
        struct canned c;
        struct get get;
        struct error e = {};
        int r;

        if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0 || set_loopback(INADDR_LOOPBACK) < 0)
                return 77;
        canned_start(&c, &reply, 1);
        if (set_loopback(INADDR_ANY) < 0 || http_new(&options, &http, NULL) < 0 ||
            pthread_create(&thread, NULL, bring_up_later, NULL) != 0)
                return 2;
        get = (struct get) { .http = http, .url = c.url };
        x.userdata = &get;
        r = http_perform(http, &x, &(struct retry_policy) { .deadline_ms = 10000, .base_ms = 50, .cap_ms = 200 }, &call,
                         &e);
        pthread_join(thread, NULL);
        canned_stop(&c);
        canned_done(&c);
        if (r < 0)
                fprintf(stderr, "%s\n", e.reason);
        return r == 0 && told > 0 ? 0 : 1;
}

/* The first requests of an instance may be sent before it has a route: "Network is unreachable" is no final answer. */
static void test_a_route_that_is_not_there_yet(void **state) {
        int status = 0;
        pid_t pid;

        (void) state;
        pid = fork();
        if (pid == 0)
                _exit(boot_before_the_route());
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77)
                skip(); /* no namespaces here */
        assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_retry_policy(void **state) {
        struct error a = { .reason = "HTTP 503 SlowDown" }, b = { .reason = "Connection refused" },
                     e = { .reason = "HTTP 503 SlowDown" };
        struct retry r;
        unsigned ms, limits[] = { 10, 20, 40, 80, 100, 100 };

        (void) state;
        /* Full jitter: never above the doubling limit, and spread below it. */
        for (size_t k = 0; k < ELEMENTS(limits); k++) {
                unsigned largest = 0, smallest = UINT32_MAX;

                for (size_t i = 0; i < 400; i++) {
                        retry_begin(&r, &(struct retry_policy) { 60000, 10, 100 });
                        r.attempts = (unsigned) k;
                        assert_true(retry_next(&r, &a, &ms));
                        largest = MAX_OF(largest, ms);
                        smallest = MIN_OF(smallest, ms);
                }
                assert_in_range(largest, limits[k] * 8 / 10, limits[k]);
                assert_in_range(smallest, 0, limits[k] * 2 / 10);
        }
        retry_begin(&r, &(struct retry_policy) { 0, 0, 0 });
        r.began_ns -= 1000000;
        assert_false(retry_next(&r, &a, &ms));

        retry_begin(&r, &(struct retry_policy) { 60000, 1, 1 });
        assert_true(retry_next(&r, &a, &ms) && retry_next(&r, &b, &ms) && retry_next(&r, &a, &ms));
        retry_explain(&r, &e);
        assert_string_equal(e.reason,
                            "HTTP 503 SlowDown (3 attempts in 0.0 s: 2 x HTTP 503 SlowDown; 1 x Connection refused)");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_answer),
                cmocka_unit_test(test_request_id_is_one_or_none),
                cmocka_unit_test(test_request_is_ours_alone),
                cmocka_unit_test(test_verdicts),
                cmocka_unit_test(test_bounds),
                cmocka_unit_test(test_gives_up_at_the_deadline),
                cmocka_unit_test(test_unreachable_is_given_up),
                cmocka_unit_test(test_refresh_reaches_prepare),
                cmocka_unit_test(test_streaming),
                cmocka_unit_test(test_options),
                cmocka_unit_test(test_a_route_that_is_not_there_yet),
                cmocka_unit_test(test_retry_policy),
        };

        return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
