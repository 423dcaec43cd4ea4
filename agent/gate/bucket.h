/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A token bucket: at most `burst` at once, and `per_minute` in the long run. Not for use by two threads at once. */

#include "basic/macros.h"

struct bucket {
        uint32_t per_minute, burst; /* per_minute 0: no limit */
        uint64_t room;              /* in tokens of 60,000 parts: what one minute has of milliseconds */
        uint64_t last_ms;
};

struct bucket bucket_full(uint32_t per_minute, uint32_t burst);

/* Takes a token at this moment (any clock that does not run backwards): 0. Where there is none: the number of whole
 * seconds, at least one, after which there will be. */
unsigned bucket_take(struct bucket *b, uint64_t now_ms);
/* The same, without taking it. */
unsigned bucket_wait(struct bucket *b, uint64_t now_ms);
