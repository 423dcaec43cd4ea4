/* SPDX-License-Identifier: Apache-2.0 */

/* The boot report: valid JSON at every moment, whoever writes to it and whatever it quotes. */

#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "basic/json.h"
#include "basic/clock.h"
#include "report/metrics.h"
#include "report/report.h"
#include "sealed/verity.h"
#include "tree.h"

struct place {
        char root[32], path[48];
        struct report *report;
};

static int set_up(void **state) {
        struct place *p = calloc(1, sizeof *p);
        struct error e = {};

        assert_non_null(p);
        snprintf(p->root, sizeof p->root, "/tmp/test-report.XXXXXX");
        assert_non_null(mkdtemp(p->root));
        snprintf(p->path, sizeof p->path, "%s/report.json", p->root);
        assert_ok(report_new(p->path, &p->report, &e), &e);
        *state = p;
        return 0;
}

static int tear_down(void **state) {
        struct place *p = *state;

        report_free(p->report);
        tree_remove(p->root);
        free(p);
        return 0;
}

/* The report as it is on disk. */
static json_object *load(const struct place *p) {
        _cleanup_free_ uint8_t *text = NULL;
        json_object *o = NULL;
        struct error e = {};
        size_t n;

        assert_ok(file_read(p->path, 1024 * 1024, FAILURE_IO, &text, &n, &e), &e);
        assert_ok(json_parse((char *) text, n, FAILURE_IO, p->path, &o, &e), &e);
        return o;
}

/* The value at a place such as "kms.request_id"; NULL: there is none. */
static json_object *find(json_object *at, const char *place) {
        _cleanup_free_ char *path = strdup(place);
        char *rest = path, *part;

        assert_non_null(path);
        while ((part = strsep(&rest, ".")))
                if (!json_object_object_get_ex(at, part, &at))
                        return NULL;
        return at;
}

#define assert_text(o, place, expected) assert_string_equal(json_object_get_string(find(o, place)), expected)

static json_object *stage(json_object *report, size_t index) {
        return json_object_array_get_idx(find(report, "stages"), index);
}

static void test_first_report(void **state) {
        struct place *p = *state;
        _cleanup_json_ json_object *o = load(p);
        struct stat st;

        assert_text(o, "outcome", "running");
        assert_text(o, "sealboot", SEALBOOT_VERSION);
        assert_text(o, "hash_engine", verity_engine());
        assert_true(json_object_get_int64(find(o, "clock.realtime_ms")) > INT64_C(1600000000000));
        assert_true(json_object_get_int64(find(o, "clock.since_boot_ms")) > 0);
        assert_int_equal(json_object_array_length(find(o, "stages")), 0);
        assert_null(find(o, "duration_ms"));
        assert_int_equal(stat(p->path, &st), 0);
        assert_int_equal(st.st_mode, S_IFREG | 0644);
}

/* A place that cannot be written to is known before any work. */
static void test_place_that_cannot_be_written(void **state) {
        struct place *p = *state;
        struct report *r = NULL;
        struct error e = {};

        assert_refused(report_new("/proc/there is no such directory/report.json", &r, &e), &e, FAILURE_PUBLISH, "");
        assert_refused(report_new(p->root, &r, &e), &e, FAILURE_PUBLISH, "");
        assert_null(r);
}

static void test_stages(void **state) {
        struct place *p = *state;
        _cleanup_json_ json_object *o = NULL;
        struct error e = {};

        report_end(p->report, "kms", 1); /* has not begun: nothing happens */
        report_begin(p->report, "kms");
        report_begin(p->report, "unseal"); /* stages overlap */
        report_end(p->report, "kms", 0);
        report_end(p->report, "kms", 7); /* has ended: nothing happens */
        report_begin(p->report, "kms");  /* begins again */
        report_end(p->report, "unseal", 1000000);
        assert_ok(report_write(p->report, &e), &e);

        o = load(p);
        assert_int_equal(json_object_array_length(find(o, "stages")), 3);
        assert_text(stage(o, 0), "name", "kms");
        assert_true(json_object_get_double(find(stage(o, 0), "duration_ms")) >= 0);
        assert_true(json_object_get_double(find(stage(o, 0), "began_ms")) >= 0);
        assert_null(find(stage(o, 0), "bytes"));
        assert_null(find(stage(o, 0), "gb_per_s"));
        assert_text(stage(o, 1), "name", "unseal");
        assert_int_equal(json_object_get_int64(find(stage(o, 1), "bytes")), 1000000);
        assert_true(json_object_get_double(find(stage(o, 1), "gb_per_s")) > 0);
        assert_text(stage(o, 2), "name", "kms");
        assert_null(find(stage(o, 2), "duration_ms")); /* still runs */
}

