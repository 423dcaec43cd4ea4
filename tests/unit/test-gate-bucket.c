/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "gate/bucket.h"

static void test_bucket(void **state) {
        struct bucket b = bucket_full(6, 2); /* one in ten seconds */

        (void) state;
        assert_int_equal(bucket_take(&b, 1000), 0);
        assert_int_equal(bucket_take(&b, 1000), 0);
        assert_int_equal(bucket_take(&b, 1000), 10);
        assert_int_equal(bucket_take(&b, 1001), 10);
        assert_int_equal(bucket_take(&b, 6000), 5);
        assert_int_equal(bucket_take(&b, 10999), 1);
        assert_int_equal(bucket_take(&b, 11000), 0);
        assert_int_equal(bucket_take(&b, 11000), 10);
}

/* However long nobody asks, no more than the burst is there. */
static void test_burst(void **state) {
        struct bucket b = bucket_full(60, 3);

        (void) state;
        for (int i = 0; i < 3; i++)
                assert_int_equal(bucket_take(&b, UINT64_MAX - 1), 0);
        assert_int_equal(bucket_take(&b, UINT64_MAX - 1), 1);
}

static void test_clock_that_stands(void **state) {
        struct bucket b = bucket_full(60, 1);

        (void) state;
        assert_int_equal(bucket_take(&b, 5000), 0);
        assert_int_equal(bucket_take(&b, 4000), 1);
        assert_int_equal(bucket_take(&b, 5999), 1);
        assert_int_equal(bucket_take(&b, 6000), 0);
}

static void test_no_limit(void **state) {
        struct bucket b = bucket_full(0, 0);

        (void) state;
        for (int i = 0; i < 1000; i++)
                assert_int_equal(bucket_take(&b, 1), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_bucket),
                cmocka_unit_test(test_burst),
                cmocka_unit_test(test_clock_that_stands),
                cmocka_unit_test(test_no_limit),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
