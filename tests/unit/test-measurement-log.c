/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <sys/stat.h>

#include "evidence/measurement-log.h"
#include "evidence/registers.h"
#include "replay/cel.h"
#include "tree.h"

static const uint8_t sha256_value[SHA256_SIZE] = { 1, 2, 3 }, sha384_value[SHA384_SIZE] = { 4, 5, 6 };
static const struct measured_digest digests[] = {
        { "sha256", sha256_value, sizeof sha256_value },
        { "sha384", sha384_value, sizeof sha384_value },
};
static const struct measurement what = { "sealboot-model", "model m version 1" };

struct place {
        char root[40], path[80];
};

static struct place place(void) {
        struct place p = { .root = "/tmp/sealboot-measurement-log-XXXXXX" };

        assert_non_null(mkdtemp(p.root));
        snprintf(p.path, sizeof p.path, "%s/run/log/measure.log", p.root);
        return p;
}

static struct measurement_log *begin(const struct place *p) {
        struct measurement_log *l = NULL;
        struct error e = {};

        assert_ok(measurement_log_begin(p->path, PCR_MODEL, digests, ELEMENTS(digests), &what, "text", 4, &l, &e), &e);
        return l;
}

static struct stat status_of(const struct place *p) {
        struct stat st;

        assert_int_equal(stat(p->path, &st), 0);
        return st;
}

/* The reader of other people's logs is a second implementation of the format. */
static struct event_log read_back(const struct place *p) {
        _cleanup_free_ uint8_t *text = NULL;
        struct event_log l = {};
        struct error e = {};
        size_t n;

        assert_ok(file_read(p->path, 1 << 20, FAILURE_IO, &text, &n, &e), &e);
        assert_int_equal(text[0], 0x1e);
        assert_int_equal(text[n - 1], '\n');
        assert_ok(cel_parse((const char *) text, n, "log", &l, &e), &e);
        return l;
}

static void test_a_record_is_there_when_the_pcr_was_extended(void **state _unused_) {
        struct place p = place();
        struct error e = {};

        for (size_t i = 1; i <= 2; i++) {
                struct measurement_log *l = begin(&p);
                _cleanup_event_log_ struct event_log read = {};

                assert_true(status_of(&p).st_mode & S_ISVTX);
                assert_int_equal(status_of(&p).st_size == 0, i == 1);
                assert_ok(measurement_log_commit(l, &e), &e);
                measurement_log_close(l);
                assert_int_equal(status_of(&p).st_mode & 07777, 0600);
                read = read_back(&p);
                assert_int_equal(read.n, i);
                assert_int_equal(read.events[i - 1].pcr, PCR_MODEL);
                assert_string_equal(read.events[i - 1].type_name, "systemd sealboot-model");
                assert_string_equal(read.events[i - 1].text, "model m version 1");
                assert_memory_equal(log_event_digest(&read.events[i - 1], pcr_algorithm_named("sha384")), sha384_value,
                                    sizeof sha384_value);
        }
        tree_remove(p.root);
}

static void test_a_command_that_was_refused_leaves_no_trace(void **state _unused_) {
        struct place p = place();
        struct measurement_log *l = begin(&p);

        measurement_log_abort(l);
        measurement_log_close(l);
        assert_int_equal(status_of(&p).st_mode & 07777, 0600);
        assert_int_equal(status_of(&p).st_size, 0);
        tree_remove(p.root);
}

/* A writer that died left the mark. It tells of a record that is missing, so that no later writer takes it away. */
static void test_the_mark_of_a_writer_that_died_stays(void **state _unused_) {
        struct place p = place();
        struct error e = {};
        struct measurement_log *l = begin(&p);

        measurement_log_close(l);
        assert_true(status_of(&p).st_mode & S_ISVTX);
        l = begin(&p);
        assert_ok(measurement_log_commit(l, &e), &e);
        measurement_log_close(l);
        assert_true(status_of(&p).st_mode & S_ISVTX);
        l = begin(&p);
        measurement_log_abort(l);
        measurement_log_close(l);
        assert_true(status_of(&p).st_mode & S_ISVTX);
        tree_remove(p.root);
}

