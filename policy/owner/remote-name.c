/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/remote-name.h"

#include <stdarg.h>
#include <strings.h>

#include "aws/endpoint.h"
#include "basic/encode.h"

static const char example[] = "An object in S3 is named s3://BUCKET/KEY, a prefix s3://BUCKET/PREFIX/.";

static const char access_point[] = "An access point is named by its alias, as a bucket is: s3://ALIAS/KEY. `aws "
                                   "s3control get-access-point` prints the alias.";

static bool say(char advice[static REMOTE_NAME_ADVICE_MAX], const char *format, ...) _printf_(2, 3);

static bool say(char advice[static REMOTE_NAME_ADVICE_MAX], const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        vsnprintf(advice, REMOTE_NAME_ADVICE_MAX, format, ap);
        va_end(ap);
        return true;
}

static bool starts(const char *text, const char *with) {
        return strncasecmp(text, with, strlen(with)) == 0;
}

/* The part of an ARN behind its n-th colon, or NULL. */
static const char *behind_colons(const char *arn, unsigned n) {
        while (arn && n-- > 0) {
                arn = strchr(arn, ':');
                arn = arn ? arn + 1 : NULL;
        }
        return arn;
}

/* arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE, of which a bucket's has neither Region nor account. */
static bool advise_arn(const char *arn, char advice[static REMOTE_NAME_ADVICE_MAX]) {
        const char *service = behind_colons(arn, 2), *resource = behind_colons(arn, 5);

        if (!service || !resource || !starts(service, "s3"))
                return say(advice, "That is an ARN. %s", example);
        if (starts(service, "s3express:"))
                return say(advice,
                           "A directory bucket (S3 Express One Zone) cannot be used: name a general purpose bucket.");
        if (starts(resource, "accesspoint") || !starts(service, "s3:::"))
                return say(advice, "%s", access_point);
        return say(advice, "Give it as s3://%.400s.", resource);
}

/* The path of a URL, up to its query or the next parameter, as the key that it stands for. */
static void decode_path(const char *text, char *ret, size_t room) {
        size_t n = strcspn(text, "?#&"), used = 0;

        for (size_t i = 0; i < n && used + 1 < room; i++) {
                uint8_t byte;
                char digits[3];

                snprintf(digits, sizeof digits, "%.*s", i + 2 < n ? 2 : 0, text + i + 1);
                if (text[i] != '%' || hex_decode(digits, &byte, 1) < 0 || byte == 0)
                        ret[used++] = text[i];
                else {
                        ret[used++] = (char) byte;
                        i += 2;
                }
        }
        ret[used] = '\0';
}

/* HOST/PATH of an S3 endpoint: the bucket is the host's first part, or the path's. */
static bool advise_endpoint(const char *host, char advice[static REMOTE_NAME_ADVICE_MAX]) {
        size_t n = strcspn(host, "/");
        const char *s3 = strstr(host, ".s3.") ?: strstr(host, ".s3-");
        char path[300] = "BUCKET/KEY";

        if (s3 && s3 < host + n && starts(s3, ".s3-accesspoint"))
                return say(advice, "%s", access_point);
        if (host[n] && host[n + 1])
                decode_path(host + n + 1, path, sizeof path);
        if (!s3 || s3 >= host + n)
                return say(advice, "Give it as s3://%s.", path);
        return say(advice, "Give it as s3://%.*s/%s.", (int) MIN_OF((size_t) (s3 - host), (size_t) 200), host,
                   host[n] && host[n + 1] ? path : "");
}

static bool is_below(const char *host, const char *suffix) {
        size_t n = strlen(host), m = strlen(suffix);

        return n > m && host[n - m - 1] == '.' && streq(host + n - m, suffix);
}

static bool is_host_of_aws(const char *host) {
        const struct partition *p;

        for (size_t i = 0; (p = partition_at(i)); i++)
                if (is_below(host, p->suffix) || is_below(host, p->dualstack_suffix))
                        return true;
        return false;
}

/* A host below the suffix of a partition, of which one label is S3's. */
static bool is_endpoint(const char *text) {
        char host[256];

        snprintf(host, sizeof host, "%.*s", (int) strcspn(text, "/:"), text);
        return is_host_of_aws(host) &&
               (starts(host, "s3.") || starts(host, "s3-") || strstr(host, ".s3.") || strstr(host, ".s3-"));
}

/* A page of the console: .../s3/buckets/BUCKET?prefix=PREFIX or .../s3/object/BUCKET?prefix=KEY. */
static bool advise_console(const char *url, char advice[static REMOTE_NAME_ADVICE_MAX]) {
        const char *bucket = strstr(url, "/s3/buckets/") ?: strstr(url, "/s3/object/"),
                   *prefix = strstr(url, "prefix=");
        char path[300] = "";

        if (!strstr(url, "console.") || !bucket)
                return false;
        bucket = strchr(bucket + strlen("/s3/"), '/') + 1;
        if (prefix)
                decode_path(prefix + strlen("prefix="), path, sizeof path);
        return say(advice, "Of URLs only s3:// is understood. Give it as s3://%.*s/%s.",
                   (int) MIN_OF(strcspn(bucket, "/?#"), (size_t) 64), bucket, path);
}

/* SCHEME://, where the scheme is letters, digits, '+', '-' and '.'; NULL, or what is behind it. */
static const char *behind_scheme(const char *text) {
        size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-.");

        return n > 0 && strncmp(text + n, "://", 3) == 0 ? text + n + 3 : NULL;
}

bool remote_name(const char *text, char advice[static REMOTE_NAME_ADVICE_MAX]) {
        const char *rest = behind_scheme(text);
        size_t around = strspn(text, " \t\r\n\"'");

        if (strncmp(text, "s3://", 5) == 0)
                return starts(text + 5, "arn:") ? advise_arn(text + 5, advice)
                                                : is_endpoint(text + 5) && advise_endpoint(text + 5, advice);
        if (around > 0 && starts(text + around, "s3:"))
                return say(advice, "Give it without the spaces or quotes around it.");
        if (starts(text, "arn:"))
                return advise_arn(text, advice);
        if (rest && (starts(text, "s3://") || starts(text, "s3a://") || starts(text, "s3n://")))
                return say(advice, "Give it as s3://%.400s.", rest);
        if (rest && is_endpoint(rest))
                return advise_endpoint(rest, advice);
        if (rest && advise_console(rest, advice))
                return true;
        if (rest && starts(text, "file://"))
                return say(advice, "Give the path alone.");
        if (rest)
                return say(advice, "Of URLs only s3:// is understood. %s", example);
        if (starts(text, "s3:") || starts(text, "s3//"))
                return say(advice, "Give it as s3://%.400s.", text + 3 + strspn(text + 3, "/"));
        return is_endpoint(text) && advise_endpoint(text, advice);
}

bool may_be_bucket(const char *path) {
        size_t n = strcspn(path, "/");
        char first[64];

        if (n < 3 || n >= sizeof first || strspn(path, "abcdefghijklmnopqrstuvwxyz0123456789.-") != n ||
            path[0] == '.' || path[0] == '-')
                return false;
        snprintf(first, sizeof first, "%.*s", (int) n, path);
        return access(first, F_OK) < 0 && errno == ENOENT;
}

bool is_remote(const char *text) {
        char advice[REMOTE_NAME_ADVICE_MAX];

        return strncmp(text, "s3://", 5) == 0 || remote_name(text, advice);
}