static void test_values(void **state) {
        static const uint8_t data[200] = { 0x00, 0xff, 0x0a };
        struct place *p = *state;
        _cleanup_json_ json_object *o = NULL;
        struct error e = {};

        report_text(p->report, "region", "eu-central-1");
        report_text(p->report, "kms.request_id", "first");
        report_text(p->report, "kms.request_id", "second"); /* replaces it */
        report_put(p->report, "kms.attempts", json_object_new_int(2));
        report_text(p->report, "kms.refused.0.reason", "deep");
        report_hex(p->report, "digest", "sha384:", data, 3);
        report_hex(p->report, "empty", "", data, 0);
        report_hex(p->report, "long", "", data, sizeof data); /* longer than any digest: left out */
        assert_ok(report_write(p->report, &e), &e);

        o = load(p);
        assert_text(o, "region", "eu-central-1");
        assert_text(o, "kms.request_id", "second");
        assert_int_equal(json_object_get_int(find(o, "kms.attempts")), 2);
        assert_text(o, "kms.refused.0.reason", "deep");
        assert_text(o, "digest", "sha384:00ff0a");
        assert_text(o, "empty", "");
        assert_null(find(o, "long"));
}

static void test_published(void **state) {
        struct place *p = *state;
        _cleanup_json_ json_object *o = NULL;
        struct error e = {};

        assert_ok(report_close(p->report, NULL, &e), &e);
        report_text(p->report, "lifecycle.result", "CONTINUE"); /* after the end */
        assert_ok(report_write(p->report, &e), &e);
        o = load(p);
        assert_text(o, "outcome", "published");
        assert_text(o, "lifecycle.result", "CONTINUE");
        assert_true(json_object_get_double(find(o, "duration_ms")) >= 0);
        assert_true(json_object_get_int64(find(o, "resources.peak_memory_kib")) > 0);
        assert_true(json_object_get_double(find(o, "resources.cpu_seconds")) >= 0);
        assert_null(find(o, "failure"));
}

static void test_failed(void **state) {
        static const char hostile[] = "\"\\ line\nescape\x1b[2J";
        struct place *p = *state;
        _cleanup_json_ json_object *before = NULL, *after = NULL;
        struct error e = {}, failure = { .failure = FAILURE_KMS_DENIED };

        snprintf(failure.subject, sizeof failure.subject, "kms key");
        snprintf(failure.reason, sizeof failure.reason, "%s", hostile);
        snprintf(failure.request_id, sizeof failure.request_id, "id");
        assert_ok(report_close(p->report, &failure, &e), &e);
        before = load(p);
        assert_text(before, "outcome", "failed");
        assert_text(before, "failure.name", failure_info(FAILURE_KMS_DENIED)->name);
        assert_text(before, "failure.title", failure_info(FAILURE_KMS_DENIED)->title);
        assert_int_equal(json_object_get_int(find(before, "failure.exit_code")), 30);
        assert_text(before, "failure.subject", "kms key");
        assert_text(before, "failure.reason", hostile);
        assert_text(before, "failure.request_id", "id");
        assert_text(before, "failure.advice", failure_info(FAILURE_KMS_DENIED)->advice);

        /* A failure with advice of its own. */
        snprintf(failure.advice, sizeof failure.advice, "ask the owner");
        assert_ok(report_close(p->report, &failure, &e), &e);
        after = load(p);
        assert_text(after, "failure.advice", "ask the owner");
}

/* The outcome is decided by then: the caller is told, and the earlier report stays whole. */
static void test_end_that_cannot_be_written(void **state) {
        struct place *p = *state;
        _cleanup_json_ json_object *o = NULL;
        char moved[64];
        struct error e = {};

        snprintf(moved, sizeof moved, "%s.moved", p->root);
        assert_int_equal(rename(p->root, moved), 0);
        assert_true(report_close(p->report, NULL, &e) < 0);
        assert_true(e.reason[0]);
        assert_int_equal(rename(moved, p->root), 0);
        o = load(p);
        assert_text(o, "outcome", "running");
}

