/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "basic/clock.h"
#include "connect/exchange.h"
#include "connect/guard.h"
#include "connect/headers.h"
#include "connect/instances.h"
#include "connect/local.h"
#include "connect/page.h"
#include "connect/peer.h"
#include "connect/pipe.h"

static void test_guard_host(void **state _unused_) {
        static const struct {
                const char *host;
                bool accepted;
        } table[] = {
                { "127.0.0.1", true },
                { "127.0.0.1:8000", true },
                { "[::1]:8000", true },
                { "[::1]", true },
                { "localhost", true },
                { "LocalHost:8000", true },
                { "app.localhost:8000", true },
                { "192.168.1.5:8000", true }, /* an address cannot be rebound */
                { "", false },
                { "evil.example", false },
                { "evil.example:8000", false },
                { "localhost.evil.example", false },
                { "notlocalhost", false },
                { ".localhost.", false },
                { "localhost.", false },
                { "127.0.0.1.evil.example", false },
                { "127.0.0.1@evil.example", false },
                { "127.0.0.1:8000@evil.example", false },
                { "127.0.0.1:", false },
                { "127.0.0.1:80a", false },
                { "127.0.0.1:123456", false },
                { "127.1", false },
                { "0x7f.1", false },
                { "2130706433", false },
                { "::1", false },
                { "[::1", false },
                { "[::1]x", false },
                { "[evil.example]", false },
                { "[", false },
                { ":8000", false },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++)
                if (guard_accepts_host(table[i].host) != table[i].accepted)
                        fail_msg("Host '%s' is %s", table[i].host, table[i].accepted ? "refused" : "accepted");
}

static void test_guard(void **state _unused_) {
        static const struct {
                struct guard_headers headers;
                const char *words; /* NULL: passes */
        } table[] = {
                { { .host = "127.0.0.1:8000" }, NULL },
                { { .host = "127.0.0.1:8000", .origin = "http://127.0.0.1:8000" }, NULL },
                { { .host = "127.0.0.1:8000", .origin = "http://127.0.0.1:8000", .fetch_site = "same-origin" }, NULL },
                { { .host = "127.0.0.1:8000", .fetch_site = "none" }, NULL },
                { { .host = NULL }, "no Host" },
                { { .host = "evil.example" }, "neither an address nor localhost" },
                { { .host = "127.0.0.1:8000", .origin = "https://evil.example" }, "another origin" },
                { { .host = "127.0.0.1:8000", .origin = "null" }, "another origin" },
                { { .host = "127.0.0.1:8000", .origin = "" }, "another origin" },
                { { .host = "127.0.0.1:8000", .origin = "http://127.0.0.1:3000" }, "another origin" },
                { { .host = "127.0.0.1:8000", .origin = "https://127.0.0.1:8000" }, "another origin" },
                { { .host = "127.0.0.1:8000", .origin = "http://127.0.0.1:8000.evil.example" }, "another origin" },
                { { .host = "evil.example", .origin = "http://evil.example" }, "neither an address" },
                { { .host = "127.0.0.1:8000", .fetch_site = "cross-site" }, "another site" },
                { { .host = "127.0.0.1:8000", .fetch_site = "same-site" }, "another site" },
                { { .host = "127.0.0.1:8000", .fetch_site = "" }, "another site" },
                { { .host = "127.0.0.1:8000", .repeated = true }, "twice" },
                { { .host = "127.0.0.1:8000", .fetch_site = "same-origin", .worker = true }, "service worker" },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                const char *why = guard_refuses(&table[i].headers);

                if (!why != !table[i].words || (why && !strstr(why, table[i].words)))
                        fail_msg("%zu: %s; expected %s", i, why ?: "passes", table[i].words ?: "passes");
        }
}

