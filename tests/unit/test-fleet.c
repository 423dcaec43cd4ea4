/* SPDX-License-Identifier: Apache-2.0 */

/* Boot reports of a fleet: what is refused of one, what many have in common, and that a page escapes both. */

#include "quotes.h"

#include "fleet/boot-view.h"
#include "fleet/fleet-view.h"

#define CLOCK "'clock': {'realtime_ms': 1796000000000}"
#define PUBLISHED(duration) "{'outcome': 'published', " CLOCK ", 'duration_ms': " duration "}"

static int parse(const char *text, struct record *ret, struct error *e) {
        _cleanup_free_ char *json = quoted(text);

        return record_parse(json, strlen(json), "r.json", ret, e);
}

static void test_bad_reports(void **state _unused_) {
        static const struct {
                const char *text, *why;
        } table[] = {
                { "", "it is not valid JSON" },
                { "[]", "\"outcome\" is not running" },
                { "{}", "\"outcome\" is not running" },
                { "{'outcome': 3}", "\"outcome\" is not running" },
                { "{'outcome': 'asleep', " CLOCK "}", "\"outcome\" is not running" },
                { "{'outcome': 'published'}", "\"clock.realtime_ms\": it is missing" },
                { "{'outcome': 'published', 'clock': 3}", "\"clock.realtime_ms\": it is not in an object" },
                { "{'outcome': 'published', 'clock': {'realtime_ms': '1'}}", "it is no number" },
                { "{'outcome': 'published', 'clock': {'realtime_ms': -1}}", "it is out of range" },
                { "{'outcome': 'published', 'clock': {'realtime_ms': 1e300}}", "it is out of range" },
                { "{'outcome': 'published', " CLOCK ", 'duration_ms': -0.5}", "\"duration_ms\": it is out of range" },
                { "{'outcome': 'published', " CLOCK ", 'model': []}", "\"model.name\": it is not in an object" },
                { "{'outcome': 'published', " CLOCK ", 'model': {'name': 3}}", "\"model.name\": it is no text" },
                { "{'outcome': 'published', " CLOCK ", 'model': {'name': 'a\\u0000b'}}", "it has a NUL" },
                { "{'outcome': 'published', " CLOCK ", 'identity': {'instance_id': null}}", "it is no text" },
                { "{'outcome': 'published', " CLOCK ", 'stages': {}}", "\"stages\" is not a list" },
                { "{'outcome': 'published', " CLOCK ", 'stages': [3]}", "\"stages[0].name\": it is not in an object" },
                { "{'outcome': 'published', " CLOCK ", 'stages': [{'name': 'a'}]}",
                  "\"stages[0].began_ms\": it is missing" },
                { "{'outcome': 'published', " CLOCK ", 'stages': [{'name': '', 'began_ms': 1}]}", "of 1 to 64 bytes" },
                { "{'outcome': 'published', " CLOCK ", 'stages': [{'name': 'a', 'began_ms': 1e99}]}", "out of range" },
                { "{'outcome': 'failed', " CLOCK "}", "it failed, and names no failure" },
                { "{'outcome': 'failed', " CLOCK ", 'failure': {'name': 'x'}}", "it failed, and names no failure" },
                { "{'outcome': 'failed', " CLOCK ", 'failure': {'name': 'x', 'exit_code': 256}}", "out of range" },
                { "{'outcome': 'running', 'outcome': 'running', " CLOCK "}", "the same key twice" },
                { "{'outcome': 'running', " CLOCK "} more", "it is not valid JSON" },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct record r = {};
                struct error e = {};

                assert_refused(parse(table[i].text, &r, &e), &e, FAILURE_USAGE, table[i].why);
                assert_null(r.json);
        }
}

/* A newer agent writes keys that this reader does not know. */
static void test_a_report_of_a_newer_agent(void **state _unused_) {
        _cleanup_record_ struct record r = {};
        struct error e;

        assert_ok(parse("{'outcome': 'published', " CLOCK ", 'novelty': [1], 'model': {'name': 'm', 'more': {}}, "
                        "'stages': [{'name': 'a', 'began_ms': 1, 'duration_ms': 2.5, 'colour': 'red'}]}",
                        &r, &e),
                  &e);
        assert_string_equal(r.model, "m");
        assert_string_equal(r.instance, "");
        assert_int_equal(r.n_stages, 1);
        assert_true(r.stages[0].ended && r.stages[0].duration_ms == 2.5);
}

