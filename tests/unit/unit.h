/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* cmocka wants these headers, in this order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

/* cmocka's fail() is not ours. */
#undef fail
#undef fail_msg
#define fail_msg(...) \
        do { \
                print_error(__VA_ARGS__); \
                print_error("\n"); \
                _fail(__FILE__, __LINE__); \
                abort(); /* never reached: for analyzers, which do not know that _fail() jumps away */ \
        } while (false)

#include "basic/failure.h"

/* A call that must succeed; otherwise the test fails with the error's own words. */
#define assert_ok(expression, e) \
        do { \
                int _r = (expression); \
                if (_r < 0) \
                        fail_msg("%s: %d: %s: %s", #expression, _r, (e)->subject, (e)->reason); \
        } while (false)

/* A call that must fail with this failure, for a reason that contains these words. */
#define assert_refused(expression, e, wanted, words) \
        do { \
                int _r = (expression); \
                if (_r >= 0) \
                        fail_msg("%s: succeeded, expected: %s", #expression, words); \
                if ((e)->failure != (wanted) || !strstr((e)->reason, words)) \
                        fail_msg("%s: expected %s with \"%s\", got %s: %s: %s", #expression, \
                                 failure_info(wanted)->name, words, failure_info((e)->failure)->name, (e)->subject, \
                                 (e)->reason); \
        } while (false)
