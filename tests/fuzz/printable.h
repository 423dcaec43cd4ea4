/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "basic/utf8.h"

/* Each line of what was printed must be fit for a terminal; the line feeds are ours. Frees the text. */
static inline void expect_printable(char *text) {
        char *rest = text, *line;

        while ((line = strsep(&rest, "\n")))
                if (!utf8_printable(line))
                        abort();
        free(text);
}
