/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/sigv4.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <time.h>

#include "basic/encode.h"

enum { HASH_BYTES = 32, MAX_PARTS = 32, MAX_SCOPE = 256, MAX_SIGNED_HEADERS = 1024 };

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free, EVP_MD_CTX_freep)

void sigv4_date(int64_t time, char ret[static SIGV4_DATE_SIZE]) {
        time_t t = time;
        struct tm tm;

        /* These conversions do not depend on the locale. */
        if (!gmtime_r(&t, &tm) || strftime(ret, SIGV4_DATE_SIZE, "%Y%m%dT%H%M%SZ", &tm) != SIGV4_DATE_SIZE - 1)
                memcpy(ret, "19700101T000000Z", SIGV4_DATE_SIZE);
}

int sigv4_hash(const void *data, size_t n, char ret[static SIGV4_HASH_SIZE]) {
        uint8_t hash[HASH_BYTES];

        if (EVP_Digest(data ?: "", n, hash, NULL, EVP_sha256(), NULL) != 1)
                return -ENOMEM;
        hex_encode(hash, sizeof hash, ret);
        return 0;
}

int sigv4_encode(const char *text, bool keep_slash, char **ret) {
        static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
        static const char digits[] = "0123456789ABCDEF";
        char *out, *p;

        out = p = malloc(3 * strlen(text) + 1);
        if (!out)
                return -ENOMEM;
        for (const unsigned char *c = (const unsigned char *) text; *c; c++)
                if (strchr(unreserved, *c) || (keep_slash && *c == '/'))
                        *p++ = (char) *c;
                else {
                        *p++ = '%';
                        *p++ = digits[*c >> 4];
                        *p++ = digits[*c & 15];
                }
        *p = '\0';
        *ret = out;
        return 0;
}

/* The canonical request is never built: it holds the session token. Its pieces go straight into the hash. */
static int add(EVP_MD_CTX *ctx, const char *text) {
        return EVP_DigestUpdate(ctx, text, strlen(text)) == 1 ? 0 : -ENOMEM;
}

