/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Bytes on their way between two threads, first in, first out. It holds no lock. Its memory grows with what is in it,
 * and an empty pipe holds next to none: most streams are slow, and there may be a thousand of them. */

#include "basic/macros.h"

struct pipe {
        uint8_t *data;
        size_t room, begin, size;
};

/* All of it, or -ENOMEM. */
int pipe_put(struct pipe *p, const void *data, size_t n) _must_check_;
/* At most n bytes; returns how many. */
size_t pipe_take(struct pipe *p, void *to, size_t n);
void pipe_done(struct pipe *p);
