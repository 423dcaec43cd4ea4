/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/credentials.h"

#include "basic/clock.h"

int credentials_new(const char *access_key_id, const char *secret_access_key, const char *session_token,
                    int64_t expires, struct credentials **ret, struct error *e) {
        _cleanup_credentials_ struct credentials *c = calloc(1, sizeof *c);

        if (!c)
                return fail_oom(e);
        c->references = 1;
        c->expires = expires;
        c->obtained_ns = clock_ns();
        c->access_key_id = strdup(access_key_id);
        if (!c->access_key_id || secret_copy(secret_access_key, strlen(secret_access_key), &c->secret_access_key) < 0 ||
            (session_token && secret_copy(session_token, strlen(session_token), &c->session_token) < 0))
                return fail_oom(e);
        *ret = TAKE(c);
        return 0;
}

struct credentials *credentials_ref(struct credentials *c) {
        __atomic_add_fetch(&c->references, 1, __ATOMIC_RELAXED);
        return c;
}

void credentials_unref(struct credentials *c) {
        if (!c || __atomic_sub_fetch(&c->references, 1, __ATOMIC_ACQ_REL) > 0)
                return;
        free(c->access_key_id);
        secret_free(c->secret_access_key);
        secret_free(c->session_token);
        free(c);
}
