/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/callers.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <strings.h>

#include "basic/clock.h"
#include "basic/file.h"
#include "gate/address.h"
#include "gate/bucket.h"
#include "gate/peer-certificate.h"
#include "verify/sealboot-verify.h"
#include "verify/tls.h"

enum {
        FILE_MAX = 1024 * 1024,
        KNOWN_CERTIFICATES = 64,
        KNOWN_SECONDS = 10, /* how long a judgement of a certificate is kept */
        /* Of each address. A certificate that is judged costs signatures, and all requests wait for that. */
        REFUSALS_PER_MINUTE = 30,
        REFUSALS_BURST = 30,
        REFUSED_ADDRESSES = 256,
        /* Of all addresses together that have shown no certificate that was accepted: somebody may have any number of
         * addresses, as of an IPv6 network of 48 bits. A judgement costs some milliseconds. */
        STRANGERS_PER_MINUTE = 600,
        STRANGERS_BURST = 100,
};

#define OWN_PATHS "/.well-known/sealboot/"

struct caller {
        const struct gate_caller *configured;
        struct bucket bucket;
        X509_STORE *authorities;
        struct sealboot_verifier *verifier;
};

/* A certificate that was judged a moment ago. */
struct known {
        uint8_t digest[SHA256_DIGEST_LENGTH]; /* of the text that nginx sent */
        int64_t until;                        /* wall clock, in seconds; 0: unused */
        struct address address;               /* who showed it */
        struct caller *caller;                /* NULL: refused */
        char name[80], reason[400];
};

/* Of the same outcome, so that certificates that are refused do not push out those that are accepted. */
struct known_list {
        struct known items[KNOWN_CERTIFICATES];
        size_t next;
};

/* An address whose certificates were refused. */
struct refused {
        struct address address;
        struct bucket bucket;
        bool used;
};

struct callers {
        const struct gate_config *config;
        struct caller *items;
        size_t n;
        struct known_list accepted, refused;
        struct refused addresses[REFUSED_ADDRESSES];
        size_t next_address;
        struct bucket strangers;
};

static inline void bio_freep(BIO **b) {
        BIO_free(*b);
}

static inline void x509_freep(X509 **x) {
        X509_free(*x);
}

static inline void store_ctx_freep(X509_STORE_CTX **c) {
        X509_STORE_CTX_free(*c);
}

/* ---- the files that the configuration names */

static int read_below(const char *root, const char *name, char **ret, size_t *ret_n, struct error *e) {
        _cleanup_free_ char *path = NULL;

        if (asprintf(&path, "%s%s", root ?: "", name) < 0)
                return fail_oom(e);
        return file_read(path, FILE_MAX, FAILURE_CONFIG, (uint8_t **) ret, ret_n, e);
}

static int open_authority(struct caller *c, const char *root, struct error *e) {
        _cleanup_(bio_freep) BIO *bio = NULL;
        _cleanup_free_ char *pem = NULL;
        unsigned found = 0;
        size_t n;
        X509 *x;
        int r;

        r = read_below(root, c->configured->file, &pem, &n, e);
        if (r < 0)
                return r;
        bio = BIO_new_mem_buf(pem, (int) n);
        c->authorities = X509_STORE_new();
        if (!bio || !c->authorities)
                return fail_oom(e);
        for (; (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)); found++) {
                r = X509_STORE_add_cert(c->authorities, x);
                X509_free(x);
                if (r != 1)
                        return fail_oom(e);
        }
        r = ERR_GET_REASON(ERR_peek_last_error());
        ERR_clear_error();
        if (found == 0 || r != PEM_R_NO_START_LINE)
                return fail(e, FAILURE_CONFIG, -EBADMSG, c->configured->file,
                            found == 0 ? "holds no certificate in PEM" : "certificate %u cannot be read", found + 1);
        return 0;
}

static int verifier_refuses(const struct caller *c, const char *file, struct error *e) {
        return fail(e, FAILURE_CONFIG, -EINVAL, file, "%s", sealboot_verifier_error(c->verifier));
}