static void test_headers(void **state _unused_) {
        static const struct {
                const char *name, *connection;
                bool up, down;
        } table[] = {
                { "Content-Type", NULL, true, true },
                { "authorization", NULL, true, true },
                { "Connection", NULL, false, false },
                { "KEEP-ALIVE", NULL, false, false },
                { "Transfer-Encoding", NULL, false, false },
                { "Upgrade", NULL, false, false },
                { "TE", NULL, false, false },
                { "Proxy-Authorization", NULL, false, false },
                { "Content-Length", NULL, false, false }, /* comes of the body */
                { "Host", NULL, false, true },
                { "Origin", NULL, false, true },
                { "Referer", NULL, false, true },
                { "Location", NULL, true, false },
                { "Alt-Svc", NULL, true, false },
                { "Refresh", NULL, true, false },
                { "Cookie", NULL, false, true },
                { "Set-Cookie", NULL, true, false },
                { "Content-Security-Policy", NULL, true, false },
                { "Content-Security-Policy-Report-Only", NULL, true, false },
                { "Strict-Transport-Security", NULL, true, false },
                { "Access-Control-Allow-Origin", NULL, true, false },
                { "X-Mine", "close, x-mine", false, false },
                { "X-Mine", "X-MINE", false, false },
                { "X-Mine", "x-min, x-minee", true, true },
                { "X-Mine", ",,\t ,", true, true },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                if (header_passes_up(table[i].name, table[i].connection) != table[i].up)
                        fail_msg("%s, Connection: %s: up", table[i].name, table[i].connection ?: "none");
                if (header_passes_down(table[i].name, table[i].connection) != table[i].down)
                        fail_msg("%s, Connection: %s: down", table[i].name, table[i].connection ?: "none");
        }
        assert_true(header_is_valid("X-Mine", "a\tb \xc3\xa4"));
        assert_false(header_is_valid("", "a"));
        assert_false(header_is_valid("X Mine", "a"));
        assert_false(header_is_valid("X-Mine:", "a"));
        assert_false(header_is_valid("X-Mine", "a\r\nX-Other: b"));
        assert_false(header_is_valid("X-Mine", "\x7f"));
}

static void test_location(void **state _unused_) {
        static const char server[] = "https://model.example:8443";
        static const struct {
                const char *location, *within;
        } table[] = {
                { "/v1/", "/v1/" },
                { "v1/x?y#z", "v1/x?y#z" },
                { "?next=https://evil.example", "?next=https://evil.example" },
                { "", "" },
                { "https://model.example:8443/v1", "/v1" },
                { "HTTPS://MODEL.example:8443/v1", "/v1" },
                { "https://model.example:8443//evil.example", NULL },
                { "https://model.example:84433/v1", NULL },
                { "https://model.example:8443@evil.example/", NULL },
                { "https://model.example:8443", NULL },
                { "https://model.example/v1", NULL },
                { "http://model.example:8443/v1", NULL },
                { "https://evil.example/", NULL },
                { "//evil.example/", NULL },
                { "/\\evil.example/", NULL },
                { "\\\\evil.example/", NULL },
                { "/\t/evil.example/", NULL },
                { " //evil.example", NULL },
                { "javascript:alert(1)", NULL },
                { "data:text/html,x", NULL },
                { "evil:", NULL },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                const char *within = location_within(table[i].location, server);

                if (!within != !table[i].within || (within && !streq(within, table[i].within)))
                        fail_msg("Location '%s' became '%s'", table[i].location, within ?: "refused");
        }
}

static void test_targets_and_methods(void **state _unused_) {
        static const char *const targets[] = { "",     "*",      "http://evil.example/", "x", "/a b", "/a\r\nHost: x",
                                               "/a#b", "//x\x7f" };
        static const char *const methods[] = { "",     "get",     "CONNECT", "TRACE",
                                               "GET ", "G\r\nET", "G:T",     "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGH" };

        for (size_t i = 0; i < ELEMENTS(targets); i++)
                assert_false(target_is_valid(targets[i]));
        for (size_t i = 0; i < ELEMENTS(methods); i++)
                assert_false(method_is_valid(methods[i]));
        assert_true(target_is_valid("/v1/models?x=%20\xc3\xa4"));
        assert_true(method_is_valid("POST"));
        assert_true(method_is_valid("M-SEARCH"));
}

static void test_lines(void **state _unused_) {
        static const struct {
                const char *line;
                int status;
        } table[] = {
                { "HTTP/1.1 200 OK\r\n", 200 }, { "HTTP/2 404 \r\n", 404 },    { "HTTP/2 204", 204 },
                { "HTTP/1.1 20", -EBADMSG },    { "HTTP/1.1 2000", -EBADMSG }, { "HTTP/1.1", -EBADMSG },
                { "ICY 200 OK", -EBADMSG },     { "HTTP/1.1 099", -EBADMSG },  { "", -EBADMSG },
                { "HTTP/1.1  200", -EBADMSG },
        };
        static const char *const bad[] = { "no colon", ": no name", "a b: c", "a: b\x01" };
        char good[] = "Name:\t value \t", *name, *value;

        for (size_t i = 0; i < ELEMENTS(table); i++)
                assert_int_equal(status_line_parse(table[i].line, strlen(table[i].line)), table[i].status);
        for (size_t i = 0; i < ELEMENTS(bad); i++) {
                _cleanup_free_ char *line = strdup(bad[i]);

                assert_int_equal(header_line_split(line, &name, &value), -EBADMSG);
        }
        assert_int_equal(header_line_split(good, &name, &value), 0);
        assert_string_equal(name, "Name");
        assert_string_equal(value, "value");
}

