/* SPDX-License-Identifier: Apache-2.0 */

/* Whole files, and the environment that a program keeps. */

#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "basic/environment.h"
#include "tree.h"

static int set_up(void **state) {
        *state = strdup("/tmp/test-file.XXXXXX");
        assert_non_null(mkdtemp(*state));
        return 0;
}

static int tear_down(void **state) {
        tree_remove(*state);
        free(*state);
        return 0;
}

static size_t count_entries(const char *root) {
        _cleanup_closedir_ DIR *d = opendir(root);
        size_t n = 0;

        assert_non_null(d);
        while (readdir(d))
                n++;
        return n - 2;
}

static void test_written_is_read(void **state) {
        _cleanup_free_ char *path = NULL;
        struct error e = {};
        struct stat st;

        assert_true(asprintf(&path, "%s/f", (char *) *state) > 0);
        for (size_t n = 0; n < 300 * 1024; n = 2 * n + 1) {
                _cleanup_free_ uint8_t *data = malloc(n + 1), *again = NULL;
                size_t size;

                for (size_t i = 0; i < n; i++)
                        data[i] = (uint8_t) (i * 7);
                assert_ok(file_write(path, data, n, 0640, &e), &e);
                assert_ok(file_read(path, n, FAILURE_CONFIG, &again, &size, &e), &e);
                assert_int_equal(size, n);
                if (n > 0)
                        assert_memory_equal(again, data, n);
                assert_int_equal(again[n], 0);
                if (n > 0)
                        assert_refused(file_read(path, n - 1, FAILURE_CONFIG, &again, &size, &e), &e, FAILURE_CONFIG,
                                       "it is larger than");
        }
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0640);
        assert_int_equal(count_entries(*state), 1);
}

static void test_refusals(void **state) {
        _cleanup_free_ char *absent = NULL, *below = NULL, *directory = NULL;
        char too_long[8192];
        struct error e = {};
        uint8_t *data = NULL;
        size_t n;

        assert_true(asprintf(&absent, "%s/absent", (char *) *state) > 0 &&
                    asprintf(&below, "%s/absent/f", (char *) *state) > 0 &&
                    asprintf(&directory, "%s/d", (char *) *state) > 0);
        assert_refused(file_read(absent, 1, FAILURE_CONFIG, &data, &n, &e), &e, FAILURE_CONFIG,
                       "it cannot be opened: No such file");
        assert_string_equal(e.subject, absent);
        assert_refused(file_read(*state, 1, FAILURE_IO, &data, &n, &e), &e, FAILURE_IO, "it cannot be read: Is a dir");
        assert_refused(file_write(below, "x", 1, 0644, &e), &e, FAILURE_IO, "no temporary file can be made beside it");
        memset(too_long, 'a', sizeof too_long - 1);
        too_long[sizeof too_long - 1] = '\0';
        assert_refused(file_write(too_long, "x", 1, 0644, &e), &e, FAILURE_IO, "the name is too long");
        /* The rename fails, and the temporary file is gone. */
        assert_true(directory && mkdir(directory, 0755) == 0);
        assert_refused(file_write(directory, "x", 1, 0644, &e), &e, FAILURE_IO, "it cannot be written: Is a dir");
        assert_int_equal(count_entries(*state), 1);
        assert_null(data);
}

static void test_a_full_disk(void **state _unused_) {
        _cleanup_close_ int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

        assert_true(full >= 0);
        assert_int_equal(write_all(full, "x", 1), -ENOSPC);
        assert_int_equal(write_all(full, "", 0), 0);
        assert_int_equal(write_all(-1, "x", 1), -EBADF);
}

static bool is(const char *name, const char *value) {
        const char *found = getenv(name);

        return found && streq(found, value);
}

static int keep_two(void) {
        static const char *const names[] = { "KEPT", "ALSO_KEPT", "ABSENT", NULL };
        size_t n = 0;

        if (setenv("KEPT", "a=b c", 1) < 0 || setenv("ALSO_KEPT", "", 1) < 0 ||
            setenv("SSLKEYLOGFILE", "/tmp/x", 1) < 0)
                return 1;
        if (environment_keep(names) < 0)
                return 2;
        for (; environ && environ[n]; n++)
                ;
        if (n != 2 || getenv("SSLKEYLOGFILE") || getenv("ABSENT") || getenv("PATH"))
                return 3;
        return is("KEPT", "a=b c") && is("ALSO_KEPT", "") ? 0 : 4;
}

static void test_environment(void **state _unused_) {
        pid_t child = fork();
        int status;

        if (child == 0)
                _exit(keep_two());
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_written_is_read, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
                cmocka_unit_test(test_a_full_disk),
                cmocka_unit_test(test_environment),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
