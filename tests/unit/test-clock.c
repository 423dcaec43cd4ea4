/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <signal.h>

#include "basic/clock.h"

static void test_date_text(void **state _unused_) {
        static const struct {
                int64_t seconds;
                const char *text;
        } table[] = {
                { 0, "1970-01-01T00:00:00Z" },
                { 951782399, "2000-02-28T23:59:59Z" },
                { 951782400, "2000-02-29T00:00:00Z" },
                { INT64_C(4102444800), "2100-01-01T00:00:00Z" },
                { INT64_C(253402300799), "9999-12-31T23:59:59Z" },
                { INT64_C(253402300800), "" },
                { INT64_MAX, "" },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                char text[DATE_TEXT_SIZE];

                date_text(table[i].seconds, text);
                assert_string_equal(text, table[i].text);
        }
}

static void test_deadline(void **state _unused_) {
        int64_t began = clock_ns(), deadline = clock_deadline_ns(30);

        assert_in_range(deadline - began, 30 * NS_PER_MS, 30 * NS_PER_MS + 10 * NS_PER_SECOND);
        assert_true(clock_has_passed(began));
        assert_false(clock_has_passed(clock_deadline_ns(60 * 1000)));
        clock_sleep_ms(30);
        assert_true(clock_has_passed(deadline));
        assert_true(clock_ms_since(began) >= 30 && clock_seconds_since(began) >= 0.03);
}

static void test_wall_clock(void **state _unused_) {
        int64_t seconds = wall_clock_seconds(), ms = wall_clock_ms();

        assert_in_range(ms / 1000, seconds, seconds + 10);
        assert_in_range(time(NULL), seconds - 1, seconds + 10); /* its clock is a coarser one */
}

static void *signal_after(void *userdata) {
        clock_sleep_ms(20);
        pthread_kill(*(pthread_t *) userdata, SIGUSR1);
        return NULL;
}

static void ignore(int number _unused_) {
}

static void test_sleep_outlasts_a_signal(void **state _unused_) {
        struct sigaction action = { .sa_handler = ignore };
        pthread_t self = pthread_self(), other;
        int64_t began = clock_ns();

        assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
        assert_int_equal(pthread_create(&other, NULL, signal_after, &self), 0);
        clock_sleep_ms(100);
        assert_true(clock_ms_since(began) >= 100);
        assert_int_equal(pthread_join(other, NULL), 0);
}

static void test_condition_times_out(void **state _unused_) {
        pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
        pthread_cond_t condition;
        struct timespec until;
        int64_t began = clock_ns();
        int r = 0;

        clock_condition_init(&condition);
        until = clock_condition_deadline(50);
        pthread_mutex_lock(&lock);
        while (r == 0)
                r = pthread_cond_timedwait(&condition, &lock, &until);
        pthread_mutex_unlock(&lock);
        assert_int_equal(r, ETIMEDOUT);
        assert_true(clock_ms_since(began) >= 50);
        pthread_cond_destroy(&condition);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_date_text),           cmocka_unit_test(test_deadline),
                cmocka_unit_test(test_wall_clock),          cmocka_unit_test(test_sleep_outlasts_a_signal),
                cmocka_unit_test(test_condition_times_out),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
