/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "basic/file.h"

/* A file of the source tree, whole; the test fails when it cannot be read. */
static inline uint8_t *read_fixture(const char *name, size_t *ret_n) {
        _cleanup_free_ char *path = NULL;
        uint8_t *data = NULL;
        struct error e = {};

        assert_true(asprintf(&path, "%s/tests/%s", getenv("SEALBOOT_SOURCE_ROOT"), name) > 0);
        assert_ok(file_read(path, 64 * 1024 * 1024, FAILURE_IO, &data, ret_n, &e), &e);
        return data;
}
