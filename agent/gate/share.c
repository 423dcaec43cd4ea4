/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/share.h"

#include "gate/bucket.h"

enum { MINUTE_MS = 60 * 1000, PARTS = 3 };

struct served {
        struct address address;
        uint64_t at_ms;
};

struct share {
        struct bucket common, reserve;
        /* Whoever had something in the last minute. There is room for as many as a minute can have. */
        struct served *served;
        size_t n, room, next;
};

int share_new(uint32_t per_minute, uint32_t burst, bool reserved, struct share **ret, struct error *e) {
        uint32_t part = reserved ? per_minute / PARTS : 0;
        struct share *s = calloc(1, sizeof *s);

        if (!s)
                return fail_oom(e);
        s->common = bucket_full(per_minute - part, MAX_OF(burst - (part > 0 ? burst / PARTS : 0), (uint32_t) 1));
        if (part > 0) {
                s->reserve = bucket_full(part, MAX_OF(burst / PARTS, (uint32_t) 1));
                s->room = (size_t) per_minute + burst + 2;
                s->served = calloc(s->room, sizeof *s->served);
        }
        if (part > 0 && !s->served) {
                share_free(s);
                return fail_oom(e);
        }
        *ret = s;
        return 0;
}

void share_free(struct share *s) {
        if (!s)
                return;
        free(s->served);
        free(s);
}

static bool was_served(const struct share *s, const struct address *a, uint64_t now_ms) {
        for (size_t i = 0; i < s->n; i++)
                if (s->served[i].at_ms + MINUTE_MS > now_ms && address_equal(&s->served[i].address, a))
                        return true;
        return false;
}

unsigned share_take(struct share *s, const struct address *a, uint64_t now_ms) {
        unsigned seconds = bucket_take(&s->common, now_ms);

        if (seconds > 0 && s->room > 0 && !was_served(s, a, now_ms) && bucket_take(&s->reserve, now_ms) == 0)
                seconds = 0;
        if (seconds > 0 || s->room == 0)
                return seconds;
        s->served[s->next] = (struct served) { *a, now_ms };
        s->next = (s->next + 1) % s->room;
        s->n = MIN_OF(s->n + 1, s->room);
        return 0;
}
