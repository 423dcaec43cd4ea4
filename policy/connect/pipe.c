/* SPDX-License-Identifier: Apache-2.0 */
#include "connect/pipe.h"

enum { ROOM_FIRST = 1024 };

static int make_room(struct pipe *p, size_t n) {
        size_t room = MAX_OF(p->room, (size_t) ROOM_FIRST);
        uint8_t *data;

        if (n > SIZE_MAX / 4 - p->size)
                return -ENOMEM;
        if (p->begin + p->size + n <= p->room)
                return 0;
        if (p->size + n <= p->room) {
                memmove(p->data, p->data + p->begin, p->size);
                p->begin = 0;
                return 0;
        }
        while (room < p->size + n)
                room *= 2;
        data = malloc(room);
        if (!data)
                return -ENOMEM;
        if (p->size > 0)
                memcpy(data, p->data + p->begin, p->size);
        free(p->data);
        *p = (struct pipe) { .data = data, .room = room, .size = p->size };
        return 0;
}

int pipe_put(struct pipe *p, const void *data, size_t n) {
        int r;

        if (n == 0)
                return 0;
        r = make_room(p, n);
        if (r < 0)
                return r;
        memcpy(p->data + p->begin + p->size, data, n);
        p->size += n;
        return 0;
}

size_t pipe_take(struct pipe *p, void *to, size_t n) {
        n = MIN_OF(n, p->size);
        if (n == 0)
                return 0;
        memcpy(to, p->data + p->begin, n);
        p->begin += n;
        p->size -= n;
        if (p->size == 0)
                p->begin = 0;
        p->used = true;
        return n;
}

void pipe_trim(struct pipe *p) {
        if (p->size == 0 && !p->used)
                pipe_done(p);
        p->used = false;
}

void pipe_done(struct pipe *p) {
        free(p->data);
        *p = (struct pipe) {};
}
