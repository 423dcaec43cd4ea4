/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <time.h>

#include "pipeline/tuning.h"

enum { MAX = 128 };

/* A network that takes so many bytes a second, and gives 85 MB/s on each connection. */
static unsigned tuned(unsigned connections, double network, unsigned ticks) {
        struct tuning t = { 0 };

        for (unsigned i = 0; i < ticks; i++)
                connections = tuning_next(&t, connections, MAX, MIN_OF(connections * 85e6, network), 0.6);
        return connections;
}

static void test_as_many_as_the_network_takes(void **state) {
        (void) state;
        assert_int_equal(tuned(8, 10e9 / 8, 6), 16);    /* 15 fill it */
        assert_int_equal(tuned(32, 25e9 / 8, 6), 64);   /* 37 */
        assert_int_equal(tuned(16, 100e9 / 8, 6), MAX); /* 147 */
        assert_int_equal(tuned(8, 5e9 / 8, 6), 8);      /* 7 */
}

/* In its first tick, each new connection brings a twentieth of what it brings later. */
static void test_new_connections_may_begin_slowly(void **state) {
        (void) state;
        unsigned n = 8, before = 8;
        struct tuning t = { 0 };

        for (unsigned i = 0; i < 8; i++) {
                unsigned now = n;

                n = tuning_next(&t, n, MAX, MIN_OF((before + 0.05 * (now - before)) * 85e6, 100e9 / 8), 0.6);
                before = now;
        }
        assert_int_equal(n, MAX);
}

static void test_trials_that_fail_are_taken_back_and_become_rarer(void **state) {
        (void) state;
        unsigned n = 8, trials = 0;
        struct tuning t = { 0 };

        for (unsigned i = 0; i < 8 + 16 + 32 + 3 * 3; i++) {
                n = tuning_next(&t, n, MAX, 5e8, 0.9);
                assert_true(n == 8 || n == 16);
                trials += n == 16;
        }
        assert_int_equal(trials, 3 * 2); /* of two ticks each */
        assert_int_equal(n, 8);
        /* What held them up has passed: the next trial is kept. */
        n = tuning_next(&t, n, MAX, 5e8, 0.9);
        assert_int_equal(n, 16);
        assert_int_equal(tuning_next(&t, n, MAX, 1e9, 0), 16);
}

static void test_busy_machines_get_no_more(void **state) {
        (void) state;
        struct tuning t = { 0 };

        for (unsigned i = 1; i < 5; i++)
                assert_int_equal(tuning_next(&t, 8, MAX, i * 1e8, 0.2), 8);
        assert_int_equal(tuning_next(&t, 8, MAX, 0, 1), 8); /* nothing came: nothing to compare with */
        assert_int_equal(tuning_next(&t, 96, MAX, 1e9, 1), MAX);
        assert_int_equal(tuning_next(&t, MAX, MAX, 1e9, 1), MAX);
        assert_int_equal(tuning_next(&t, MAX, MAX, 1e9, 1), 96);
}

static void test_idle(void **state) {
        (void) state;
        static const struct timespec nap = { .tv_nsec = 100 * 1000 * 1000 };
        struct tuning t = { 0 };
        double all, since;

        all = tuning_idle(&t); /* since power-on */
        assert_true(all >= 0 && all <= 1 && t.cpu_total > 0);
        nanosleep(&nap, NULL);
        since = tuning_idle(&t);
        assert_true(since >= 0 && since <= 1);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_as_many_as_the_network_takes),
                cmocka_unit_test(test_new_connections_may_begin_slowly),
                cmocka_unit_test(test_trials_that_fail_are_taken_back_and_become_rarer),
                cmocka_unit_test(test_busy_machines_get_no_more),
                cmocka_unit_test(test_idle),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
