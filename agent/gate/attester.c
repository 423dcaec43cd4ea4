/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/attester.h"

#include <pthread.h>

#include "basic/clock.h"
#include "basic/encode.h"
#include "evidence/nitrotpm.h"

enum {
        USER_DATA_MAX = 64,
        TPM_WAIT_MS = 10000,
        KEPT_MS = 60 * 1000, /* how old a document without nonce may be when it is given out */
};

struct attester {
        const char *tcti;
        uint8_t user_data[USER_DATA_MAX];
        size_t user_data_size;

        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        bool stop;
        struct share *share;
        struct attester_question *first, **last; /* waiting */
        size_t waiting;
        uint8_t *kept;
        size_t kept_size;
        int64_t kept_until_ns;
};

int attester_nonce_parse(const char *hex, struct attester_question *q) {
        size_t n = strlen(hex);

        if (n % 2 != 0 || n < 2 * ATTESTER_NONCE_MIN || n > 2 * ATTESTER_NONCE_MAX ||
            hex_decode(hex, q->nonce, n / 2) < 0)
                return -EINVAL;
        q->nonce_size = n / 2;
        return 0;
}

static void answer_with(struct attester_question *q, const uint8_t *document, size_t size) {
        q->document = malloc(size);
        if (!q->document) {
                q->result = fail_oom(&q->error);
                return;
        }
        memcpy(q->document, document, size);
        q->document_size = size;
        q->result = 0;
}

/* Whether the document that is kept is young enough; the lock is held. */
static bool is_kept(const struct attester *a) {
        return a->kept && !clock_has_passed(a->kept_until_ns);
}

static void keep(struct attester *a, const struct attester_question *q, int64_t began_ns) {
        uint8_t *copy = malloc(q->document_size);

        if (!copy)
                return;
        memcpy(copy, q->document, q->document_size);
        pthread_mutex_lock(&a->lock);
        free(a->kept);
        a->kept = copy;
        a->kept_size = q->document_size;
        a->kept_until_ns = began_ns + KEPT_MS * NS_PER_MS;
        pthread_mutex_unlock(&a->lock);
}

static void ask_tpm(struct attester *a, struct attester_question *q) {
        const struct attestation_request request = { .user_data = a->user_data,
                                                     .user_data_size = a->user_data_size,
                                                     .nonce = q->nonce_size > 0 ? q->nonce : NULL,
                                                     .nonce_size = q->nonce_size };
        _cleanup_tpm_ struct tpm *t = NULL;
        int64_t began = clock_ns();

        q->result = tpm_open(a->tcti, TPM_WAIT_MS, &t, &q->error);
        if (q->result == 0)
                q->result = nitrotpm_attest(t, &request, &q->document, &q->document_size, &q->error);
        if (q->result == 0 && q->nonce_size == 0)
                keep(a, q, began);
}

/* Takes the first question; the lock is held. */
static struct attester_question *take(struct attester *a) {
        struct attester_question *q = a->first;

        a->first = q->next;
        if (!a->first)
                a->last = &a->first;
        a->waiting--;
        return q;
}

static void *work(void *userdata) {
        struct attester *a = userdata;

        pthread_mutex_lock(&a->lock);
        for (;;) {
                struct attester_question *q;

                while (!a->stop && !a->first)
                        pthread_cond_wait(&a->changed, &a->lock);
                if (!a->first)
                        break;
                q = take(a);
                if (a->stop)
                        q->result = fail(&q->error, FAILURE_STOPPED, -ESHUTDOWN, "", "the gate is stopping");
                else if (q->nonce_size == 0 && is_kept(a)) /* made for another, meanwhile */
                        answer_with(q, a->kept, a->kept_size);
                else {
                        pthread_mutex_unlock(&a->lock);
                        ask_tpm(a, q);
                        pthread_mutex_lock(&a->lock);
                }
                pthread_mutex_unlock(&a->lock);
                q->done(q);
                pthread_mutex_lock(&a->lock);
        }
        pthread_mutex_unlock(&a->lock);
        return NULL;
}

int attester_new(const char *tcti, const void *user_data, size_t user_data_size, struct share *share,
                 struct attester **ret, struct error *e) {
        struct attester *a = calloc(1, sizeof *a);
        int r;

        if (!a || user_data_size > sizeof a->user_data) {
                share_free(share);
                free(a);
                return fail_oom(e);
        }
        a->tcti = tcti;
        memcpy(a->user_data, user_data, user_data_size);
        a->user_data_size = user_data_size;
        a->share = share;
        a->last = &a->first;
        pthread_mutex_init(&a->lock, NULL);
        pthread_cond_init(&a->changed, NULL);
        r = pthread_create(&a->thread, NULL, work, a);
        if (r != 0) {
                share_free(share);
                free(a);
                return fail(e, FAILURE_INTERNAL, -r, "", "cannot start a thread: %s", strerror(r));
        }
        *ret = a;
        return 0;
}

void attester_stop(struct attester *a) {
        bool stopped;

        pthread_mutex_lock(&a->lock);
        stopped = a->stop;
        a->stop = true;
        pthread_cond_signal(&a->changed);
        pthread_mutex_unlock(&a->lock);
        if (!stopped)
                pthread_join(a->thread, NULL);
}

void attester_free(struct attester *a) {
        if (!a)
                return;
        attester_stop(a);
        pthread_cond_destroy(&a->changed);
        pthread_mutex_destroy(&a->lock);
        share_free(a->share);
        free(a->kept);
        free(a);
}

/* The lock is held. Those who have no nonce wait for one document together, so their number costs nothing. */
static int enqueue(struct attester *a, struct attester_question *q, unsigned *ret_seconds) {
        if (a->stop)
                return -ESHUTDOWN;
        if (a->waiting >= (q->nonce_size > 0 ? ATTESTER_WAITING_MAX : 16 * ATTESTER_WAITING_MAX))
                return -EBUSY;
        if (q->nonce_size > 0) {
                *ret_seconds = share_take(a->share, &q->address, (uint64_t) (clock_ns() / NS_PER_MS));
                if (*ret_seconds > 0)
                        return -EAGAIN;
        }
        if (q->queued)
                q->queued(q);
        q->next = NULL;
        *a->last = q;
        a->last = &q->next;
        a->waiting++;
        pthread_cond_signal(&a->changed);
        return 0;
}

int attester_ask(struct attester *a, struct attester_question *q, unsigned *ret_seconds) {
        int r;

        pthread_mutex_lock(&a->lock);
        if (q->nonce_size == 0 && is_kept(a)) {
                answer_with(q, a->kept, a->kept_size);
                r = 1;
        } else
                r = enqueue(a, q, ret_seconds);
        pthread_mutex_unlock(&a->lock);
        return r;
}
