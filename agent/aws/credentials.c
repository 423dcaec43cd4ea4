/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/credentials.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <time.h>

#include "aws/imds.h"
#include "aws/retry.h"
#include "basic/file.h"

enum { REFRESH_BEFORE_SECONDS = 5 * 60, MAX_PROFILE_FILE = 256 * 1024 };
static const int64_t REFRESH_AT_MOST_NS = INT64_C(2000000000);
static const int64_t REFRESH_AGAIN_NS = INT64_C(30000000000);

struct credential_source {
        pthread_mutex_t lock;
        struct imds *imds; /* NULL: `current` is all there ever is */
        struct credentials *current;
        int64_t failed_ns; /* when a refresh last failed; 0: it did not */
};

int credentials_new(const char *access_key_id, const char *secret_access_key, const char *session_token, int64_t expires,
                    struct credentials **ret, struct error *e) {
        _cleanup_credentials_ struct credentials *c = calloc(1, sizeof *c);

        if (!c)
                return fail_oom(e);
        c->references = 1;
        c->expires = expires;
        c->obtained_ns = retry_clock_ns();
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

static const char *environment(const char *name) {
        const char *value = getenv(name);

        return value && value[0] ? value : NULL;
}

/* One line of an INI file, without the space around it. */
static char *trim(char *line) {
        size_t n;

        line += strspn(line, " \t");
        n = strlen(line);
        while (n > 0 && strchr(" \t\r", line[n - 1]))
                line[--n] = '\0';
        return line;
}

/* [profile] and "key = value" lines, as the AWS tools write them. */
static void profile_read(char *text, const char *profile, const char **ret_id, const char **ret_key,
                         const char **ret_token) {
        bool ours = false;

        for (char *line; (line = strsep(&text, "\n"));) {
                char *name = trim(line), *value = strchr(name, '='), *end;

                if (name[0] == '[' && (end = strchr(name, ']'))) {
                        *end = '\0';
                        ours = streq(trim(name + 1), profile);
                        continue;
                }
                if (!ours || !value || name[0] == '#' || name[0] == ';')
                        continue;
                *value = '\0';
                name = trim(name);
                value = trim(value + 1);
                /* Tools that switch profiles leave an empty line behind: as good as none. */
                if (!value[0])
                        continue;
                if (streq(name, "aws_access_key_id"))
                        *ret_id = value;
                else if (streq(name, "aws_secret_access_key"))
                        *ret_key = value;
                else if (streq(name, "aws_session_token"))
                        *ret_token = value;
        }
}

static int profile_path(char **ret, struct error *e) {
        const char *file = environment("AWS_SHARED_CREDENTIALS_FILE"), *home = environment("HOME");

        if (!file && !home)
                return fail(e, FAILURE_CREDENTIALS, -ENOENT, "environment",
                            "neither AWS_ACCESS_KEY_ID nor a credentials file is set, and HOME is not either");
        if (asprintf(ret, "%s%s", file ?: home, file ? "" : "/.aws/credentials") < 0)
                return fail_oom(e);
        return 0;
}

static int from_profile(struct credentials **ret, struct error *e) {
        const char *profile = environment("AWS_PROFILE") ?: "default", *id = NULL, *key = NULL, *token = NULL;
        _cleanup_free_ char *path = NULL;
        uint8_t *text = NULL;
        size_t n = 0;
        int r;

        r = profile_path(&path, e);
        if (r < 0)
                return r;
        r = file_read(path, MAX_PROFILE_FILE, FAILURE_CREDENTIALS, &text, &n, e);
        if (r < 0) {
                fail_advice(e,
                            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE for a profile in this file.");
                return r;
        }
        profile_read((char *) text, profile, &id, &key, &token);
        if (id && key)
                r = credentials_new(id, key, token, INT64_MAX, ret, e);
        else {
                r = fail(e, FAILURE_CREDENTIALS, -ENOENT, path,
                         "profile \"%s\" has no aws_access_key_id and aws_secret_access_key (sealboot knows no other kind)",
                         profile);
                fail_advice(e, "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, for example with "
                               "`eval $(aws configure export-credentials --format env)`.");
        }
        OPENSSL_cleanse(text, n);
        free(text);
        return r;
}

int credentials_from_environment(struct credential_source **ret, struct error *e) {
        const char *id = environment("AWS_ACCESS_KEY_ID"), *key = environment("AWS_SECRET_ACCESS_KEY");
        _cleanup_credentials_ struct credentials *c = NULL;
        int r;

        if (!id != !key)
                return fail(e, FAILURE_CREDENTIALS, -EINVAL, "environment", "%s is set, but %s is not",
                            id ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
                            id ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
        r = id ? credentials_new(id, key, environment("AWS_SESSION_TOKEN"), INT64_MAX, &c, e) : from_profile(&c, e);
        return r < 0 ? r : source_new(NULL, c, ret, e);
}

static bool wants_refresh(const struct credential_source *s, bool force) {
        int64_t now_ns = retry_clock_ns();

        if (!s->current)
                return true;
        if (!s->imds || now_ns - s->current->obtained_ns < REFRESH_AT_MOST_NS)
                return false;
        if (force)
                return true;
        return time(NULL) >= s->current->expires - REFRESH_BEFORE_SECONDS &&
               (s->failed_ns == 0 || now_ns - s->failed_ns > REFRESH_AGAIN_NS || time(NULL) >= s->current->expires);
}

static int refresh(struct credential_source *s, bool force, struct error *e) {
        struct credentials *fresh = NULL;
        int r;

        r = imds_credentials(s->imds, &fresh, e);
        if (r == 0) {
                credentials_unref(s->current);
                s->current = fresh;
                s->failed_ns = 0;
                return 0;
        }
        s->failed_ns = retry_clock_ns();
        return s->current && !force && time(NULL) < s->current->expires ? 0 : r;
}

int credentials_get(struct credential_source *s, bool force_refresh, struct credentials **ret, struct error *e) {
        int r = 0;

        if (force_refresh && !s->imds)
                return fail(e, FAILURE_CREDENTIALS, -EKEYEXPIRED, "AWS credentials",
                            "have expired, and there are no others");
        pthread_mutex_lock(&s->lock);
        if (wants_refresh(s, force_refresh))
                r = refresh(s, force_refresh, e);
        if (r == 0)
                *ret = credentials_ref(s->current);
        pthread_mutex_unlock(&s->lock);
        return r;
}