static void test_pipe(void **state _unused_) {
        struct pipe p = {};
        uint8_t in[3000], out[3000], expected = 0, next = 0;
        size_t inside = 0;

        for (unsigned round = 0; round < 2000; round++) {
                size_t put = (round * 7919) % sizeof in, take = (round * 104729) % sizeof out, n;

                for (size_t i = 0; i < put; i++)
                        in[i] = next++;
                assert_int_equal(pipe_put(&p, in, put), 0);
                inside += put;
                n = pipe_take(&p, out, take);
                assert_int_equal(n, MIN_OF(take, inside));
                inside -= n;
                for (size_t i = 0; i < n; i++)
                        assert_int_equal(out[i], expected++);
                assert_int_equal(p.size, inside);
        }
        while (pipe_take(&p, out, sizeof out) > 0)
                ;
        pipe_trim(&p);
        assert_true(p.room > 0); /* it was in use */
        assert_int_equal(pipe_put(&p, in, 1), 0);
        pipe_trim(&p);
        assert_int_equal(pipe_take(&p, out, sizeof out), 1);
        pipe_trim(&p);
        pipe_trim(&p);
        assert_int_equal(p.room, 0); /* most streams are slow, and there may be a thousand of them */
}

static struct instances *new_instances(int64_t max_age) {
        struct instances *s = NULL;
        struct error e;

        assert_ok(instances_new(max_age, &s, &e), &e);
        return s;
}

static void test_instances(void **state _unused_) {
        _cleanup_(instances_freep) struct instances *s = new_instances(1);
        uint8_t a[KEY_ID_SIZE] = { 1 }, b[KEY_ID_SIZE] = { 2 };
        char why[64];

        assert_false(instances_accept(s, a));
        instances_judge(s, a, NULL, 0, NULL, NULL);
        assert_true(instances_accept(s, a));
        assert_false(instances_accept(s, b));
        assert_int_equal(instances_accepted(s), 1);
        instances_judge(s, b, "another image", 0, NULL, NULL);
        assert_false(instances_accept(s, b));
        assert_true(instances_refused(s, b, why, sizeof why));
        assert_string_equal(why, "another image");
        assert_false(instances_refused(s, a, why, sizeof why));
        assert_false(instances_due(s, a));
        clock_sleep_ms(800);
        assert_true(instances_due(s, a));
        assert_true(instances_accept(s, a));
        clock_sleep_ms(300);
        assert_false(instances_accept(s, a)); /* too old */
        assert_false(instances_due(s, a));
        instances_judge(s, a, NULL, 0, NULL, NULL);
        assert_true(instances_accept(s, a));
        instances_judge(s, a, "another model", 0, NULL, NULL);
        assert_false(instances_accept(s, a));
}

/* However many keys somebody shows, an accepted one is not pushed out. */
static void test_many_instances(void **state _unused_) {
        _cleanup_(instances_freep) struct instances *s = new_instances(3600);
        uint8_t good[KEY_ID_SIZE] = { 0xff }, bad[KEY_ID_SIZE] = {};

        instances_judge(s, good, NULL, 0, NULL, NULL);
        for (unsigned i = 0; i < 5 * INSTANCES_MAX; i++) {
                bad[1] = (uint8_t) (i >> 8);
                bad[2] = (uint8_t) i;
                instances_judge(s, bad, "no", 0, NULL, NULL);
        }
        assert_true(instances_accept(s, good));
        assert_int_equal(instances_accepted(s), 1);
        for (unsigned i = 0; i < 2 * INSTANCES_MAX; i++) {
                bad[1] = (uint8_t) (i >> 8);
                bad[2] = (uint8_t) i;
                instances_judge(s, bad, NULL, 0, NULL, NULL);
        }
        assert_int_equal(instances_accepted(s), INSTANCES_MAX);
}

#define HOSTILE "<script>alert('\"&\x1b[2J\xff')</script>"

