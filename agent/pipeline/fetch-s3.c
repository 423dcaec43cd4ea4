/* SPDX-License-Identifier: Apache-2.0 */

/* The S3 source: each worker thread drives its share of the connections with one loop. A slot is one connection
 * and the part on it. Before the data key is known, a slot waits with its complete part: at most one part for each
 * connection is fetched ahead. */

#include <sched.h>

#include "aws/s3.h"
#include "basic/clock.h"
#include "pipeline/loop.h"
#include "pipeline/part.h"

enum {
        /* The first number of connections, since larger instances have faster networks. tuning.h changes it then. */
        CONNECTIONS_FEWEST = 8,
        CONNECTIONS_PER_WORKER = 4,
        CONNECTIONS_MAX = 128,
        RECEIVE_BUFFER = 256 * 1024, /* curl reads as much at once; with TLS, records of 16 KiB */
        POLL_MS = 1000,
        /* Up to so many workers, their windows take WINDOWS_BYTES together: the agent needs at most 64 MiB there.
         * Larger machines have memory, and more workers that wait for the lock of a file: each window has its full
         * size. */
        WORKERS_SMALL = 8,
        WINDOWS_BYTES = 16 * 1024 * 1024,
};

/* AES-128 costs a quarter less than AES-256, and suffices: the bytes are sealed already. */
#define TLS_1_2_CIPHERS "ECDHE+AESGCM+AES128:ECDHE+AESGCM:ECDHE+CHACHA20"
#define TLS_1_3_CIPHERS "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

/* With S3, a range fails now and then. A message is shown after this many failures without progress. */
enum { ATTEMPTS_TOLD = 3 };
static const struct retry_policy range_policy = { .deadline_ms = 60 * 1000, .base_ms = 50, .cap_ms = 5000 };

enum slot_state { SLOT_IDLE, SLOT_BACKOFF, SLOT_RUNNING, SLOT_WAITS_FOR_KEY };

struct slot {
        enum slot_state state;
        struct part part;
        CURL *easy;
        struct http_call *call;
        struct retry retry;
        bool refresh;     /* the next attempt needs new credentials */
        int64_t again_ns; /* SLOT_BACKOFF: the time of the next attempt */
        uint64_t reached; /* part_reached() when this attempt began */
};

/* One worker thread's own. */
struct lane {
        struct unseal *job;
        struct loop *loop;
        struct verity_hash *hash;
        struct slot *slots;
        size_t n_slots;
};

static void slot_release(struct slot *s) {
        http_call_free(TAKE(s->call));
        job_release(TAKE(s->part.file));
        s->state = SLOT_IDLE;
}

static void slot_cancel(struct lane *l, struct slot *s) {
        if (s->state == SLOT_RUNNING)
                loop_remove(l->loop, s->easy);
        slot_release(s);
}

/* Ends the part with an error of its file. */
static void slot_fail(struct slot *s, int r, const struct error *e) {
        job_file_fail(s->part.file, r, e);
        slot_release(s);
}

static size_t on_body(char *data, size_t size, size_t n, void *userdata) {
        struct slot *s = userdata;
        struct file *f = s->part.file;
        struct s3_range range;

        n *= size;
        if (job_stopped(f->job) || f->state == FILE_DROPPED)
                return 0;
        if (s3_range_answer(s->call, &range) == 0)
                return http_call_body(s->call, data, n) == 0 ? n : 0;
        if (f->header && range.total != f->geometry.object_size) {
                fail(&s->part.error, FAILURE_S3_CHANGED, -ESTALE, f->subject, "it had %llu bytes and now has %llu",
                     (unsigned long long) f->geometry.object_size, (unsigned long long) range.total);
                return 0;
        }
        atomic_fetch_add_explicit(&f->job->fetched, n, memory_order_relaxed);
        return part_feed(&s->part, (const uint8_t *) data, n, range.total, range.last + 1, range.etag) < 0 ? 0 : n;
}