static int compare_text(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

/* "b=2&a" as "a=&b=2", sorted by name, then by value. Digits, '-', '.' and '%' sort before '=', so 0x01 stands for '='
 * while the parts are sorted. */
static int add_query(EVP_MD_CTX *ctx, const char *query) {
        _cleanup_free_ char *copy = NULL;
        char *parts[MAX_PARTS], *cursor;
        size_t n = 0;

        if (!query || !query[0])
                return 0;
        cursor = copy = strdup(query);
        if (!copy)
                return -ENOMEM;
        for (char *part; (part = strsep(&cursor, "&"));) {
                char *equals = strchr(part, '=');

                if (n == MAX_PARTS)
                        return -EINVAL;
                if (equals)
                        *equals = 1;
                parts[n++] = part;
        }
        qsort(parts, n, sizeof parts[0], compare_text);
        for (size_t i = 0; i < n; i++) {
                char *separator = strchr(parts[i], 1);

                if (separator)
                        *separator = '=';
                if (add(ctx, i > 0 ? "&" : "") < 0 || add(ctx, parts[i]) < 0 || add(ctx, separator ? "" : "=") < 0)
                        return -ENOMEM;
        }
        return 0;
}

/* Drops leading and trailing spaces, and makes one of several. */
static int add_value(EVP_MD_CTX *ctx, const char *value) {
        value += strspn(value, " \t");
        while (*value) {
                size_t word = strcspn(value, " \t"), gap = strspn(value + word, " \t");

                if (EVP_DigestUpdate(ctx, value, word) != 1)
                        return -ENOMEM;
                value += word + gap;
                if (*value && add(ctx, " ") < 0)
                        return -ENOMEM;
        }
        return 0;
}

static int compare_headers(const void *a, const void *b) {
        return strcmp(((const struct pair *) a)->name, ((const struct pair *) b)->name);
}

/* Adds the sorted headers, and writes their names "host;x-amz-date". */
static int add_headers(EVP_MD_CTX *ctx, const struct pair *headers, size_t n, char names[static MAX_SIGNED_HEADERS]) {
        struct pair sorted[MAX_PARTS];
        size_t used = 0;

        if (n > MAX_PARTS)
                return -EINVAL;
        memcpy(sorted, headers, n * sizeof sorted[0]);
        qsort(sorted, n, sizeof sorted[0], compare_headers);
        for (size_t i = 0; i < n; i++) {
                if (add(ctx, sorted[i].name) < 0 || add(ctx, ":") < 0 || add_value(ctx, sorted[i].value) < 0 ||
                    add(ctx, "\n") < 0)
                        return -ENOMEM;
                used += (size_t) snprintf(names + used, MAX_SIGNED_HEADERS - used, "%s%s", i > 0 ? ";" : "",
                                          sorted[i].name);
                if (used >= MAX_SIGNED_HEADERS)
                        return -EINVAL;
        }
        return 0;
}

static int hash_request(const struct sigv4_request *q, char hash[static SIGV4_HASH_SIZE],
                        char names[static MAX_SIGNED_HEADERS]) {
        _cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        uint8_t digest[HASH_BYTES];
        int r;

        if (!ctx || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
                return -ENOMEM;
        if (add(ctx, q->method) < 0 || add(ctx, "\n") < 0 || add(ctx, q->path) < 0 || add(ctx, "\n") < 0)
                return -ENOMEM;
        r = add_query(ctx, q->query);
        if (r < 0 || (r = add(ctx, "\n")) < 0)
                return r;
        r = add_headers(ctx, q->headers, q->n_headers, names);
        if (r < 0)
                return r;
        if (add(ctx, "\n") < 0 || add(ctx, names) < 0 || add(ctx, "\n") < 0 || add(ctx, q->payload_hash) < 0 ||
            EVP_DigestFinal_ex(ctx, digest, NULL) != 1)
                return -ENOMEM;
        hex_encode(digest, sizeof digest, hash);
        return 0;
}

static int mac(struct secret *key, const char *text, size_t n) {
        uint8_t out[HASH_BYTES];

        if (!HMAC(EVP_sha256(), key->data, (int) key->size, (const unsigned char *) text, n, out, NULL))
                return -ENOMEM;
        OPENSSL_cleanse(key->data, key->size);
        memcpy(key->data, out, sizeof out);
        key->size = sizeof out;
        OPENSSL_cleanse(out, sizeof out);
        return 0;
}

/* "AWS4" secret key -> date -> region -> service -> "aws4_request", each the key of the next. */
static int signing_key(const struct sigv4_request *q, const struct secret *secret_key, struct secret **ret) {
        _cleanup_secret_ struct secret *key = NULL;
        size_t n = 4 + secret_key->size;
        int r;

        r = secret_new(MAX_OF(n, (size_t) HASH_BYTES), &key);
        if (r < 0)
                return r;
        memcpy(key->data, "AWS4", 4);
        memcpy(key->data + 4, secret_key->data, secret_key->size);
        key->size = n;
        if (mac(key, q->date, strlen("YYYYMMDD")) < 0 || mac(key, q->region, strlen(q->region)) < 0 ||
            mac(key, q->service, strlen(q->service)) < 0 || mac(key, "aws4_request", strlen("aws4_request")) < 0)
                return -ENOMEM;
        *ret = TAKE(key);
        return 0;
}

int sigv4_authorization(const struct sigv4_request *q, const struct credentials *credentials, char **ret) {
        _cleanup_secret_ struct secret *key = NULL;
        char hash[SIGV4_HASH_SIZE], signature[SIGV4_HASH_SIZE], names[MAX_SIGNED_HEADERS], scope[MAX_SCOPE], *out;
        char to_sign[sizeof "AWS4-HMAC-SHA256\n\n\n" + SIGV4_DATE_SIZE + sizeof scope + sizeof hash];
        int r, n;

        n = snprintf(scope, sizeof scope, "%.8s/%s/%s/aws4_request", q->date, q->region, q->service);
        if (strlen(q->date) != SIGV4_DATE_SIZE - 1 || n >= (int) sizeof scope)
                return -EINVAL;
        r = hash_request(q, hash, names);
        if (r < 0)
                return r;
        n = snprintf(to_sign, sizeof to_sign, "AWS4-HMAC-SHA256\n%s\n%s\n%s", q->date, scope, hash);
        r = signing_key(q, credentials->secret_access_key, &key);
        if (r < 0)
                return r;
        r = mac(key, to_sign, (size_t) n);
        if (r < 0)
                return r;
        hex_encode(key->data, HASH_BYTES, signature);
        if (asprintf(&out, "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
                     credentials->access_key_id, scope, names, signature) < 0)
                return -ENOMEM;
        *ret = out;
        return 0;
}