/* Everything that others wrote is text on the page. */
static void test_the_page_escapes(void **state _unused_) {
        static const char report[] =
                "{\"outcome\": \"<script>\", \"duration_ms\": 100, \"model\": {\"name\": \"</td><img src=x>\", "
                "\"digest\": 5},"
                "\"stages\": [{\"name\": \"\\\"><b>\", \"began_ms\": -1e300, \"duration_ms\": 1e300}, 5, null, [],"
                "{\"name\": {}, \"began_ms\": \"x\", \"duration_ms\": 10}]}";
        _cleanup_(instances_freep) struct instances *s = new_instances(60);
        uint8_t a[KEY_ID_SIZE] = { 1 }, b[KEY_ID_SIZE] = { 2 };
        _cleanup_free_ char *html = NULL, *json = NULL;
        json_object *parsed;
        struct error e;
        size_t n;

        instances_judge(s, a, HOSTILE, 1, json_tokener_parse("{\"checks\": \"no list\", \"document\": {\"pcrs\": 5}}"),
                        json_tokener_parse("[{\"subject\": \"<i>\"}, 7]"));
        instances_judge(s, b, NULL, 1,
                        json_tokener_parse("{\"checks\": [{\"name\": \"pcrs\", \"detail\": \"<u>\"}, 3]}"), NULL);
        instances_reached(s, b, HOSTILE, "<p>");
        instances_report(s, b, json_tokener_parse(report));
        html = page_html(s, "https://" HOSTILE, &n);
        assert_non_null(html);
        assert_int_equal(strlen(html), n);
        for (size_t i = 0; i < n; i++)
                assert_true((unsigned char) html[i] >= ' ' || html[i] == '\n');
        static const char *const never[] = { "<script", "<img",    "<b>", "<i>", "<u>",
                                             "<p>\n",   "alert('", "-1e", "nan", "inf" };
        for (size_t i = 0; i < ELEMENTS(never); i++)
                if (strstr(html, never[i]))
                        fail_msg("the page holds %s", never[i]);
        assert_non_null(strstr(html, "&lt;script&gt;alert(&#39;&quot;&amp;?[2J?&#39;)&lt;/script&gt;"));
        assert_non_null(strstr(html, "Verified: requests go to 1 attested instance, and to no other."));
        json = page_json(s, "https://model.example", &n);
        assert_ok(json_parse(json, n, FAILURE_INTERNAL, "page", &parsed, &e), &e);
        json_object_put(parsed);
}

static void test_addresses(void **state _unused_) {
        static const struct {
                const char *text, *host;
                uint16_t port;
                bool loopback;
        } good[] = {
                { "127.0.0.1:8000", "127.0.0.1", 8000, true },
                { "8000", "127.0.0.1", 8000, true },
                { ":0", "127.0.0.1", 0, true },
                { "[::1]:65535", "::1", 65535, true },
                { "0.0.0.0:80", "0.0.0.0", 80, false },
                { "[::]:80", "::", 80, false },
        };
        static const char *const bad[] = { "",
                                           "127.0.0.1",
                                           "127.0.0.1:",
                                           "localhost:80",
                                           "127.0.0.1:65536",
                                           "1.2.3:80",
                                           "127.0.0.1:8 0",
                                           "[::1:80",
                                           "[]:80",
                                           "127.0.0.1:-1",
                                           "00000000000000000000000000000000000000000000000000000000000000000:1" };
        struct listen_address a;
        struct error e;

        for (size_t i = 0; i < ELEMENTS(good); i++) {
                assert_ok(listen_parse(good[i].text, &a, &e), &e);
                assert_string_equal(a.host, good[i].host);
                assert_int_equal(a.port, good[i].port);
                assert_int_equal(a.loopback, good[i].loopback);
        }
        for (size_t i = 0; i < ELEMENTS(bad); i++)
                assert_refused(listen_parse(bad[i], &a, &e), &e, FAILURE_USAGE, "--listen takes");
}

static void test_servers(void **state _unused_) {
        static const struct {
                const char *text, *url;
        } good[] = {
                { "https://model.example", "https://model.example" },
                { "https://model.example/", "https://model.example" },
                { "https://10.0.0.1:8443", "https://10.0.0.1:8443" },
                { "https://[::1]:8443/", "https://[::1]:8443" },
        };
        static const struct {
                const char *text, *words;
        } bad[] = {
                { "http://model.example", "plain HTTP" },
                { "model.example", "is not a server" },
                { "https://", "is not a server" },
                { "https://user@model.example", "is not a server" },
                { "https://model.example/v1", "is not a server" },
                { "https://model.example/?x", "is not a server" },
                { "https://model.example/#x", "is not a server" },
                { "https://model.example:99999", "is not a server" },
                { "ftp://model.example", "is not a server" },
                { "", "is not a server" },
        };
        struct server s;
        struct error e;

        unsetenv("https_proxy");
        for (size_t i = 0; i < ELEMENTS(good); i++) {
                assert_ok(server_parse(good[i].text, &s, &e), &e);
                assert_string_equal(s.url, good[i].url);
        }
        for (size_t i = 0; i < ELEMENTS(bad); i++)
                assert_refused(server_parse(bad[i].text, &s, &e), &e, FAILURE_USAGE, bad[i].words);
        setenv("https_proxy", "https://proxy.example:3128", 1);
        assert_refused(server_parse("https://model.example", &s, &e), &e, FAILURE_USAGE, "reached by TLS");
        unsetenv("https_proxy");
}

