/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/environment.h"

#include <openssl/crypto.h>

#include "basic/file.h"

enum { MAX_PROFILE_FILE = 256 * 1024 };

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
        return r < 0 ? r : credentials_fixed(c, ret, e);
}
