/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/environment.h"

#include <openssl/crypto.h>
#include <strings.h>

#include "basic/file.h"

enum { MAX_PROFILE_FILE = 256 * 1024 };

const char *environment_value(const char *name) {
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

struct profile {
        const char *id, *key, *token; /* borrowed from the file's text; NULL: not there, or empty */
        bool found;                   /* the file has such a section */
        const char *other;            /* what it has instead of keys, if that is known: "sso_session" */
};

/* Sources of credentials that the SDKs know, and sealboot does not. */
static const char *other_kind(const char *name) {
        static const char *const names[] = { "sso_session", "sso_start_url", "credential_process",
                                             "role_arn",    "login_session", "web_identity_token_file" };

        for (size_t i = 0; i < ELEMENTS(names); i++)
                if (strcasecmp(name, names[i]) == 0)
                        return names[i];
        return NULL;
}

/* Neither keys nor tokens have quotes, and section names only where the name has a space. */
static char *unquote(char *text) {
        size_t n = strlen(text);

        if (n < 2 || !strchr("\"'", text[0]) || text[n - 1] != text[0])
                return text;
        text[n - 1] = '\0';
        return text + 1;
}

/* "key = value", or with a colon, which Python's readers take as well. No value has white space in it, so the rest of
 * the line is a comment. */
static void profile_line(char *line, struct profile *p) {
        size_t n = strcspn(line, "=:");
        char *name = line, *value = line + n + 1;

        if (!line[n])
                return;
        line[n] = '\0';
        name = trim(name);
        value += strspn(value, " \t");
        value[strcspn(value, " \t\r")] = '\0';
        value = unquote(value);
        if (!value[0])
                return;
        p->other = other_kind(name) ?: p->other;
        if (strcasecmp(name, "aws_access_key_id") == 0)
                p->id = value;
        else if (strcasecmp(name, "aws_secret_access_key") == 0)
                p->key = value;
        else if (strcasecmp(name, "aws_session_token") == 0 ||
                 (strcasecmp(name, "aws_security_token") == 0 && !p->token))
                p->token = value;
}

static bool is_section(char *name, const char *profile) {
        if (strncmp(name, "profile", 7) == 0 && (name[7] == ' ' || name[7] == '\t') &&
            streq(unquote(trim(name + 7)), profile))
                return true;
        return streq(unquote(name), profile);
}

/* The sections are [NAME], and [profile NAME] in ~/.aws/config. Lines that are indented further than a line "s3 ="
 * before them belong to that setting. */
static void profile_read(char *text, const char *profile, struct profile *ret) {
        size_t nested_from = SIZE_MAX;
        bool ours = false;

        if (strncmp(text, "\xef\xbb\xbf", 3) == 0) /* the byte order mark of an editor */
                text += 3;
        for (char *line; (line = strsep(&text, "\n"));) {
                size_t indent = strspn(line, " \t");
                char *name = trim(line), *end;

                if (name[0] == '[' && (end = strchr(name, ']'))) {
                        *end = '\0';
                        nested_from = SIZE_MAX;
                        ours = is_section(trim(name + 1), profile);
                        ret->found |= ours;
                } else if (!name[0] || name[0] == '#' || name[0] == ';' || indent >= nested_from)
                        continue;
                else {
                        nested_from = name[strlen(name) - 1] == '=' ? indent + 1 : SIZE_MAX;
                        if (ours)
                                profile_line(name, ret);
                }
        }
}

/* The file that a variable names, with "~/" for HOME as in the SDKs; else a file below HOME; NULL without HOME. */
static int file_below_home(const char *variable, const char *name, char **ret, struct error *e) {
        const char *file = environment_value(variable), *home = environment_value("HOME");
        bool tilde = file && strncmp(file, "~/", 2) == 0;

        *ret = NULL;
        if (file && !tilde)
                *ret = strdup(file);
        else if (!home)
                return 0;
        else if (asprintf(ret, "%s%s", home, tilde ? file + 1 : name) < 0)
                *ret = NULL;
        return *ret ? 0 : fail_oom(e);
}

struct credential_file {
        char *path;
        uint8_t *text;
        size_t n;
};

static void credential_file_done(struct credential_file *f) {
        if (f->text)
                OPENSSL_cleanse(f->text, f->n);
        free(f->text);
        free(f->path);
}

static int lacks_keys(const char *path, const char *profile, const struct profile *p, struct error *e) {
        return fail(e, FAILURE_CREDENTIALS, -ENOENT, path,
                    "profile \"%s\" has no aws_access_key_id and aws_secret_access_key%s%s (sealboot knows no other "
                    "kind)%s",
                    profile, p->other ? ", but " : "", p->other ?: "",
                    p->found ? "" : ": the file has no such profile");
}

/* 0 when both keys are in it, -ENOENT when they are not. */
static int from_file(struct credential_file *f, const char *profile, struct profile *ret, struct error *e) {
        struct profile p = {};
        int r;

        r = file_read(f->path, MAX_PROFILE_FILE, FAILURE_CREDENTIALS, &f->text, &f->n, e);
        if (r < 0)
                return r;
        profile_read((char *) f->text, profile, &p);
        *ret = p;
        return p.id && p.key ? 0 : lacks_keys(f->path, profile, &p, e);
}

/* Adds to the first file's error where the second file says that the credentials are. */
static void tell_of_config(const char *path, const char *profile, const char *other, struct error *e) {
        char first[sizeof e->reason];

        snprintf(first, sizeof first, "%s", e->reason);
        snprintf(e->reason, sizeof e->reason,
                 "%.300s; profile \"%.64s\" of %.300s has %s, which sealboot does not know", first, profile, path,
                 other);
}

/* From the credentials file, or from the file that the SDKs read when that one lacks the profile. The error is about
 * the first file. */
static int from_profile(struct credentials **ret, struct error *e) {
        _cleanup_(credential_file_done) struct credential_file file = {}, config = {};
        const char *profile = environment_value("AWS_PROFILE") ?: environment_value("AWS_DEFAULT_PROFILE") ?: "default";
        struct profile p = {}, second = {};
        int r;

        r = file_below_home("AWS_SHARED_CREDENTIALS_FILE", "/.aws/credentials", &file.path, e);
        if (r < 0)
                return r;
        r = file_below_home("AWS_CONFIG_FILE", "/.aws/config", &config.path, e);
        if (r < 0)
                return r;
        if (!file.path)
                return fail(e, FAILURE_CREDENTIALS, -ENOENT, "environment",
                            "neither AWS_ACCESS_KEY_ID nor a credentials file is set, and HOME is not either");
        r = from_file(&file, profile, &p, e);
        if (r == -ENOENT && config.path) {
                r = from_file(&config, profile, &second, NULL);
                if (r == -ENOENT && second.other && !p.other)
                        tell_of_config(config.path, profile, second.other, e);
                p = second;
        }
        if (r == 0)
                return credentials_new(p.id, p.key, p.token, INT64_MAX, ret, e);
        fail_advice(e, "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, for example with `eval $(aws configure "
                       "export-credentials --format env)`, which knows every kind of profile; or AWS_PROFILE for a "
                       "profile in this file.");
        return r;
}

/* Whether a shell or a file left white space around a key. */
static bool has_space(const char *text) {
        return text[strcspn(text, "\t\r\n")] || text[0] == ' ' || text[strlen(text) - 1] == ' ';
}

int credentials_from_environment(struct credential_source **ret, struct error *e) {
        const char *id = environment_value("AWS_ACCESS_KEY_ID"), *key = environment_value("AWS_SECRET_ACCESS_KEY");
        _cleanup_credentials_ struct credentials *c = NULL;
        int r;

        if (!id != !key)
                return fail(e, FAILURE_CREDENTIALS, -EINVAL, "environment", "%s is set, but %s is not",
                            id ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
                            id ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
        if (id && (has_space(id) || has_space(key)))
                return fail(e, FAILURE_CREDENTIALS, -EINVAL, "environment", "%s has a space or a line's end around it",
                            has_space(id) ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY");
        r = id ? credentials_new(id, key, environment_value("AWS_SESSION_TOKEN"), INT64_MAX, &c, e)
               : from_profile(&c, e);
        return r < 0 ? r : credentials_fixed(c, ret, e);
}