/* What the hooks were asked to do. */
struct calls {
        unsigned suspended, resumed, woken;
};

static void count_suspended(void *client) {
        ((struct calls *) client)->suspended++;
}

static void count_resumed(void *client) {
        ((struct calls *) client)->resumed++;
}

static void count_woken(struct exchange *x, void *server) {
        (void) x;
        ((struct calls *) server)->woken++;
}

/* Each side waits where the other has not caught up, is called when it has, and nobody is called twice. */
static void test_an_exchange_slows_both_sides(void **state _unused_) {
        static const struct exchange_hooks hooks = { count_suspended, count_resumed, count_woken };
        static uint8_t block[16 * 1024], sink[64 * 1024];
        struct answer answer = { .status = 200, .length = -1 };
        struct calls calls = {};
        struct exchange *x;
        struct error e;
        size_t given = 0;

        assert_ok(exchange_new("POST", "/", NULL, -1, &hooks, &calls, &x, &e), &e);
        x->server = &calls;
        assert_int_equal(exchange_take(x, sink, sizeof sink), -EAGAIN);
        assert_int_equal(exchange_put(x, block, sizeof block), sizeof block);
        assert_int_equal(calls.woken, 1);
        for (unsigned i = 0; i < 8; i++)
                given += exchange_put(x, block, sizeof block);
        assert_int_equal(given + sizeof block, x->room);
        assert_int_equal(calls.suspended, 1);
        assert_int_equal(exchange_take(x, sink, 1024), 1024);
        assert_int_equal(calls.resumed, 0);
        assert_int_equal(exchange_take(x, sink, sizeof sink), sizeof sink - 1024);
        assert_int_equal(calls.resumed, 1);
        exchange_end_request(x);
        assert_int_equal(exchange_take(x, sink, sizeof sink), 0);

        assert_false(exchange_answered(x));
        assert_int_equal(calls.suspended, 2);
        exchange_begin_answer(x, &answer);
        assert_int_equal(calls.resumed, 1);
        exchange_deliver(x);
        assert_int_equal(calls.resumed, 2);
        assert_int_equal(exchange_read(x, sink, sizeof sink), 0);
        assert_int_equal(calls.suspended, 3);
        for (given = 0; exchange_give(x, block, sizeof block) == 0;)
                given += sizeof block;
        assert_int_equal(given, x->room);
        assert_int_equal(calls.resumed, 2);
        exchange_deliver(x);
        exchange_deliver(x);
        assert_int_equal(calls.resumed, 3);
        calls.woken = 0;
        assert_int_equal(exchange_read(x, sink, 1), 1);
        assert_int_equal(calls.woken, 0);
        assert_int_equal(exchange_read(x, sink, sizeof sink), x->room - 1);
        assert_int_equal(calls.woken, 1);
        exchange_finish(x, EXCHANGE_BROKEN);
        assert_int_equal(exchange_read(x, sink, sizeof sink), -EPIPE);
        exchange_fail(x, 502, "late", "too late to be an answer");
        assert_int_equal(x->answer.status, 200);
        exchange_leave(x);
        assert_int_equal(exchange_give(x, block, 1), -ECANCELED);
        exchange_drop(x);
        exchange_drop(x);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_guard_host),
                cmocka_unit_test(test_guard),
                cmocka_unit_test(test_headers),
                cmocka_unit_test(test_location),
                cmocka_unit_test(test_targets_and_methods),
                cmocka_unit_test(test_lines),
                cmocka_unit_test(test_pipe),
                cmocka_unit_test(test_instances),
                cmocka_unit_test(test_many_instances),
                cmocka_unit_test(test_the_page_escapes),
                cmocka_unit_test(test_addresses),
                cmocka_unit_test(test_servers),
                cmocka_unit_test(test_an_exchange_slows_both_sides),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
