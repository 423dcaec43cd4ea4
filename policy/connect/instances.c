/* SPDX-License-Identifier: Apache-2.0 */
#include "connect/instances.h"

#include <pthread.h>

#include "basic/clock.h"
#include "basic/utf8.h"

enum { REFUSAL_HOLDS_SECONDS = 30 };

struct instances {
        pthread_mutex_t lock;
        int64_t max_age_ns;
        struct instance items[INSTANCES_MAX];
        size_t n;
};

int instances_new(int64_t max_age_seconds, struct instances **ret, struct error *e) {
        struct instances *s = calloc(1, sizeof *s);

        if (!s)
                return fail_oom(e);
        pthread_mutex_init(&s->lock, NULL);
        s->max_age_ns = MIN_OF(max_age_seconds, INT64_MAX / NS_PER_SECOND / 2) * NS_PER_SECOND;
        *ret = s;
        return 0;
}

static void forget(struct instance *i) {
        json_object_put(i->verdict);
        json_object_put(i->certificates);
        json_object_put(i->report);
        *i = (struct instance) {};
}

void instances_free(struct instances *s) {
        if (!s)
                return;
        for (size_t i = 0; i < s->n; i++)
                forget(&s->items[i]);
        pthread_mutex_destroy(&s->lock);
        free(s);
}

static struct instance *find(struct instances *s, const uint8_t key[static KEY_ID_SIZE]) {
        for (size_t i = 0; i < s->n; i++)
                if (memcmp(s->items[i].key, key, KEY_ID_SIZE) == 0)
                        return &s->items[i];
        return NULL;
}

static bool accepted(const struct instances *s, const struct instance *i) {
        return i && i->state == INSTANCE_ATTESTED && clock_ns() - i->judged_ns <= s->max_age_ns;
}

/* A new entry; when there are too many, in the place of the one that was judged first of those not accepted, or of all.
 */
static struct instance *add(struct instances *s, const uint8_t key[static KEY_ID_SIZE]) {
        struct instance *oldest = NULL;

        if (s->n < INSTANCES_MAX)
                oldest = &s->items[s->n++];
        for (size_t i = 0; !oldest && i < s->n; i++)
                if (!accepted(s, &s->items[i]))
                        oldest = &s->items[i];
        for (size_t i = 0; s->n == INSTANCES_MAX && i < s->n; i++)
                if (!oldest ||
                    (accepted(s, &s->items[i]) == accepted(s, oldest) && s->items[i].judged_ns < oldest->judged_ns))
                        oldest = &s->items[i];
        forget(oldest);
        memcpy(oldest->key, key, KEY_ID_SIZE);
        oldest->first_seen = wall_clock_seconds();
        return oldest;
}

bool instances_accept(struct instances *s, const uint8_t key[static KEY_ID_SIZE]) {
        bool yes;

        pthread_mutex_lock(&s->lock);
        yes = accepted(s, find(s, key));
        pthread_mutex_unlock(&s->lock);
        return yes;
}

bool instances_due(struct instances *s, const uint8_t key[static KEY_ID_SIZE]) {
        const struct instance *i;
        bool yes;

        pthread_mutex_lock(&s->lock);
        i = find(s, key);
        yes = accepted(s, i) && clock_ns() - i->judged_ns > s->max_age_ns / 4 * 3;
        pthread_mutex_unlock(&s->lock);
        return yes;
}

bool instances_refused(struct instances *s, const uint8_t key[static KEY_ID_SIZE], char *ret_reason, size_t size) {
        const struct instance *i;
        bool yes;

        pthread_mutex_lock(&s->lock);
        i = find(s, key);
        yes = i && i->state == INSTANCE_REFUSED && clock_seconds_since(i->judged_ns) < REFUSAL_HOLDS_SECONDS;
        if (yes)
                snprintf(ret_reason, size, "%s", i->reason);
        pthread_mutex_unlock(&s->lock);
        return yes;
}

size_t instances_accepted(struct instances *s) {
        size_t n = 0;

        pthread_mutex_lock(&s->lock);
        for (size_t i = 0; i < s->n; i++)
                n += accepted(s, &s->items[i]);
        pthread_mutex_unlock(&s->lock);
        return n;
}

int instances_judge(struct instances *s, const uint8_t key[static KEY_ID_SIZE], const char *reason, int64_t signed_ms,
                    json_object *verdict, json_object *certificates) {
        struct instance *i;

        pthread_mutex_lock(&s->lock);
        i = find(s, key) ?: add(s, key);
        json_object_put(i->verdict);
        json_object_put(i->certificates);
        i->verdict = verdict;
        i->certificates = certificates;
        i->state = reason ? INSTANCE_REFUSED : INSTANCE_ATTESTED;
        i->judged = wall_clock_seconds();
        i->judged_ns = clock_ns();
        i->signed_ms = signed_ms;
        snprintf(i->reason, sizeof i->reason, "%s", reason ?: "");
        utf8_make_printable(i->reason);
        pthread_mutex_unlock(&s->lock);
        return 0;
}

void instances_reached(struct instances *s, const uint8_t key[static KEY_ID_SIZE], const char *address,
                       const char *protocol) {
        struct instance *i;

        pthread_mutex_lock(&s->lock);
        i = find(s, key);
        if (i) {
                snprintf(i->address, sizeof i->address, "%s", address);
                snprintf(i->protocol, sizeof i->protocol, "%s", protocol);
                utf8_make_printable(i->address);
                utf8_make_printable(i->protocol);
        }
        pthread_mutex_unlock(&s->lock);
}

void instances_count(struct instances *s, const uint8_t key[static KEY_ID_SIZE]) {
        struct instance *i;

        pthread_mutex_lock(&s->lock);
        i = find(s, key);
        if (i)
                i->requests++;
        pthread_mutex_unlock(&s->lock);
}

bool instances_lack_report(struct instances *s, const uint8_t key[static KEY_ID_SIZE]) {
        const struct instance *i;
        bool yes;

        pthread_mutex_lock(&s->lock);
        i = find(s, key);
        yes = i && !i->report;
        pthread_mutex_unlock(&s->lock);
        return yes;
}

void instances_report(struct instances *s, const uint8_t key[static KEY_ID_SIZE], json_object *report) {
        struct instance *i;

        pthread_mutex_lock(&s->lock);
        i = find(s, key);
        if (i && !i->report)
                i->report = TAKE(report);
        pthread_mutex_unlock(&s->lock);
        json_object_put(report);
}

void instances_each(struct instances *s, void (*see)(const struct instance *i, bool accepted, void *userdata),
                    void *userdata) {
        int64_t before = INT64_MAX;

        pthread_mutex_lock(&s->lock);
        for (size_t seen = 0; seen < s->n; seen++) {
                const struct instance *next = NULL;

                for (size_t i = 0; i < s->n; i++)
                        if (s->items[i].judged_ns < before && (!next || s->items[i].judged_ns > next->judged_ns))
                                next = &s->items[i];
                if (!next)
                        break;
                before = next->judged_ns;
                see(next, accepted(s, next), userdata);
        }
        pthread_mutex_unlock(&s->lock);
}

int64_t instances_max_age(const struct instances *s) {
        return s->max_age_ns / NS_PER_SECOND;
}
