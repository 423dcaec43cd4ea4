/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/bucket.h"

enum { PARTS = 60 * 1000 };

struct bucket bucket_full(uint32_t per_minute, uint32_t burst) {
        return (struct bucket) { .per_minute = per_minute, .burst = burst, .room = (uint64_t) burst * PARTS };
}

unsigned bucket_wait(struct bucket *b, uint64_t now_ms) {
        uint64_t full = (uint64_t) b->burst * PARTS, passed = now_ms > b->last_ms ? now_ms - b->last_ms : 0, missing;

        if (b->per_minute == 0)
                return 0;
        /* As many milliseconds as fill the bucket are enough; more could overflow. */
        passed = MIN_OF(passed, full / b->per_minute + 1);
        b->room = MIN_OF(full, b->room + passed * b->per_minute);
        b->last_ms = MAX_OF(b->last_ms, now_ms);
        if (b->room >= PARTS)
                return 0;
        missing = PARTS - b->room;
        return (unsigned) (((missing + b->per_minute - 1) / b->per_minute + 999) / 1000);
}

unsigned bucket_take(struct bucket *b, uint64_t now_ms) {
        unsigned seconds = bucket_wait(b, now_ms);

        if (seconds == 0 && b->per_minute > 0)
                b->room -= PARTS;
        return seconds;
}
