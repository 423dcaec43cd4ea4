/* SPDX-License-Identifier: Apache-2.0 */
#include "configuration/value.h"

#include "aws/endpoint.h"
#include "aws/s3.h"
#include "basic/encode.h"
#include "basic/utf8.h"
#include "sealed/model.h"

int value_endpoint(const char *text, struct error *why) {
        _cleanup_endpoint_ struct endpoint unused = {};

        return endpoint_parse(text, "endpoint", &unused, why);
}

int value_https(const char *text, struct error *why) {
        if (strncmp(text, "https://", strlen("https://")) != 0)
                return fail(why, FAILURE_CONFIG, -EINVAL, text, "\"%.200s\" is not an https URL", text);
        return value_endpoint(text, why);
}

enum { PREFIX_MAX = 900 }; /* of the 1024 bytes of a key; the rest is for the name of the object */

int value_model(const char *text, struct error *why) {
        _cleanup_free_ char *bucket = NULL, *key = NULL;
        struct error inner = {};

        if (s3_parse_uri(text, FAILURE_CONFIG, &bucket, &key, &inner) == 0)
                return 0;
        return fail(why, inner.failure, -EINVAL, text, "\"%.200s\": %s", text, inner.reason);
}

int value_prefix(const char *text, struct error *why) {
        _cleanup_free_ char *bucket = NULL, *key = NULL;
        struct error inner = {};

        if (s3_parse_uri(text, FAILURE_CONFIG, &bucket, &key, &inner) < 0)
                return fail(why, inner.failure, -EINVAL, text, "\"%.200s\": %s", text, inner.reason);
        if (key[0] && key[strlen(key) - 1] != '/')
                return fail(why, FAILURE_CONFIG, -EINVAL, text,
                            "\"%.200s\" is not a prefix, which ends in a slash: s3://bucket/reports/", text);
        if (strlen(key) > PREFIX_MAX)
                return fail(why, FAILURE_CONFIG, -EINVAL, text, "\"%.200s...\" is longer than a key of S3 can be",
                            text);
        return 0;
}

int value_region(const char *text, struct error *why) {
        if (region_valid(text))
                return 0;
        return fail(why, FAILURE_CONFIG, -EINVAL, text, "\"%s\" is not the name of a Region%s", text,
                    region_hint(text));
}

int value_path(const char *text, struct error *why) {
        if (text[0] != '/')
                return fail(why, FAILURE_CONFIG, -EINVAL, text, "\"%.200s\" is not an absolute path", text);
        if (!utf8_printable(text))
                return fail(why, FAILURE_CONFIG, -EINVAL, text, "\"%.200s\" has control characters", text);
        return 0;
}

int value_file(const char *text, struct error *why) {
        if (text[strlen(text) - 1] == '/')
                return fail(why, FAILURE_CONFIG, -EINVAL, text, "\"%.200s\" is the name of a directory, not of a file",
                            text);
        return value_path(text, why);
}

static int check_socket_part(const char *part, struct error *why) {
        const char *equals = strchr(part, '=');
        uint64_t port;

        if (!equals || !equals[1])
                return fail(why, FAILURE_CONFIG, -EINVAL, "", "\"%.200s\" is not NAME=VALUE", part);
        if (strncmp(part, "host=", 5) == 0 || strncmp(part, "path=", 5) == 0)
                return 0;
        if (strncmp(part, "port=", 5) != 0)
                return fail(why, FAILURE_CONFIG, -EINVAL, "", "\"%.*s\" is none of host, port, path",
                            (int) MIN_OF(equals - part, 200), part);
        if (decimal_parse(equals + 1, UINT16_MAX, &port) < 0 || port == 0)
                return fail(why, FAILURE_CONFIG, -EINVAL, "", "\"%s\" is not a port", equals + 1);
        return 0;
}

/* "host=127.0.0.1,port=2321", as the modules swtpm and mssim take it. */
static int check_socket(const char *text, struct error *why) {
        while (*text) {
                size_t n = strcspn(text, ",");
                char part[256];
                int r;

                snprintf(part, sizeof part, "%.*s", (int) n, text);
                if (n >= sizeof part)
                        return fail(why, FAILURE_CONFIG, -EINVAL, "", "\"%.200s\" is too long", part);
                r = check_socket_part(part, why);
                if (r < 0)
                        return r;
                text += n + (text[n] == ',');
        }
        return 0;
}

/* The name of a module, and after a colon what that module takes. Modules are libraries: only the image knows which
 * there are. */
int value_tcti(const char *text, struct error *why) {
        const char *colon = strchrnul(text, ':'), *conf = *colon ? colon + 1 : "";
        size_t n = (size_t) (colon - text);

        if (!utf8_printable(text))
                return fail(why, FAILURE_CONFIG, -EINVAL, text, "\"%.200s\" has control characters", text);
        if (n == 0)
                return fail(why, FAILURE_CONFIG, -EINVAL, text, "\"%.200s\" has no module's name before the colon",
                            text);
        if (n == strlen("device") && strncmp(text, "device", n) == 0 && *colon && conf[0] != '/')
                return fail(why, FAILURE_CONFIG, -EINVAL, text,
                            "\"%.200s\" names no device: an absolute path follows the colon", text);
        if (n == strlen("swtpm") && (strncmp(text, "swtpm", n) == 0 || strncmp(text, "mssim", n) == 0))
                return check_socket(conf, why);
        return 0;
}

int value_relative(const char *text, struct error *why) {
        const char *problem = model_path_problem(text);

        if (!problem && !utf8_printable(text))
                problem = "it has control characters";
        if (problem)
                return fail(why, FAILURE_CONFIG, -EINVAL, text, "\"%.200s\" is refused: %s", text, problem);
        return 0;
}

int value_input_name(const char *text, struct error *why) {
        static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-_";

        if (text[strspn(text, allowed)] || text[0] == '-' || text[0] == '_')
                return fail(why, FAILURE_CONFIG, -EINVAL, text,
                            "\"%.200s\" is not a name of small letters, digits, - and _, a letter or digit first",
                            text);
        return 0;
}

/* The owner ends a line of the text that is measured. */
int value_owner(const char *text, struct error *why) {
        if (!utf8_printable(text))
                return fail(why, FAILURE_CONFIG, -EINVAL, text, "\"%.200s\" has control characters", text);
        if (text[0] == ' ' || text[strlen(text) - 1] == ' ')
                return fail(why, FAILURE_CONFIG, -EINVAL, text, "\"%.200s\" begins or ends with a space", text);
        return 0;
}
