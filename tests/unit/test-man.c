/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "basic/file.h"
#include "configuration/config.h"
#include "report/report.h"

#define PAGE "units/man/sealboot-agent.8"

/* A file of the source tree, as text. */
static char *source(const char *name) {
        _cleanup_free_ char *path = NULL;
        struct error e = {};
        uint8_t *text;
        size_t size;

        assert_true(asprintf(&path, "%s/%s", getenv("SEALBOOT_SOURCE_ROOT"), name) > 0);
        assert_ok(file_read(path, 1 << 20, FAILURE_IO, &text, &size, &e), &e);
        return (char *) text;
}

static void expect(const char *page, const char *row) {
        if (!strstr(page, row))
                fail_msg("the manual lacks:%s", row);
}

/* A row for every key of the json_field tables in `code`; returns how many there are. */
static size_t expect_keys(const char *page, const char *code) {
        size_t keys = 0;

        for (const char *p = code; (p = strstr(p, "{ \"")); p++) {
                const char *end = strstr(p, "\", json_type_");
                char row[100];

                if (!end || memchr(p, '\n', (size_t) (end - p)))
                        continue;
                snprintf(row, sizeof row, "\n.It Cm %.*s\n", (int) (end - p - 3), p + 3);
                expect(page, row);
                keys++;
        }
        return keys;
}

/* Exit codes and message ids are a promise: the man page has every row of failure_table(), word for word, and no other.
 */
static void test_exit_codes_are_documented(void **state) {
        _cleanup_free_ char *page = source(PAGE);
        size_t n, rows = 0;
        const struct failure_info *table = failure_table(&n);

        (void) state;
        for (size_t i = 1; i < n; i++) {
                _cleanup_free_ char *row = NULL;

                assert_true(asprintf(&row, "\n.It %d %s\n%s\n.Pq %s\n", (int) table[i].failure, table[i].name,
                                     table[i].title, table[i].message_id) > 0);
                expect(page, row);
        }
        for (const char *p = page; (p = strstr(p, "\n.It ")); p++)
                rows += p[5] >= '0' && p[5] <= '9';
        assert_int_equal(rows, n - 1);
}

/* So is every key of the configuration. */
static void test_configuration_is_documented(void **state) {
        _cleanup_free_ char *page = source(PAGE);
        const char *inputs = strstr(page, "\n.Sh SEVERAL INPUTS\n");
        size_t n = 0;

        (void) state;
        assert_non_null(inputs);
        for (; config_key(n); n++) {
                char row[100];

                snprintf(row, sizeof row, "\n.It Cm %s\n", config_key(n));
                expect(page, row);
        }
        assert_true(n > 10);
        for (n = 0; input_key(n); n++)
                expect(inputs, input_key(n));
}

/* Every object of gate.json is read with a table of its own. */
static void test_gate_configuration_is_documented(void **state) {
        _cleanup_free_ char *page = source("units/man/sealboot-gate.8"), *code = source("agent/gate/gate-config.c");
        size_t keys = 0;

        (void) state;
        for (const char *p = code; (p = strstr(p, "{ \"")); p++) {
                const char *end = strstr(p, "\", json_type_");
                char row[100];

                if (!end || memchr(p, '\n', (size_t) (end - p)))
                        continue;
                snprintf(row, sizeof row, "Cm %.*s", (int) (end - p - 3), p + 3);
                expect(page, row);
                keys++;
        }
        assert_int_equal(keys, 34);
}

/* The manifest is what other programs may write: its page has every key that is read, and its example is one. */
static void test_manifest_is_documented(void **state) {
        _cleanup_free_ char *page = source("policy/man/sealboot-manifest.5"), *code = source("agent/sealed/model.c");
        char *example = strstr(page, "\n.Bd -literal\n"), *end = example ? strstr(example, "\n.Ed\n") : NULL;
        _cleanup_model_ struct model *m = NULL;
        struct error e = {};

        (void) state;
        assert_int_equal(expect_keys(page, code), 9);
        assert_non_null(end);
        example += strlen("\n.Bd -literal\n");
        assert_ok(manifest_parse(example, (size_t) (end - example), "example", &m, &e), &e);
        assert_int_equal(m->n_files, 2);
}

static void test_journal_is_documented(void **state) {
        _cleanup_free_ char *page = source(PAGE);

        (void) state;
        expect(page, REPORT_STAGE_MESSAGE_ID);
        expect(page, REPORT_PUBLISHED_MESSAGE_ID);
}

static void test_example_is_valid(void **state) {
        _cleanup_(config_freep) struct config *c = NULL;
        _cleanup_free_ char *text = source("units/agent.json.example");
        struct error e = {};

        (void) state;
        assert_ok(config_parse(text, strlen(text), "agent.json.example", &c, &e), &e);
        assert_int_equal(c->inputs[0].n_keys, 1);
        assert_int_equal(c->inputs[0].n_context, 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_exit_codes_are_documented),
                cmocka_unit_test(test_configuration_is_documented),
                cmocka_unit_test(test_journal_is_documented),
                cmocka_unit_test(test_example_is_valid),
                cmocka_unit_test(test_manifest_is_documented),
                cmocka_unit_test(test_gate_configuration_is_documented),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
