/* SPDX-License-Identifier: Apache-2.0 */

/* While a model is loaded: heartbeats, which start the timeout of the lifecycle hook anew, and notices that the
 * instance is being taken away, which end the boot. The boot waits for neither: a thread of its own deals with both,
 * and after a fault of the metadata service or of Auto Scaling it tries again in the next round. */

#include <openssl/rand.h>

#include "basic/clock.h"
#include "boot/boot.h"

enum { LONGEST_MS = 2 * 60 * 60 * 1000 }; /* then the hook's own timeout decides */

/* Returns when there is something to do; false: the thread is to end. */
static bool wait_for_work(struct boot_keeper *k) {
        bool ended;

        pthread_mutex_lock(&k->lock);
        while (!k->ended) {
                int64_t left_ns = MIN_OF(k->next_beat_ns, k->next_look_ns) - clock_ns();
                struct timespec until;

                if (left_ns <= 0)
                        break;
                until = clock_condition_deadline((unsigned) MIN_OF(left_ns / NS_PER_MS + 1, (int64_t) 60000));
                pthread_cond_timedwait(&k->wake, &k->lock, &until);
        }
        ended = k->ended;
        pthread_mutex_unlock(&k->lock);
        return !ended;
}

/* ---- heartbeats */

/* After `low` to `high` percent of the interval, at random: instances that start together do not beat together. */
static int64_t after_beat(const struct boot *b, unsigned low, unsigned high) {
        uint16_t random = 0;

        (void) RAND_bytes((uint8_t *) &random, sizeof random);
        return clock_deadline_ns((int64_t) b->config->heartbeat_ms * (low + random % (high - low + 1)) / 100);
}

/* Auto Scaling refuses a heartbeat before the hook holds the instance, and after its timeout: that is no news. */
static void tell_refusal(struct boot *b, const struct error *e) {
        if (b->keeper.refused || strstr(e->reason, "No active Lifecycle Action"))
                return;
        b->keeper.refused = true;
        report_text(b->report, "lifecycle.heartbeat_error", e->reason);
        fprintf(stderr,
                "sealboot-agent: a heartbeat failed, on %s: %s; if all fail, the hook's timeout ends this boot\n",
                e->subject, e->reason);
}

static void beat(struct boot *b) {
        const struct service_access access = boot_access(b, b->config->endpoint_autoscaling);
        struct boot_keeper *k = &b->keeper;
        struct lifecycle_hook hook;
        struct error e = { 0 };

        (void) boot_identify(b, NULL);
        if (boot_find_hook(b, &hook) && hook.instance_id[0]) {
                if (autoscaling_heartbeat(&access, &hook, &e) == 0)
                        report_put(b->report, "lifecycle.heartbeats", json_object_new_int((int) ++k->beats));
                else
                        tell_refusal(b, &e);
        }
        k->next_beat_ns = after_beat(b, 75, 100);
        if (k->next_beat_ns > k->last_beat_ns)
                k->next_beat_ns = INT64_MAX;
}

/* ---- notices */

static int look_for_interruption(struct boot *b, struct error *e) {
        struct interruption i;
        int r;

        r = imds_interruption(b->keeper.imds, &i, e);
        if (r < 0 || !i.action)
                return r;
        return fail(e, FAILURE_RETIRED, -ECANCELED, "this instance", "EC2 interrupts this Spot instance: %s at %s",
                    i.action, i.time);
}

/* The main thread ends the boot, since it alone can wipe keys that it and the pipeline use. This thread ends, too: its
 * requests would be cancelled with those of the boot. */
static void give_up(struct boot *b, enum lifecycle_state state, const struct error *why) {
        struct boot_keeper *k = &b->keeper;

        pthread_mutex_lock(&k->lock);
        if (k->heeded) {
                k->state = state;
                k->notice = *why;
                k->ended = true;
                atomic_store(&b->cancelled, true);
        }
        pthread_mutex_unlock(&k->lock);
}

void boot_heed_notices(struct boot *b) {
        pthread_mutex_lock(&b->keeper.lock);
        b->keeper.heeded = true;
        pthread_mutex_unlock(&b->keeper.lock);
}

int boot_ignore_notices(struct boot *b, struct error *e) {
        struct boot_keeper *k = &b->keeper;
        bool noticed;

        pthread_mutex_lock(&k->lock);
        k->heeded = false;
        noticed = k->notice.failure != FAILURE_NONE;
        if (noticed) {
                *e = k->notice;
                b->lifecycle.state = k->state;
        }
        pthread_mutex_unlock(&k->lock);
        atomic_store(&b->cancelled, false); /* what is told at the end has to be sent */
        return noticed ? -ECANCELED : 0;
}

/* What changed since boot_await_service(). To be stopped needs no answer here: that waits for the hook. */
static void look(struct boot *b) {
        enum lifecycle_state state = LIFECYCLE_NONE;
        struct error e = { 0 };
        bool unused;
        int r;

        b->keeper.next_look_ns = clock_deadline_ns(boot_look_ms(b));
        r = imds_lifecycle_state(b->keeper.imds, &state, &e);
        if (r == 0)
                r = boot_judge_state(state, &unused, &e);
        if (r == 0)
                r = look_for_interruption(b, &e);
        if (r == -EBADMSG || (r < 0 && e.failure != FAILURE_IMDS && e.failure != FAILURE_INTERNAL))
                give_up(b, state, &e);
}

/* ---- the thread */

static void *keep(void *userdata) {
        struct boot *b = userdata;
        struct boot_keeper *k = &b->keeper;

        while (wait_for_work(k)) {
                if (clock_has_passed(k->next_beat_ns))
                        beat(b);
                if (clock_has_passed(k->next_look_ns))
                        look(b);
        }
        return NULL;
}

int boot_keep(struct boot *b, struct error *e) {
        struct boot_keeper *k = &b->keeper;
        struct lifecycle_hook hook;
        int r;

        r = imds_new(b->services.http, b->config->endpoint_imds, 1, &k->imds, e);
        if (r < 0)
                return r;
        clock_condition_init(&k->wake);
        k->next_look_ns = clock_deadline_ns(boot_look_ms(b));
        k->last_beat_ns = clock_deadline_ns(LONGEST_MS);
        k->next_beat_ns = boot_find_hook(b, &hook) ? after_beat(b, 0, 50) : INT64_MAX;
        r = pthread_create(&k->thread, NULL, keep, b);
        if (r != 0)
                return fail(e, FAILURE_INTERNAL, -r, "", "a thread cannot be started: %s", strerror(r));
        k->started = true;
        boot_heed_notices(b);
        return 0;
}

void boot_stop_keeping(struct boot *b) {
        struct boot_keeper *k = &b->keeper;

        if (!k->started)
                return;
        pthread_mutex_lock(&k->lock);
        k->ended = true;
        pthread_cond_signal(&k->wake);
        pthread_mutex_unlock(&k->lock);
}

void boot_keeper_done(struct boot *b) {
        boot_stop_keeping(b);
        atomic_store(&b->cancelled, true); /* nothing else asks any more; its last request may have no answer */
        if (b->keeper.started)
                pthread_join(b->keeper.thread, NULL);
        b->keeper.started = false;
        imds_free(b->keeper.imds);
}