static int open_peer(struct caller *c, const char *root, struct error *e) {
        const struct gate_caller *g = c->configured;
        _cleanup_free_ char *references = NULL, *pem = NULL;
        size_t n;
        int r;

        c->verifier = sealboot_verifier_new();
        if (!c->verifier)
                return fail_oom(e);
        r = read_below(root, g->file, &references, &n, e);
        if (r < 0)
                return r;
        if (sealboot_verifier_add_reference(c->verifier, references, n, g->file) < 0 ||
            sealboot_verifier_require_whole_reference(c->verifier, 1) < 0 ||
            sealboot_verifier_set_max_age(c->verifier, g->max_age_seconds) < 0)
                return verifier_refuses(c, g->file, e);
        for (size_t i = 0; i < g->n_digests; i++)
                if (sealboot_verifier_add_model_digest(c->verifier, g->digests[i]) < 0)
                        return verifier_refuses(c, g->file, e);
        if (!g->root)
                return 0;
        r = read_below(root, g->root, &pem, &n, e);
        if (r == 0 && sealboot_verifier_set_root(c->verifier, pem, n) < 0)
                return verifier_refuses(c, g->root, e);
        return r;
}

void callers_free(struct callers *l) {
        if (!l)
                return;
        for (size_t i = 0; i < l->n; i++) {
                X509_STORE_free(l->items[i].authorities);
                sealboot_verifier_free(l->items[i].verifier);
        }
        free(l->items);
        free(l);
}

int callers_new(const struct gate_config *config, const char *root, struct callers **ret, struct error *e) {
        _cleanup_callers_ struct callers *l = calloc(1, sizeof *l);
        int r = 0;

        if (!l)
                return fail_oom(e);
        l->config = config;
        l->strangers = bucket_full(STRANGERS_PER_MINUTE, STRANGERS_BURST);
        l->items = calloc(config->n_callers, sizeof *l->items);
        if (!l->items)
                return fail_oom(e);
        for (; r == 0 && l->n < config->n_callers; l->n++) {
                struct caller *c = &l->items[l->n];

                c->configured = &config->callers[l->n];
                c->bucket = bucket_full(config->requests_per_minute, config->requests_per_minute);
                if (c->configured->kind == CALLER_AUTHORITY)
                        r = open_authority(c, root, e);
                else if (c->configured->kind == CALLER_PEER)
                        r = open_peer(c, root, e);
        }
        if (r < 0)
                return r;
        *ret = TAKE(l);
        return 0;
}

/* ---- words that may stand in a header and in JSON */

static void put_name(char to[static 80], const char *name, const char *detail, size_t n) {
        static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@=+";
        int used = snprintf(to, 80, "%s%s%.*s", name, n > 0 ? "/" : "", (int) MIN_OF(n, (size_t) 46), detail);

        for (char *p = to + strlen(name) + (n > 0); p < to + used; p++)
                if (!strchr(plain, *p))
                        *p = '_';
}

static void put_reason(char to[static 400], const char *text) {
        size_t n = MIN_OF(strlen(text), (size_t) 399);

        for (size_t i = 0; i < n; i++)
                to[i] = text[i] < ' ' || text[i] > '~' || text[i] == '"' || text[i] == '\\' ? '\'' : text[i];
        to[n] = '\0';
}

/* ---- tokens */

/* Every token is compared, each in constant time: how long it takes tells nothing about them. */
static struct caller *find_token(struct callers *l, const char *authorization) {
        uint8_t digest[TOKEN_DIGEST_SIZE];
        struct caller *found = NULL;
        const char *token;

        if (!authorization || strncasecmp(authorization, "Bearer ", strlen("Bearer ")) != 0)
                return NULL;
        token = authorization + strlen("Bearer ");
        token += strspn(token, " ");
        SHA256((const uint8_t *) token, strlen(token), digest);
        for (size_t i = 0; i < l->n; i++) {
                struct caller *c = &l->items[i];

                if (c->configured->kind == CALLER_TOKEN &&
                    CRYPTO_memcmp(digest, c->configured->token, sizeof digest) == 0)
                        found = c;
        }
        return found;
}

/* ---- certificates */

static bool issued_by(const struct caller *c, X509 *x, const char **ret_why) {
        _cleanup_(store_ctx_freep) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
        bool ok = false;

        *ret_why = "out of memory";
        if (ctx && X509_STORE_CTX_init(ctx, c->authorities, x, NULL) == 1 &&
            X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT) == 1) {
                X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_PARTIAL_CHAIN);
                ok = X509_verify_cert(ctx) == 1;
                *ret_why = X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx));
        }
        ERR_clear_error();
        return ok;
}

