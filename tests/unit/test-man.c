/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "basic/file.h"

/* Exit codes and message ids are a promise: the man page's table has every row of failure_table(), word for word. */
static void exit_codes_are_documented(void **state) {
        _cleanup_free_ char *path = NULL;
        _cleanup_free_ uint8_t *page = NULL;
        size_t size, n, rows = 0;
        struct error e = {};
        const struct failure_info *table = failure_table(&n);

        (void) state;
        assert_true(asprintf(&path, "%s/units/man/sealboot-agent.8", getenv("SEALBOOT_SOURCE_ROOT")) > 0);
        assert_ok(file_read(path, 1 << 20, FAILURE_IO, &page, &size, &e), &e);
        for (size_t i = 1; i < n; i++) {
                _cleanup_free_ char *row = NULL;

                assert_true(asprintf(&row, "\n.It %d %s\n%s\n.Pq %s\n", (int) table[i].failure, table[i].name,
                                     table[i].title, table[i].message_id) > 0);
                if (!strstr((char *) page, row))
                        fail_msg("%s lacks the row:%s", path, row);
        }
        for (const char *p = (char *) page; (p = strstr(p, "\n.It ")); p++)
                rows += p[5] >= '0' && p[5] <= '9';
        assert_int_equal(rows, n - 1);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(exit_codes_are_documented) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