static void test_only_text_that_was_measured_is_recorded(void **state _unused_) {
        static const struct {
                const char *text;
                size_t size;
                bool recorded;
        } cases[] = { { "plain", 5, true }, { "\xff\xfe", 2, false }, { NULL, 0, false } };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                static const struct measurement without_words = { "sealboot-model", NULL };
                _cleanup_free_ uint8_t *content = NULL;
                struct place p = place();
                struct measurement_log *l;
                struct error e = {};
                size_t n;

                assert_ok(measurement_log_begin(p.path, PCR_MODEL, digests, 1, &without_words, cases[i].text,
                                                cases[i].size, &l, &e),
                          &e);
                assert_ok(measurement_log_commit(l, &e), &e);
                measurement_log_close(l);
                assert_ok(file_read(p.path, 1 << 20, FAILURE_IO, &content, &n, &e), &e);
                assert_int_equal(strstr((char *) content, "\"string\"") != NULL, cases[i].recorded);
                assert_null(strstr((char *) content, "\"description\""));
                tree_remove(p.root);
        }
}

static void test_refuses_what_is_no_log(void **state _unused_) {
        static const char *const kinds[] = { "directory", "link", "pipe", "file in the way" };
        static const char *const words[] = { "cannot open the measurement log", "cannot open the measurement log",
                                             "measurement log", "cannot make the measurement log's directory" };

        for (size_t i = 0; i < ELEMENTS(kinds); i++) {
                struct place p = place();
                struct measurement_log *l = NULL;
                struct error e = {};
                char path[100];

                snprintf(path, sizeof path, "%s/run", p.root);
                assert_int_equal(i == 3 ? 0 : mkdir(path, 0700), 0);
                if (i == 3)
                        tree_write(p.root, "run", "");
                snprintf(path, sizeof path, "%s/run/log", p.root);
                if (i < 3)
                        assert_int_equal(mkdir(path, 0700), 0);
                if (i == 0)
                        assert_int_equal(mkdir(p.path, 0700), 0);
                if (i == 1)
                        assert_int_equal(symlink("/tmp/nowhere", p.path), 0);
                if (i == 2)
                        assert_int_equal(mkfifo(p.path, 0600), 0);
                assert_refused(measurement_log_begin(p.path, PCR_MODEL, digests, 1, &what, NULL, 0, &l, &e), &e,
                               FAILURE_MEASURE, words[i]);
                assert_null(l);
                tree_remove(p.root);
        }
}

static void test_says_who_extended_a_pcr(void **state _unused_) {
#define RECORD(pcr, content) "\x1e{\"pcr\":" pcr ",\"content\":" content "}\n"
        static const struct {
                const char *log, *said;
                size_t found;
        } cases[] = {
                { NULL, "", 0 },
                { "", "", 0 },
                { RECORD("15", "{\"string\":\"machine-id:1\",\"eventType\":\"machine-id\"}"),
                  "\"machine-id:1\" (machine-id)", 1 },
                { RECORD("15", "{\"string\":\"s\",\"description\":\"d\",\"eventType\":\"t\"}"), "\"d\" (t)", 1 },
                { RECORD("11", "{\"string\":\"phase\"}"), "", 0 },
                { RECORD("\"15\"", "{\"string\":\"x\"}"), "", 0 },
                { RECORD("15", "[]"), "\"\" (of unknown type)", 1 },
                { RECORD("15", "{\"string\":5}"), "\"\" (of unknown type)", 1 },
                { "\x1enonsense\n\x1e[1]\n" RECORD("15", "{\"string\":\"x\"}"), "\"x\" (of unknown type)", 1 },
                { RECORD("15", "{\"string\":\"x\"}") RECORD("15", "{\"string\":\"y\"}"),
                  "\"x\" (of unknown type), \"y\" (of unknown type)", 2 },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                char root[] = "/tmp/sealboot-measurement-log-XXXXXX", path[80], text[512];

                assert_non_null(mkdtemp(root));
                snprintf(path, sizeof path, "%s/log", root);
                if (cases[i].log)
                        tree_write(root, "log", cases[i].log);
                assert_int_equal(measurement_log_explain(path, PCR_MODEL, text, sizeof text), cases[i].found);
                assert_string_equal(text, cases[i].said);
                tree_remove(root);
        }
#undef RECORD
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_record_is_there_when_the_pcr_was_extended),
                cmocka_unit_test(test_a_command_that_was_refused_leaves_no_trace),
                cmocka_unit_test(test_the_mark_of_a_writer_that_died_stays),
                cmocka_unit_test(test_only_text_that_was_measured_is_recorded),
                cmocka_unit_test(test_refuses_what_is_no_log),
                cmocka_unit_test(test_says_who_extended_a_pcr),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
