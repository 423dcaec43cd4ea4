/* SPDX-License-Identifier: Apache-2.0 */
#include "configuration/readiness.h"

#include <sys/un.h>

#include "configuration/value.h"

enum { PATH_LENGTH_MAX = 200, BODY_MAX = 64 * 1024, SECONDS_MAX = 7200, SECONDS = 900 };

void readiness_done(struct readiness *r) {
        free(r->socket);
        free(r->health);
        free(r->warm_up_path);
        free(r->warm_up_body);
        *r = (struct readiness) {};
}

static int parse_socket(const char *text, const char *subject, const char *where, char **ret, struct error *e) {
        static const char prefix[] = "unix:";
        const char *path = text + strlen(prefix);
        struct error why = {};

        if (strncmp(text, prefix, strlen(prefix)) != 0 || !path[0] || value_file(path, &why) < 0 ||
            strlen(path) >= sizeof((struct sockaddr_un *) NULL)->sun_path)
                return fail(e, FAILURE_CONFIG, -EINVAL, subject,
                            "\"%s.upstream\" is \"%.200s\", expected unix: and the path of a socket, at most 107 "
                            "bytes long",
                            where, text);
        *ret = strdup(path);
        return *ret ? 0 : fail_oom(e);
}

/* Printable ASCII alone, so that the path needs no encoding. */
static int parse_path(const char *text, const char *key, const char *subject, const char *where, char **ret,
                      struct error *e) {
        for (const char *p = text; *p; p++)
                if (*p <= ' ' || *p > '~' || *p == '#')
                        text = "";
        if (text[0] != '/')
                return fail(e, FAILURE_CONFIG, -EINVAL, subject,
                            "\"%s%s\" must be a path that begins with '/', of printable ASCII characters", where, key);
        *ret = strdup(text);
        return *ret ? 0 : fail_oom(e);
}

static int parse_warm_up(json_object *object, const char *subject, const char *where, struct readiness *r,
                         struct error *e) {
        json_object *path = NULL, *body = NULL;
        const struct json_field fields[] = {
                { "path", json_type_string, true, 1, PATH_LENGTH_MAX, "a path", &path },
                { "body", json_type_object, true, 0, 0, "a JSON object", &body },
        };
        char inside[64];
        const char *text;
        int result;

        if (!object)
                return 0;
        snprintf(inside, sizeof inside, "%s.warm_up", where);
        result = json_fields(object, fields, ELEMENTS(fields), FAILURE_CONFIG, subject, inside, e);
        if (result == 0)
                result = parse_path(json_text(path), ".warm_up.path", subject, where, &r->warm_up_path, e);
        if (result < 0)
                return result;
        text = json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
        if (!text)
                return fail_oom(e);
        if (strlen(text) > BODY_MAX)
                return fail(e, FAILURE_CONFIG, -E2BIG, subject, "\"%s.body\" is longer than %d bytes", inside,
                            BODY_MAX);
        r->warm_up_body = strdup(text);
        return r->warm_up_body ? 0 : fail_oom(e);
}

static int parse(json_object *object, const char *subject, const char *where, struct readiness *r, struct error *e) {
        json_object *upstream = NULL, *health = NULL, *warm_up = NULL, *seconds = NULL;
        const struct json_field fields[] = {
                { "upstream", json_type_string, true, 1, PATH_LENGTH_MAX, "unix:/PATH", &upstream },
                { "health", json_type_string, true, 1, PATH_LENGTH_MAX, "a path", &health },
                { "warm_up", json_type_object, false, 0, 0, "an object with path and body", &warm_up },
                { "seconds", json_type_int, false, 1, SECONDS_MAX, "1 to 7200", &seconds },
        };
        int result;

        result = json_fields(object, fields, ELEMENTS(fields), FAILURE_CONFIG, subject, where, e);
        if (result == 0)
                result = parse_socket(json_text(upstream), subject, where, &r->socket, e);
        if (result == 0)
                result = parse_path(json_text(health), ".health", subject, where, &r->health, e);
        if (result == 0)
                result = parse_warm_up(warm_up, subject, where, r, e);
        r->seconds = (unsigned) json_integer(seconds, SECONDS);
        return result;
}

int readiness_parse(json_object *object, const char *subject, const char *where, struct readiness *ret,
                    struct error *e) {
        struct readiness r = {};
        int result;

        if (!object)
                return 0;
        result = parse(object, subject, where, &r, e);
        if (result < 0) {
                readiness_done(&r);
                return result;
        }
        *ret = r;
        return 0;
}