static void add(struct fleet *fleet, const char *text) {
        _cleanup_free_ char *json = quoted(text);
        struct error e = {};

        assert_ok(fleet_add(fleet, json, strlen(json), "a/r.json", &e), &e);
}

/* Many hostile reports must not fill the memory: what the reader does not know goes, and the rest is still right. */
static void test_what_is_kept(void **state _unused_) {
        _cleanup_fleet_ struct fleet fleet = {};

        for (int i = 0; i < 3; i++)
                add(&fleet, "{'outcome': 'failed', " CLOCK ", 'novelty': [[[]], {}, [{}]], 'identity': {'instance_id': "
                            "'i-1', 'more': {}}, 'failure': {'name': 'kms-denied', 'exit_code': 30, 'reason': 'why'}, "
                            "'stages': [{'name': 'a', 'began_ms': 1}, {'name': 'bc', 'began_ms': 2}]}");
        for (size_t i = 0; i < fleet.n; i++) {
                const struct record *r = &fleet.records[i];

                assert_null(r->json);
                assert_string_equal(r->instance, "i-1");
                assert_string_equal(r->failure.reason, "why");
                assert_string_equal(r->model, "");
                assert_string_equal(r->stages[0].name, "a");
                assert_string_equal(r->stages[1].name, "bc");
        }
        assert_int_equal(fleet.n, 3);
}

static void test_spreads(void **state _unused_) {
        _cleanup_statistics_ struct statistics s = {};
        _cleanup_fleet_ struct fleet fleet = {};
        struct error e = {};
        char text[300];

        for (int i = 200; i > 0; i--) {
                snprintf(text, sizeof text,
                         "{'outcome': 'published', " CLOCK
                         ", 'duration_ms': %d, 'stages': [{'name': 'late', 'began_ms': "
                         "5, 'duration_ms': 1}, {'name': 'kms', 'began_ms': 1, 'duration_ms': %d}, {'name': 'kms', "
                         "'began_ms': 3, 'duration_ms': 1}]}",
                         i, i);
                add(&fleet, text);
        }
        add(&fleet, "{'outcome': 'running', " CLOCK ", 'duration_ms': 9999}");
        add(&fleet, "{}");
        assert_ok(statistics_make(&fleet, &s, &e), &e);
        assert_int_equal(s.count[RECORD_PUBLISHED], 200);
        assert_int_equal(s.count[RECORD_RUNNING], 1);
        assert_int_equal(fleet.n_bad, 1);
        assert_true(s.duration.p50_ms == 100 && s.duration.p99_ms == 198 && s.duration.max_ms == 200);
        assert_int_equal(s.n_stages, 2);
        assert_string_equal(s.stages[0].name, "kms"); /* it begins first */
        assert_true(s.stages[0].spread.p50_ms == 101 && s.stages[0].spread.n == 200);
        assert_int_equal(s.n_slowest, SLOWEST_MAX);
        assert_true(s.slowest[0]->duration_ms == 200 && s.slowest[9]->duration_ms == 191);
}

/* Hours in a warm pool are no slow boot. */
static void test_waiting_is_no_work(void **state _unused_) {
        _cleanup_statistics_ struct statistics s = {};
        _cleanup_fleet_ struct fleet fleet = {};
        struct error e = {};

        add(&fleet,
            "{'outcome': 'published', " CLOCK ", 'duration_ms': 7200100, 'server': {'ready': true, 'after_ms': "
            "7200300}, 'stages': [{'name': 'warm-pool', 'began_ms': 40, 'duration_ms': 7200000}, {'name': 'unseal', "
            "'began_ms': 7200050, 'duration_ms': 30}]}");
        add(&fleet, "{'outcome': 'waiting', " CLOCK "}");
        assert_ok(statistics_make(&fleet, &s, &e), &e);
        assert_true(s.duration.max_ms == 100 && s.server.max_ms == 300 && s.server.n == 1);
        assert_int_equal(s.count[RECORD_WAITING], 1);
        assert_int_equal(record_longest_stage(&fleet.records[0]), 1);
}

