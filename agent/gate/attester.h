/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Documents that bind the TLS key, from one thread that asks the NitroTPM for one at a time. Without a nonce, all who
 * ask within a minute get the same document. With a nonce, each costs a TPM command: they are limited in number, and
 * few may wait, and share.h divides them among addresses. */

#include "basic/failure.h"
#include "gate/share.h"

enum { ATTESTER_NONCE_MIN = 8, ATTESTER_NONCE_MAX = 64, ATTESTER_WAITING_MAX = 16 };

struct attester;

/* One question. Belongs to the caller; between attester_ask() and `done` it is the attester's. */
struct attester_question {
        uint8_t nonce[ATTESTER_NONCE_MAX];
        size_t nonce_size; /* 0: none */
        struct address address;
        /* Called before `done`, by the thread that asks: the answer has to be waited for. */
        void (*queued)(struct attester_question *q);
        /* Called by the attester's thread once the answer is there. */
        void (*done)(struct attester_question *q);

        int result; /* of the NitroTPM: 0 or a negative errno, with `error` */
        struct error error;
        uint8_t *document; /* malloc'ed */
        size_t document_size;
        struct attester_question *next;
};

/* `user_data` is copied; `tcti` is borrowed, and `share` taken over, also on failure. */
int attester_new(const char *tcti, const void *user_data, size_t user_data_size, struct share *share,
                 struct attester **ret, struct error *e);
/* Answers what waits, and whatever is asked from then on, with -ESHUTDOWN. */
void attester_stop(struct attester *a);
void attester_free(struct attester *a);
DEFINE_CLEANUP(struct attester *, attester_free, attester_freep)

/* 16 to 128 hex digits. -EINVAL. */
int attester_nonce_parse(const char *hex, struct attester_question *q) _must_check_;

/* 1: answered at once, from the document that is kept. 0: `done` will be called. -EAGAIN: too many with a nonce, try
 * again in *ret_seconds; -EBUSY: too many wait; -ESHUTDOWN. */
int attester_ask(struct attester *a, struct attester_question *q, unsigned *ret_seconds);
