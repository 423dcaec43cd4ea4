/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The failures' titles and advice for who runs `sealboot`: an owner, a builder or an auditor at a desk, with files, an
 * environment and credentials of their own. The words of failure.c are for the agent's instance: user data, the image's
 * configuration, the instance's role. */

#include "basic/failure.h"

struct desk_words {
        enum failure failure;
        const char *title;  /* NULL: as in failure.c */
        const char *advice; /* NULL: as in failure.c */
};

/* Never NULL. */
const struct desk_words *desk_words(enum failure failure);