static bool judge_authority(struct caller *c, X509 *x, struct known *k) {
        const char *why;
        char cn[64] = "";
        int n;

        if (!issued_by(c, x, &why)) {
                char text[300];

                snprintf(text, sizeof text, "%s did not issue this certificate: %s", c->configured->name, why);
                put_reason(k->reason, text);
                return false;
        }
        n = X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, cn, sizeof cn);
        put_name(k->name, c->configured->name, cn, n > 0 ? strlen(cn) : 0);
        return true;
}

/* A document without nonce, since the peer could not know one: its own time tells how old it is. */
static bool judge_peer(struct caller *c, X509 *x, const uint8_t *document, size_t n, struct known *k) {
        uint8_t key[SEALBOOT_TLS_KEY_MAX];
        int64_t until;
        const char *id;
        char text[380];
        size_t unused;
        int size, r;

        size = tls_certificate_key(x, key);
        r = size < 0 ? size : sealboot_verify_tls(c->verifier, document, n, key, (size_t) size, NULL, 0);
        if (r < 0 || sealboot_verifier_nonce(c->verifier, &unused)) {
                snprintf(text, sizeof text, "not a peer %s: %s", c->configured->name,
                         size < 0 ? "the key is too large"
                         : r < 0  ? sealboot_verifier_error(c->verifier)
                                  : "the document holds a nonce");
                put_reason(k->reason, text);
                return false;
        }
        id = sealboot_verifier_module_id(c->verifier);
        put_name(k->name, c->configured->name, id, strlen(id));
        until = sealboot_verifier_timestamp(c->verifier) / 1000 + c->configured->max_age_seconds;
        k->until = MIN_OF(k->until, until + 1);
        return true;
}

/* Fills everything but the digest. */
static void judge_certificate(struct callers *l, const char *escaped, struct known *k) {
        _cleanup_(x509_freep) X509 *x = NULL;
        const uint8_t *document = NULL;
        struct error e = {};
        size_t n = 0;
        int r;

        k->until = wall_clock_seconds() + KNOWN_SECONDS;
        put_reason(k->reason, "no certificates are accepted here");
        r = peer_certificate_read(escaped, &x, &e);
        if (r < 0) {
                put_reason(k->reason, e.reason);
                return;
        }
        r = peer_certificate_document(x, &document, &n, &e);
        if (r < 0 && r != -ENOENT) {
                put_reason(k->reason, e.reason);
                return;
        }
        for (size_t i = 0; i < l->n && !k->caller; i++) {
                struct caller *c = &l->items[i];

                if (c->configured->kind == CALLER_AUTHORITY && judge_authority(c, x, k))
                        k->caller = c;
                if (c->configured->kind == CALLER_PEER && document && judge_peer(c, x, document, n, k))
                        k->caller = c;
                if (c->configured->kind == CALLER_PEER && !document)
                        put_reason(k->reason, e.reason);
        }
}

static const struct known *find_known(const struct known_list *l, const uint8_t digest[static SHA256_DIGEST_LENGTH]) {
        int64_t now = wall_clock_seconds();

        for (size_t i = 0; i < KNOWN_CERTIFICATES; i++) {
                const struct known *k = &l->items[i];

                if (k->until > now && k->until <= now + KNOWN_SECONDS &&
                    memcmp(k->digest, digest, SHA256_DIGEST_LENGTH) == 0)
                        return k;
        }
        return NULL;
}

static const struct known *keep(struct known_list *l, const struct known *fresh) {
        struct known *k = &l->items[l->next];

        l->next = (l->next + 1) % KNOWN_CERTIFICATES;
        *k = *fresh;
        return k;
}

static struct bucket *refusals_of(struct callers *l, const struct address *address) {
        struct refused *r;

        for (size_t i = 0; i < REFUSED_ADDRESSES; i++)
                if (l->addresses[i].used && address_equal(&l->addresses[i].address, address))
                        return &l->addresses[i].bucket;
        r = &l->addresses[l->next_address];
        l->next_address = (l->next_address + 1) % REFUSED_ADDRESSES;
        *r = (struct refused) { *address, bucket_full(REFUSALS_PER_MINUTE, REFUSALS_BURST), true };
        return &r->bucket;
}

/* Whether this certificate, or another from this address, is among the last that were accepted, however long ago. */
static bool is_stranger(const struct known_list *accepted, const struct known *fresh) {
        for (size_t i = 0; i < KNOWN_CERTIFICATES; i++) {
                const struct known *k = &accepted->items[i];

                if (k->until > 0 && (address_equal(&k->address, &fresh->address) ||
                                     memcmp(k->digest, fresh->digest, sizeof k->digest) == 0))
                        return false;
        }
        return true;
}