static int slot_transfer(struct lane *l, struct slot *s, struct error *e) {
        struct file *f = s->part.file;
        uint64_t first, last;
        int r;

        part_range(&s->part, &first, &last);
        r = s3_prepare_range(l->job->options.s3, s->easy, f->model->bucket, f->key, first, last,
                             f->header ? f->etag : NULL, s->refresh, &s->call, e);
        if (r < 0)
                return r;
        s->reached = part_reached(&s->part);
        s->refresh = false;
        /* A libcurl without OpenSSL may refuse these lists. Its own choice is safe, too. */
        (void) curl_easy_setopt(s->easy, CURLOPT_SSL_CIPHER_LIST, TLS_1_2_CIPHERS);
        (void) curl_easy_setopt(s->easy, CURLOPT_TLS13_CIPHERS, TLS_1_3_CIPHERS);
        if (curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, on_body) != CURLE_OK ||
            curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, s) != CURLE_OK ||
            curl_easy_setopt(s->easy, CURLOPT_PRIVATE, s) != CURLE_OK ||
            curl_easy_setopt(s->easy, CURLOPT_BUFFERSIZE, (long) RECEIVE_BUFFER) != CURLE_OK ||
            loop_add(l->loop, s->easy) < 0)
                return fail(e, FAILURE_INTERNAL, -EIO, f->subject, "libcurl refused a transfer");
        s->state = SLOT_RUNNING;
        return 0;
}

static void slot_begin(struct lane *l, struct slot *s) {
        struct error e = { 0 };
        int r;

        r = slot_transfer(l, s, &e);
        if (r < 0)
                slot_fail(s, r, &e);
}

/* Makes what a slot needs, when it gets its first part: most jobs do not use all slots. */
static int slot_ready(struct lane *l, struct slot *s, struct error *e) {
        int r;

        if (s->easy)
                return 0;
        r = part_init(&s->part, l->hash, e);
        if (r == 0 && !(s->easy = curl_easy_init()))
                r = fail_oom(e);
        if (r < 0)
                part_done(&s->part);
        return r;
}

static size_t window_now(const struct unseal *u) {
        size_t n = atomic_load_explicit(&u->connections, memory_order_relaxed), window = WINDOW_MAX;

        while (u->n_lanes <= WORKERS_SMALL && window > CHUNK && n * window > WINDOWS_BYTES)
                window /= 2;
        return window;
}

/* False: there is no part to take now. */
static bool slot_take(struct lane *l, struct slot *s) {
        struct error e = { 0 };
        uint32_t first, end;
        struct file *f;
        int r;

        if (!job_take(l->job, &f, &first, &end))
                return false;
        retry_begin(&s->retry, &range_policy);
        r = slot_ready(l, s, &e);
        s->part.file = f;
        if (r < 0)
                slot_fail(s, r, &e);
        else if ((r = part_begin(&s->part, f, first, end, window_now(l->job))) < 0)
                slot_fail(s, r, &s->part.error);
        else
                slot_begin(l, s);
        return true;
}

static void slot_finish(struct slot *s) {
        int r;

        if (s->part.n_raw > 0 && !atomic_load_explicit(&s->part.file->job->has_key, memory_order_acquire)) {
                s->state = SLOT_WAITS_FOR_KEY;
                return;
        }
        r = part_finish(&s->part);
        if (r < 0)
                slot_fail(s, r, &s->part.error);
        else
                slot_release(s);
}

static void slot_retry(struct slot *s, bool refresh, struct error *why) {
        struct unseal *u = s->part.file->job;
        unsigned wait_ms;

        /* The deadline is for transfers without progress: it begins again after each transfer that brought whole
         * frames. */
        part_rewind(&s->part);
        if (s->retry.attempts == 0 || part_reached(&s->part) > s->reached)
                retry_begin(&s->retry, &range_policy);
        if (!retry_next(&s->retry, why, &wait_ms)) {
                retry_explain(&s->retry, why);
                slot_fail(s, -ETIMEDOUT, why);
                return;
        }
        atomic_fetch_add(&u->retries, 1);
        if (s->retry.attempts >= ATTEMPTS_TOLD)
                s3_tell_retry(u->options.s3, why, wait_ms);
        s->refresh = refresh;
        s->again_ns = clock_deadline_ns(wait_ms);
        s->state = SLOT_BACKOFF;
}

