/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Files below a scratch directory of a unit test. */

#include <ftw.h>

#include "basic/file.h"
#include "unit.h"

static inline void tree_write(const char *root, const char *name, const char *text) {
        _cleanup_free_ char *path = NULL;
        struct error e = {};

        assert_true(asprintf(&path, "%s/%s", root, name) > 0);
        assert_ok(file_write(path, text, strlen(text), 0644, &e), &e);
}

static inline int tree_remove_entry(const char *path, const struct stat *st _unused_, int type _unused_,
                                    struct FTW *ftw _unused_) {
        return remove(path);
}

static inline void tree_remove(const char *root) {
        assert_int_equal(nftw(root, tree_remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}