static void test_one_value(void **state _unused_) {
        _cleanup_statistics_ struct statistics s = {};
        _cleanup_fleet_ struct fleet fleet = {};
        struct error e = {};

        add(&fleet, PUBLISHED("7"));
        assert_ok(statistics_make(&fleet, &s, &e), &e);
        assert_true(s.duration.n == 1 && s.duration.p50_ms == 7 && s.duration.p99_ms == 7);
}

#define FAILED(code, reason) \
        "{'outcome': 'failed', " CLOCK \
        ", 'identity': {'instance_id': 'i-1'}, 'failure': {'name': 'n', 'exit_code': " code ", 'reason': '" reason \
        "'}}"

static void test_failures_are_grouped(void **state _unused_) {
        _cleanup_statistics_ struct statistics s = {};
        _cleanup_fleet_ struct fleet fleet = {};
        struct error e = {};

        add(&fleet, FAILED("42", "HTTP 503 of i-0123456789abcdef0 (request 7a1e-99)"));
        add(&fleet, FAILED("30", "HTTP 503 of i-0123456789abcdef1 (request 7a1e-98)"));
        add(&fleet, FAILED("30", "HTTP 503 of i-0123456789abcdef2 (request 7a1e-97)"));
        add(&fleet, FAILED("30", "HTTP 500 of i-0123456789abcdef2 (request 7a1e-97)"));
        assert_ok(statistics_make(&fleet, &s, &e), &e);
        assert_int_equal(s.n_failures, 3);
        assert_int_equal(s.failures[0].n, 2);
        assert_int_equal(s.failures[0].exit_code, 30);
        assert_string_equal(s.failures[0].reason, "HTTP 503 of ... (request ...)");
}

static void test_pages_escape(void **state _unused_) {
        _cleanup_statistics_ struct statistics s = {};
        _cleanup_fleet_ struct fleet fleet = {};
        _cleanup_free_ char *page = NULL;
        struct error e = {};
        size_t n;

        add(&fleet, "{'outcome': 'published', " CLOCK ", 'duration_ms': 5, 'identity': {'instance_id': "
                    "'<script>x</script>', 'instance_type': '&\\u001b[2J'}, 'stages': [{'name': '<u>', 'began_ms': 0, "
                    "'duration_ms': 4}]}");
        add(&fleet, FAILED("30", "<img src=x>"));
        assert_ok(statistics_make(&fleet, &s, &e), &e);
        page = fleet_html("s3://b/\"<i>/", &fleet, &s, &n);
        assert_non_null(page);
        assert_int_equal(strlen(page), n);
        assert_null(strstr(page, "<script"));
        assert_null(strstr(page, "<u>"));
        assert_null(strstr(page, "<img"));
        assert_null(strstr(page, "<i>"));
        assert_null(strchr(page, '\x1b'));
        assert_non_null(strstr(page, "&lt;script&gt;x&lt;/script&gt;"));
        assert_null(strstr(page, "://\"")); /* it refers to nothing */
        assert_null(strstr(page, "href"));
        assert_null(strstr(page, "url("));
}

static void test_durations(void **state _unused_) {
        static const struct {
                double ms;
                const char *text;
        } table[] = {
                { 0, "0.0 ms" },           { 9.94, "9.9 ms" },       { 12.4, "12 ms" },
                { 999.4, "999 ms" },       { 999.6, "1.00 s" },      { 9994, "9.99 s" },
                { 12340, "12.3 s" },       { 99960, "1 min 40 s" },  { 125000, "2 min 05 s" },
                { 3599e3, "59 min 59 s" }, { 3600e3, "1 h 00 min" }, { 30 * 86400e3, "720 h 00 min" },
        };
        char text[DURATION_TEXT_SIZE];

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                duration_text(table[i].ms, text);
                assert_string_equal(text, table[i].text);
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_bad_reports),
                cmocka_unit_test(test_a_report_of_a_newer_agent),
                cmocka_unit_test(test_what_is_kept),
                cmocka_unit_test(test_spreads),
                cmocka_unit_test(test_waiting_is_no_work),
                cmocka_unit_test(test_one_value),
                cmocka_unit_test(test_failures_are_grouped),
                cmocka_unit_test(test_pages_escape),
                cmocka_unit_test(test_durations),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