enum { THREADS = 8, ROUNDS = 50 };

static void *write_much(void *userdata) {
        static const char *const names[THREADS] = { "a", "b", "c", "d", "e", "f", "g", "h" };
        static atomic_uint next;
        struct place *p = userdata;
        unsigned me = atomic_fetch_add(&next, 1);

        for (unsigned i = 0; i < ROUNDS; i++) {
                char place[32];

                snprintf(place, sizeof place, "values.%s.%u", names[me], i);
                report_begin(p->report, names[me]);
                report_text(p->report, place, names[me]);
                report_end(p->report, names[me], i);
                report_write(p->report, NULL);
        }
        return NULL;
}

static void test_threads(void **state) {
        struct place *p = *state;
        _cleanup_json_ json_object *o = NULL;
        pthread_t threads[THREADS];

        for (size_t i = 0; i < THREADS; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, write_much, p), 0);
        for (size_t i = 0; i < THREADS; i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        o = load(p);
        assert_int_equal(json_object_array_length(find(o, "stages")), THREADS * ROUNDS);
        for (size_t i = 0; i < THREADS * ROUNDS; i++)
                assert_non_null(find(stage(o, i), "duration_ms"));
        assert_int_equal(json_object_object_length(find(o, "values")), THREADS);
        assert_int_equal(json_object_object_length(find(o, "values.h")), ROUNDS);
}

/* A reader of the file sees each stage as soon as it begins, how far the transfer is, and nothing of that at the end.
 */
static void test_a_running_boot_can_be_watched(void **state) {
        struct place *p = *state;
        json_object *o;
        struct error e = {};

        report_begin(p->report, "unseal");
        o = load(p);
        assert_text(o, "outcome", "running");
        assert_text(stage(o, 0), "name", "unseal");
        assert_null(find(o, "progress"));
        json_object_put(o);

        report_progress(p->report, "unsealing", 1, 4); /* too soon after the stage's beginning */
        o = load(p);
        assert_null(find(o, "progress"));
        json_object_put(o);
        clock_sleep_ms(1001);
        report_progress(p->report, "unsealing", 3, 4);
        o = load(p);
        assert_text(o, "progress.doing", "unsealing");
        assert_int_equal(json_object_get_int64(find(o, "progress.bytes")), 3);
        assert_int_equal(json_object_get_int64(find(o, "progress.total")), 4);
        assert_true(json_object_get_double(find(o, "progress.at_ms")) >= 1000);
        json_object_put(o);

        assert_ok(report_close(p->report, NULL, &e), &e);
        report_progress(p->report, "late", 4, 4);
        report_begin(p->report, "late");
        o = load(p);
        assert_text(o, "outcome", "published");
        assert_null(find(o, "progress"));
        json_object_put(o);
}

/* A line that is no check's is left out; what is no ASCII could not be in JSON. */
static void test_a_gpu_test_is_in_the_report(void **state) {
        static const char text[] = "gpu-test: PASS gpus: 1 GPUs, 0 NVSwitches\n"
                                   "gpu-test: FAIL cuda: libcuda.so.1: \xff\tno: such\n"
                                   "gpu-test: PASS lockdown\n"
                                   "gpu-test: SKIP a: b\n"
                                   "gpu-test: 1 of 2\n";
        struct place *p = *state;
        _cleanup_json_ json_object *o = NULL;
        char path[64];
        struct error e = {};

        snprintf(path, sizeof path, "%s/test", p->root);
        report_gpu_test(p->report, path); /* no such file */
        tree_write(p->root, "test", text);
        report_gpu_test(p->report, path);
        assert_ok(report_write(p->report, &e), &e);
        o = load(p);
        assert_string_equal(json_object_to_json_string_ext(find(o, "gpu_test"), JSON_C_TO_STRING_PLAIN),
                            "[{\"name\":\"gpus\",\"passed\":true,\"text\":\"1 GPUs, 0 NVSwitches\"},"
                            "{\"name\":\"cuda\",\"passed\":false,\"text\":\"libcuda.so.1: ??no: such\"}]");
}

