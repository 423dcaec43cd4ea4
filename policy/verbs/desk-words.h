/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Titles and advice of failures for the people who run `sealboot`: owners, builders and auditors at a desk, with files,
 * an environment and credentials of their own. The words of failure.c are for the agent's instance: they speak of user
 * data, the image's configuration and the instance's role. */

#include "basic/failure.h"

struct desk_words {
        enum failure failure;
        const char *title;  /* NULL: as in failure.c */
        const char *advice; /* NULL: as in failure.c */
};

/* Never NULL. */
const struct desk_words *desk_words(enum failure failure);
