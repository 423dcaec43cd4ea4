/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/message-end.h"

#include "basic/reader.h"

struct search {
        const struct place *place;
        struct owner *owner;
        const char *name, *subject;
        const struct message_header *header;
        uint64_t size, stride;
};

enum at { AT_REGULAR, AT_FINAL, AT_NOTHING };

static uint64_t offset_of(const struct search *s, uint64_t frame) {
        return s->header->size + frame * s->stride;
}

/* What is at the place of this frame, counted from 0. *ret_end: where the final frame ends, if it is there. */
static int look(const struct search *s, uint64_t frame, enum at *ret, uint64_t *ret_end, struct error *e) {
        uint64_t offset = offset_of(s, frame);
        uint8_t head[MESSAGE_FINAL_HEAD];
        uint32_t mark, seq, length;
        struct reader r;
        size_t n;
        int k;

        n = (size_t) MIN_OF(s->size - MIN_OF(offset, s->size), (uint64_t) sizeof head);
        k = n > 0 ? place_read_at(s->place, s->owner, s->name, offset, head, n, e) : 0;
        if (k < 0)
                return k;
        r = reader_over(head, n);
        *ret = AT_NOTHING;
        if (reader_be32(&r, &mark) < 0)
                return 0;
        if (mark == frame + 1)
                *ret = AT_REGULAR;
        else if (mark == MESSAGE_FINAL_MARK && reader_be32(&r, &seq) == 0 && seq == frame + 1 &&
                 reader_skip(&r, MESSAGE_IV_SIZE) == 0 && reader_be32(&r, &length) == 0 &&
                 length <= s->header->frame_length) {
                *ret = AT_FINAL;
                *ret_end = offset + MESSAGE_FINAL_EXTRA + length;
        }
        return 0;
}

/* A binary search over regular frames, the final one, and trailing bytes. -ENOENT when there is no final frame. */
static int find_final(const struct search *s, uint64_t *ret_frames, uint64_t *ret_end, struct error *e) {
        uint64_t low = 0, high = (s->size - MIN_OF(s->size, (uint64_t) s->header->size)) / s->stride + 1,
                 frame = high - 1;
        enum at at = AT_NOTHING;
        int r;

        while (low < high) {
                r = look(s, frame, &at, ret_end, e);
                if (r < 0)
                        return r;
                if (at == AT_FINAL)
                        break;
                if (at == AT_REGULAR)
                        low = frame + 1;
                else
                        high = frame;
                frame = low + (high - low) / 2;
        }
        *ret_frames = at == AT_FINAL ? frame : low;
        return at == AT_FINAL ? 0 : -ENOENT;
}

static int judge(const struct search *s, struct error *e) {
        unsigned long long frames_, end_, size = s->size;
        uint64_t frames = 0, end = 0;
        int r;

        r = find_final(s, &frames, &end, e);
        if (r < 0 && r != -ENOENT)
                return r;
        frames_ = frames;
        end_ = end;
        if (r == -ENOENT)
                return fail(e, FAILURE_SEALED_FORMAT, -EBADMSG, s->subject,
                            "it has no final frame behind its first %llu whole frames: it was cut off, or what follows "
                            "them is not a frame",
                            frames_);
        if (end < s->size)
                return fail(e, FAILURE_SEALED_FORMAT, -EBADMSG, s->subject,
                            "it has %llu trailing byte%s behind its final frame, which ends at byte %llu of %llu",
                            size - end_, size - end_ == 1 ? "" : "s", end_, size);
        if (end > s->size)
                return fail(e, FAILURE_SEALED_FORMAT, -EBADMSG, s->subject,
                            "it is truncated: it lacks the last %llu byte%s of its final frame, which ends at byte "
                            "%llu",
                            end_ - size, end_ - size == 1 ? "" : "s", end_);
        return 0;
}

int message_end_check(const struct place *p, struct owner *owner, const char *name, const struct message_header *h,
                      uint64_t size, struct error *e) {
        struct search s = { p, owner, name, NULL, h, size, (uint64_t) h->frame_length + MESSAGE_FRAME_EXTRA };
        _cleanup_free_ char *subject = NULL;
        int r;

        r = place_subject(p, name, &subject, e);
        if (r < 0)
                return r;
        s.subject = subject;
        return judge(&s, e);
}