static void slot_ended(struct lane *l, struct slot *s, CURLcode code) {
        struct file *f = s->part.file;
        struct error e = { 0 };
        enum http_verdict verdict = s3_judge_range(s->call, code, &e);

        loop_remove(l->loop, s->easy);
        http_call_free(TAKE(s->call));
        if (job_stopped(l->job) || f->state == FILE_DROPPED)
                slot_release(s);
        else if (s->part.error.failure != FAILURE_NONE)
                slot_fail(s, -EBADMSG, &s->part.error);
        else if (part_full(&s->part)) /* a first request asks for more than its part */
                slot_finish(s);
        else if (verdict == HTTP_OK) {
                fail(&e, FAILURE_SEALED_FORMAT, -EBADMSG, f->subject, "it is truncated: it ends inside %s",
                     s->part.phase == PART_HEADER ? "the message header" : "a frame");
                slot_fail(s, -EBADMSG, &e);
        } else if (verdict == HTTP_FINAL)
                slot_fail(s, -EIO, &e);
        else
                slot_retry(s, verdict == HTTP_REFRESH, &e);
}

/* Gives each slot that can go on something to do. *ret_sleep_ms: how long the lane may sleep. False: nothing is left to
 * do.
 */
static bool lane_advance(struct lane *l, int *ret_sleep_ms) {
        size_t open = atomic_load_explicit(&l->job->connections, memory_order_relaxed) / l->job->n_lanes;
        bool busy = false, running = false, has_key = atomic_load_explicit(&l->job->has_key, memory_order_acquire);
        int64_t now = clock_ns();
        int sleep_ms = POLL_MS;

        for (size_t i = 0; i < l->n_slots; i++) {
                struct slot *s = &l->slots[i];

                if (s->state != SLOT_IDLE && s->part.file->state == FILE_DROPPED)
                        slot_cancel(l, s);
                if (s->state == SLOT_WAITS_FOR_KEY && has_key) {
                        slot_finish(s);
                        sleep_ms = 0;
                }
                if (s->state == SLOT_BACKOFF && s->again_ns <= now)
                        slot_begin(l, s);
                else if (s->state == SLOT_BACKOFF)
                        sleep_ms = MIN_OF(sleep_ms, (int) ((s->again_ns - now) / NS_PER_MS) + 1);
                if (s->state == SLOT_IDLE && i < MAX_OF(open, (size_t) 1) && slot_take(l, s))
                        sleep_ms = 0;
                busy = busy || s->state != SLOT_IDLE;
                running = running || s->state == SLOT_RUNNING;
        }
        if (!has_key && !running && sleep_ms > 0 && job_populate(l->job))
                sleep_ms = 0;
        *ret_sleep_ms = sleep_ms;
        return busy || !job_idle_forever(l->job);
}

static int lane_transfer(struct lane *l, int sleep_ms) {
        int r = loop_run(l->loop, sleep_ms);
        CURLcode code;
        CURL *easy;

        while (r == 0 && (easy = loop_ended(l->loop, &code))) {
                struct slot *s;

                if (curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **) &s) == CURLE_OK)
                        slot_ended(l, s, code);
        }
        return r;
}

static void *run(void *userdata) {
        struct lane *l = userdata;
        int sleep_ms;

        while (!job_stopped(l->job) && lane_advance(l, &sleep_ms)) {
                struct error e;
                int r = lane_transfer(l, sleep_ms);

                if (r < 0) {
                        fail(&e, FAILURE_INTERNAL, r, "", "the transfers cannot go on: %s", strerror(-r));
                        job_fail(l->job, r, &e);
                }
        }
        for (size_t i = 0; i < l->n_slots; i++)
                part_done(&l->slots[i].part); /* it has a key */
        return NULL;
}

/* ---- setting up and taking down */

