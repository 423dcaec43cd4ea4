/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Bytes on their way between the two sides of an exchange, first in, first out. Its memory grows with what is in it,
 * and is kept for as long as the pipe is in use: to free and allocate it for each piece costs more than the piece. */

#include "basic/macros.h"

struct pipe {
        uint8_t *data;
        size_t room, begin, size;
        bool used; /* since the last trim */
};

/* All of it, or -ENOMEM. */
int pipe_put(struct pipe *p, const void *data, size_t n) _must_check_;
/* At most n bytes; returns how many. */
size_t pipe_take(struct pipe *p, void *to, size_t n);
/* Call it now and then: frees the memory if the pipe is empty, and was not used since the last call. */
void pipe_trim(struct pipe *p);
void pipe_done(struct pipe *p);