static void test_no_gpu_test_of_any_size_is_in_the_report(void **state) {
        static const char line[] = "gpu-test: PASS a: b\n";
        static char large[10000];
        struct place *p = *state;
        _cleanup_json_ json_object *o = NULL;
        char path[64], many[20 * (sizeof line - 1) + 1] = "";
        struct error e = {};

        snprintf(path, sizeof path, "%s/test", p->root);
        report_gpu_test(p->report, path);
        memset(large, 'x', sizeof large - 1);
        tree_write(p->root, "test", large);
        report_gpu_test(p->report, path);
        assert_ok(report_write(p->report, &e), &e);
        o = load(p);
        assert_null(find(o, "gpu_test"));
        json_object_put(o);
        for (size_t i = 0; i < 20; i++)
                memcpy(many + i * (sizeof line - 1), line, sizeof line);
        tree_write(p->root, "test", many);
        report_gpu_test(p->report, path);
        assert_ok(report_write(p->report, &e), &e);
        o = load(p);
        assert_int_equal(json_object_array_length(find(o, "gpu_test")), 16);
}

static void test_the_outline_has_no_files(void **state) {
        struct place *p = *state;
        _cleanup_free_ char *text = NULL;

        report_text(p->report, "model.name", "m");
        report_put(p->report, "model.files", json_object_new_array());
        report_put(p->report, "inputs.base.model.files", json_object_new_array());
        text = report_outline(p->report);
        assert_non_null(strstr(text, "\"name\":\"m\""));
        assert_null(strstr(text, "files"));
        assert_null(strchr(text, '\n'));
}

static char *metrics(const char *json) {
        json_object *o = json_tokener_parse(json);
        char *text = metrics_of_report(o);

        json_object_put(o);
        assert_non_null(text);
        return text;
}

/* What a report may hold that is no number, and what a label must not hold as it is. */
static void test_metrics_of_any_report(void **state) {
        static const struct {
                const char *json, *has, *lacks;
        } table[] = {
                { "{}", "sealboot_boot_published 0\n", "duration" },
                { "[]", "sealboot_boot_published 0\n", "duration" },
                { "{\"outcome\": \"published\", \"duration_ms\": 1500}", "sealboot_boot_duration_seconds 1.5\n",
                  "exit_code" },
                { "{\"duration_ms\": \"1500\"}", "published 0\n", "duration" },
                { "{\"duration_ms\": {}, \"clock\": 3}", "published 0\n", "duration" },
                { "{\"model\": {\"name\": \"a\\\"b\\\\c\\nd\"}}", "model=\"a\\\"b\\\\c?d\"", "\nd" },
                { "{\"stages\": [{\"name\": \"kms\", \"duration_ms\": 500}, {\"name\": \"kms\", \"duration_ms\": "
                  "250}]}",
                  "sealboot_boot_stage_duration_seconds{stage=\"kms\"} 0.75\n", "0.25" },
                { "{\"stages\": [1, {}, {\"name\": 3}, {\"name\": \"\"}, {\"name\": \"x\"}]}", "{stage=\"x\"} 0\n",
                  "stage=\"\"" },
                { "{\"stages\": {\"name\": \"x\"}}", "published 0\n", "stage=" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_free_ char *text = metrics(table[i].json);

                if (!strstr(text, table[i].has) || strstr(text, table[i].lacks))
                        fail_msg("%s:\n%s", table[i].json, text);
        }
}

int main(void) {
#define WITH_REPORT(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH_REPORT(test_first_report),
                WITH_REPORT(test_place_that_cannot_be_written),
                WITH_REPORT(test_stages),
                WITH_REPORT(test_values),
                WITH_REPORT(test_published),
                WITH_REPORT(test_failed),
                WITH_REPORT(test_end_that_cannot_be_written),
                WITH_REPORT(test_threads),
                WITH_REPORT(test_a_running_boot_can_be_watched),
                WITH_REPORT(test_a_gpu_test_is_in_the_report),
                WITH_REPORT(test_no_gpu_test_of_any_size_is_in_the_report),
                WITH_REPORT(test_the_outline_has_no_files),
                cmocka_unit_test(test_metrics_of_any_report),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