/* NULL: too many certificates were refused, *ret_why says whose; the caller may try again in *ret_seconds. */
static const struct known *judge(struct callers *l, const struct caller_question *q, unsigned *ret_seconds,
                                 const char **ret_why) {
        uint64_t now_ms = (uint64_t) (clock_ns() / NS_PER_MS);
        struct known fresh = { .address = address_parse(q->address) };
        const struct known *k;
        struct bucket *bucket;
        bool stranger;

        SHA256((const uint8_t *) q->certificate, strlen(q->certificate), fresh.digest);
        k = find_known(&l->accepted, fresh.digest) ?: find_known(&l->refused, fresh.digest);
        if (k)
                return k;
        bucket = refusals_of(l, &fresh.address);
        stranger = is_stranger(&l->accepted, &fresh);
        *ret_why = "too many certificates from this address were refused";
        *ret_seconds = bucket_wait(bucket, now_ms);
        if (*ret_seconds == 0 && stranger) {
                *ret_why = "too many certificates were refused, from many addresses";
                *ret_seconds = bucket_wait(&l->strangers, now_ms);
        }
        if (*ret_seconds > 0)
                return NULL;
        judge_certificate(l, q->certificate, &fresh);
        if (!fresh.caller)
                (void) !bucket_take(bucket, now_ms);
        if (!fresh.caller && stranger)
                (void) !bucket_take(&l->strangers, now_ms);
        return keep(fresh.caller ? &l->accepted : &l->refused, &fresh);
}

/* ---- the judgement */

static void refuse(struct caller_answer *ret, enum caller_verdict verdict, const char *reason) {
        ret->verdict = verdict;
        put_reason(ret->reason, reason);
}

static struct caller *anybody(struct callers *l) {
        struct caller *last = l->n > 0 ? &l->items[l->n - 1] : NULL;

        return last && last->configured->kind == CALLER_ANYBODY ? last : NULL;
}

static struct caller *identify(struct callers *l, const struct caller_question *q, struct caller_answer *ret) {
        struct caller *c = find_token(l, q->authorization);
        bool certificate = q->certificate && q->certificate[0];
        const struct known *k = NULL;
        const char *why = NULL;

        if (c) {
                put_name(ret->name, c->configured->name, "", 0);
                return c;
        }
        if (certificate)
                k = judge(l, q, &ret->retry_after, &why);
        if (k && k->caller) {
                memcpy(ret->name, k->name, sizeof ret->name);
                return k->caller;
        }
        c = anybody(l);
        if (c)
                put_name(ret->name, "anybody", "", 0);
        else if (k)
                refuse(ret, CALLER_MAY_NOT, k->reason);
        else if (certificate)
                refuse(ret, CALLER_TOO_OFTEN, why);
        else
                refuse(ret, CALLER_UNKNOWN,
                       q->authorization ? "the bearer token is not known"
                                        : "a bearer token or a client certificate is needed");
        return c;
}

/* Why the path or the method is not let through, or NULL. nginx lets none of these through either. */
static const char *path_fault(const struct callers *l, const struct caller_question *q) {
        const struct allowed *a;

        if (!q->path || !q->method)
                return "no path";
        if (streq(q->path, OWN_PATHS "report") || streq(q->path, OWN_PATHS "requests"))
                return streq(q->method, "GET") ? NULL : "this method is not let through";
        a = allow_list_find(&l->config->paths, q->path);
        if (!a)
                return "this path is not let through";
        return a->methods & method_named(q->method) ? NULL : "this method is not let through";
}

void callers_judge(struct callers *l, const struct caller_question *q, struct caller_answer *ret) {
        const char *fault = path_fault(l, q);
        struct caller *c;

        *ret = (struct caller_answer) { .verdict = CALLER_MAY };
        if (fault) {
                refuse(ret, CALLER_MAY_NOT, fault);
                return;
        }
        c = identify(l, q, ret);
        if (!c)
                return;
        if (streq(q->path, OWN_PATHS "requests") && !c->configured->reads_requests) {
                refuse(ret, CALLER_MAY_NOT, "this caller may not read the log of requests");
                return;
        }
        ret->retry_after = bucket_take(&c->bucket, (uint64_t) (clock_ns() / NS_PER_MS));
        if (ret->retry_after > 0)
                refuse(ret, CALLER_TOO_OFTEN, "too many requests");
}
