/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A name and its value: of an HTTP header, of an encryption context. Texts are UTF-8 without NUL, and borrowed where
 * nothing else is said. */

#include "basic/macros.h"

struct pair {
        const char *name, *value;
};

/* For an array that owns itself and its texts. */
static inline void pairs_free(struct pair *pairs, size_t n) {
        for (size_t i = 0; i < n; i++) {
                free((char *) pairs[i].name);
                free((char *) pairs[i].value);
        }
        free(pairs);
}