static void lane_free(struct lane *l) {
        if (!l)
                return;
        for (size_t i = 0; i < l->n_slots; i++) {
                struct slot *s = &l->slots[i];

                if (s->state == SLOT_RUNNING)
                        loop_remove(l->loop, s->easy);
                http_call_free(s->call);
                part_done(&s->part);
                curl_easy_cleanup(s->easy);
        }
        free(l->slots);
        loop_free(l->loop);
        verity_hash_free(l->hash);
        free(l);
}
DEFINE_CLEANUP(struct lane *, lane_free, lane_freep)

static int lane_new(struct unseal *u, size_t n_slots, struct lane **ret, struct error *e) {
        _cleanup_(lane_freep) struct lane *l = calloc(1, sizeof *l);
        int r;

        if (!l)
                return fail_oom(e);
        l->job = u;
        l->slots = calloc(n_slots, sizeof *l->slots);
        if (!l->slots)
                return fail_oom(e);
        l->n_slots = n_slots;
        r = loop_new(n_slots, &l->loop, e);
        if (r < 0)
                return r;
        r = verity_hash_new_with(u->options.engine, &l->hash, e);
        if (r < 0)
                return r;
        *ret = TAKE(l);
        return 0;
}

static void wake(struct unseal *u) {
        for (size_t i = 0; i < u->n_threads; i++)
                loop_wake(((struct lane *) u->worker_state[i])->loop);
}

unsigned fetch_workers(const struct unseal_options *o) {
        cpu_set_t cpus;

        if (o->workers > 0)
                return o->workers;
        return sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? (unsigned) CPU_COUNT(&cpus) : 1;
}

/* Called about four times a second with the rate since the last call. */
void fetch_tune(struct unseal *u, double bytes_per_second) {
        unsigned n = atomic_load_explicit(&u->connections, memory_order_relaxed), next;

        if (!u->options.s3 || u->options.connections > 0)
                return;
        next = tuning_next(&u->tuning, n, u->max_connections, bytes_per_second, tuning_idle(&u->tuning));
        if (next == n)
                return;
        atomic_store_explicit(&u->connections, next, memory_order_relaxed);
        u->wake(u);
}

static unsigned connections_first(unsigned workers) {
        unsigned n = MAX_OF(CONNECTIONS_PER_WORKER * workers, (unsigned) CONNECTIONS_FEWEST);

        return MAX_OF(MIN_OF(n, (unsigned) CONNECTIONS_MAX), workers);
}

int fetch_s3_start(struct unseal *u, struct error *e) {
        unsigned fixed = u->options.connections, workers = fetch_workers(&u->options), lane_slots;
        int r;

        /* Each worker needs a connection. */
        workers = fixed > 0 ? MIN_OF(workers, fixed) : workers;
        u->n_lanes = workers;
        u->max_connections = fixed ?: MAX_OF((unsigned) CONNECTIONS_MAX, workers);
        atomic_init(&u->connections, fixed ?: connections_first(workers));
        lane_slots = (u->max_connections + workers - 1) / workers;
        (void) tuning_idle(&u->tuning);
        u->wake = wake;
        u->threads = calloc(workers, sizeof *u->threads);
        u->worker_state = calloc(workers, sizeof *u->worker_state);
        if (!u->threads || !u->worker_state)
                return fail_oom(e);
        for (unsigned i = 0; i < workers; i++) {
                struct lane *l;

                r = lane_new(u, lane_slots, &l, e);
                if (r < 0)
                        return r;
                u->worker_state[i] = l;
                r = pthread_create(&u->threads[i], NULL, run, l);
                if (r != 0) {
                        u->worker_state[i] = NULL;
                        lane_free(l);
                        return fail(e, FAILURE_INTERNAL, -r, "", "no thread can be started: %s", strerror(r));
                }
                pthread_mutex_lock(&u->lock);
                u->n_threads = i + 1;
                pthread_mutex_unlock(&u->lock);
        }
        return 0;
}

void fetch_free(struct unseal *u) {
        for (size_t i = 0; u->options.s3 && i < u->n_threads; i++)
                lane_free(u->worker_state[i]);
        free(u->worker_state);
        free(u->threads);
}
