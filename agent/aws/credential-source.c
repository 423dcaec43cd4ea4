/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/credential-source.h"

#include <pthread.h>

#include "basic/clock.h"

enum { REFRESH_BEFORE_SECONDS = 5 * 60 };
#define REFRESH_AT_MOST_NS (2 * NS_PER_SECOND)
#define REFRESH_AGAIN_NS (30 * NS_PER_SECOND)

struct credential_source {
        pthread_mutex_t lock;
        struct imds *imds; /* NULL: `current` is never renewed */
        struct credentials *current;
        int64_t failed_ns; /* when the last refresh failed; 0: it succeeded */
};

static int source_new(struct imds *imds, struct credentials *fixed, struct credential_source **ret, struct error *e) {
        struct credential_source *s = calloc(1, sizeof *s);

        if (!s)
                return fail_oom(e);
        pthread_mutex_init(&s->lock, NULL);
        s->imds = imds;
        s->current = fixed ? credentials_ref(fixed) : NULL;
        *ret = s;
        return 0;
}

void credential_source_free(struct credential_source *s) {
        if (!s)
                return;
        credentials_unref(s->current);
        pthread_mutex_destroy(&s->lock);
        free(s);
}

int credentials_from_imds(struct imds *imds, struct credential_source **ret, struct error *e) {
        return source_new(imds, NULL, ret, e);
}

int credentials_fixed(struct credentials *credentials, struct credential_source **ret, struct error *e) {
        return source_new(NULL, credentials, ret, e);
}

static bool wants_refresh(const struct credential_source *s, bool force) {
        int64_t now_ns = clock_ns();

        if (!s->current)
                return true;
        if (!s->imds || now_ns - s->current->obtained_ns < REFRESH_AT_MOST_NS)
                return false;
        if (force)
                return true;
        return wall_clock_seconds() >= s->current->expires - REFRESH_BEFORE_SECONDS &&
               (s->failed_ns == 0 || now_ns - s->failed_ns > REFRESH_AGAIN_NS ||
                wall_clock_seconds() >= s->current->expires);
}

static int refresh(struct credential_source *s, bool force, struct error *e) {
        struct credentials *fresh = NULL;
        int r;

        r = imds_credentials(s->imds, &fresh, e);
        if (r < 0) {
                bool usable = s->current && !force && wall_clock_seconds() < s->current->expires;

                s->failed_ns = clock_ns();
                return usable ? 0 : r;
        }
        credentials_unref(s->current);
        s->current = fresh;
        s->failed_ns = 0;
        return 0;
}

int credentials_get(struct credential_source *s, bool force_refresh, struct credentials **ret, struct error *e) {
        int r = 0;

        if (force_refresh && !s->imds)
                return fail(e, FAILURE_CREDENTIALS, -EKEYEXPIRED, "AWS credentials",
                            "they have expired, and there are no others");
        pthread_mutex_lock(&s->lock);
        if (wants_refresh(s, force_refresh))
                r = refresh(s, force_refresh, e);
        if (r == 0)
                *ret = credentials_ref(s->current);
        pthread_mutex_unlock(&s->lock);
        return r;
}
