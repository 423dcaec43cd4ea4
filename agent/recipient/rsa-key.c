/* SPDX-License-Identifier: Apache-2.0 */
#include "recipient/rsa-key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "basic/secret.h"

enum { PRIME_BITS = RSA_KEY_BITS / 2, EXPONENT = 65537, THREADS_MAX = 4, PRIMES = 2 };

/* The primes must differ in their first 100 bits: FIPS 186-4, B.3.3, step 5.4. */
enum { DISTANCE_BITS = PRIME_BITS - 100 };

DEFINE_CLEANUP(BN_CTX *, BN_CTX_free, bn_ctx_freep)
DEFINE_CLEANUP(BN_GENCB *, BN_GENCB_free, bn_gencb_freep)
DEFINE_CLEANUP(BIGNUM *, BN_clear_free, bn_freep)
DEFINE_CLEANUP(OSSL_PARAM_BLD *, OSSL_PARAM_BLD_free, bld_freep)
DEFINE_CLEANUP(OSSL_PARAM *, OSSL_PARAM_free, params_freep)
DEFINE_CLEANUP(EVP_PKEY_CTX *, EVP_PKEY_CTX_free, pkey_ctx_freep)
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free, pkey_freep)

/* ---- two primes: threads search until two are found, whoever finds them */

struct search {
        pthread_mutex_t lock;
        atomic_uint found;
        BIGNUM *primes[PRIMES];
};

static int still_wanted(int event, int n, BN_GENCB *callback) {
        const struct search *s = BN_GENCB_get_arg(callback);

        (void) event;
        (void) n;
        return atomic_load_explicit(&s->found, memory_order_relaxed) < PRIMES;
}

/* Takes `prime`, unless there are enough. */
static void add_prime(struct search *s, BIGNUM **prime) {
        pthread_mutex_lock(&s->lock);
        if (s->found < PRIMES)
                s->primes[atomic_fetch_add(&s->found, 1)] = TAKE(*prime);
        pthread_mutex_unlock(&s->lock);
}

/* Returns at an error of OpenSSL, too, such as a full heap. The two highest bits of such a prime are set, so that the
 * product has RSA_KEY_BITS. */
static void search(struct search *s) {
        _cleanup_(bn_ctx_freep) BN_CTX *c = BN_CTX_secure_new();
        _cleanup_(bn_gencb_freep) BN_GENCB *callback = BN_GENCB_new();

        if (!c || !callback)
                return;
        BN_GENCB_set(callback, still_wanted, s);
        while (s->found < PRIMES) {
                _cleanup_(bn_freep) BIGNUM *prime = BN_secure_new();

                if (!prime || BN_generate_prime_ex2(prime, PRIME_BITS, 0, NULL, NULL, callback, c) != 1)
                        return;
                /* Else the exponent has no inverse. */
                if (BN_mod_word(prime, EXPONENT) != 1)
                        add_prime(s, &prime);
        }
}

static void *run(void *userdata) {
        secret_memory_begin();
        search(userdata);
        secret_memory_end();
        ERR_clear_error();
        return NULL;
}

static size_t threads_wanted(void) {
        cpu_set_t cpus;

        if (sched_getaffinity(0, sizeof cpus, &cpus) < 0)
                return 1;
        return MIN_OF((size_t) CPU_COUNT(&cpus), (size_t) THREADS_MAX);
}

static bool find_primes(struct search *s) {
        size_t n = 0, wanted = threads_wanted();
        pthread_t others[THREADS_MAX - 1];

        while (n + 1 < wanted && pthread_create(&others[n], NULL, run, s) == 0)
                n++;
        run(s);
        for (size_t i = 0; i < n; i++)
                pthread_join(others[i], NULL);
        /* Where little memory may be locked, threads may have left each other too little of it. One alone has enough.
         */
        if (s->found < PRIMES)
                run(s);
        return s->found == PRIMES;
}

/* ---- the key */

/* The numbers of an RSA key, with OpenSSL's names. */
struct numbers {
        BIGNUM *n, *e, *d, *p, *q, *dp, *dq, *q_inverse;
};

static void numbers_done(struct numbers *k) {
        BIGNUM *all[] = { k->n, k->e, k->d, k->p, k->q, k->dp, k->dq, k->q_inverse };

        for (size_t i = 0; i < ELEMENTS(all); i++)
                BN_clear_free(all[i]);
}

static BIGNUM *private_number(void) {
        BIGNUM *n = BN_secure_new();

        if (n)
                BN_set_flags(n, BN_FLG_CONSTTIME);
        return n;
}

static bool numbers_new(struct numbers *k, BIGNUM *p, BIGNUM *q) {
        bool p_is_less = BN_cmp(p, q) < 0;

        BN_set_flags(p, BN_FLG_CONSTTIME);
        BN_set_flags(q, BN_FLG_CONSTTIME);
        *k = (struct numbers) { .p = p_is_less ? q : p, .q = p_is_less ? p : q, .n = BN_new(), .e = BN_new() };
        k->d = private_number();
        k->dp = private_number();
        k->dq = private_number();
        k->q_inverse = private_number();
        return k->n && k->e && k->d && k->dp && k->dq && k->q_inverse;
}

/* Computes the other numbers from the primes. */
static bool compute(struct numbers *k) {
        _cleanup_(bn_ctx_freep) BN_CTX *c = BN_CTX_secure_new();
        _cleanup_(bn_freep) BIGNUM *p1 = private_number(), *q1 = private_number(), *t = private_number(),
                                   *lcm = private_number();

        return c && p1 && q1 && t && lcm && BN_set_word(k->e, EXPONENT) == 1 && /* public */
               BN_sub(t, k->p, k->q) == 1 && BN_num_bits(t) > DISTANCE_BITS &&  /* p is larger */
               BN_mul(k->n, k->p, k->q, c) == 1 && BN_num_bits(k->n) == RSA_KEY_BITS &&
               /* d = 1 / e, modulo the least common multiple of p - 1 and q - 1 */
               BN_sub(p1, k->p, BN_value_one()) == 1 && BN_sub(q1, k->q, BN_value_one()) == 1 &&
               BN_gcd(t, p1, q1, c) == 1 && BN_div(lcm, NULL, p1, t, c) == 1 && BN_mul(lcm, lcm, q1, c) == 1 &&
               BN_mod_inverse(k->d, k->e, lcm, c) && BN_num_bits(k->d) > PRIME_BITS &&
               /* for the Chinese remainder theorem */
               BN_mod(k->dp, k->d, p1, c) == 1 && BN_mod(k->dq, k->d, q1, c) == 1 &&
               BN_mod_inverse(k->q_inverse, k->q, k->p, c);
}

static EVP_PKEY *key_of(const struct numbers *k, EVP_PKEY_CTX *c) {
        const struct {
                const char *name;
                const BIGNUM *number;
        } table[] = {
                { OSSL_PKEY_PARAM_RSA_N, k->n },          { OSSL_PKEY_PARAM_RSA_E, k->e },
                { OSSL_PKEY_PARAM_RSA_D, k->d },          { OSSL_PKEY_PARAM_RSA_FACTOR1, k->p },
                { OSSL_PKEY_PARAM_RSA_FACTOR2, k->q },    { OSSL_PKEY_PARAM_RSA_EXPONENT1, k->dp },
                { OSSL_PKEY_PARAM_RSA_EXPONENT2, k->dq }, { OSSL_PKEY_PARAM_RSA_COEFFICIENT1, k->q_inverse },
        };
        _cleanup_(bld_freep) OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
        _cleanup_(params_freep) OSSL_PARAM *params = NULL;
        EVP_PKEY *key = NULL;

        for (size_t i = 0; i < ELEMENTS(table); i++)
                if (!bld || OSSL_PARAM_BLD_push_BN(bld, table[i].name, table[i].number) != 1)
                        return NULL;
        params = OSSL_PARAM_BLD_to_param(bld);
        return params && EVP_PKEY_fromdata(c, &key, EVP_PKEY_KEYPAIR, params) == 1 ? key : NULL;
}

/* Whether what the key encrypts is what it decrypts. */
static bool works(EVP_PKEY *key) {
        _cleanup_(pkey_ctx_freep) EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
        static const uint8_t text[] = "sealboot";
        uint8_t encrypted[RSA_KEY_BITS / 8], decrypted[RSA_KEY_BITS / 8];
        size_t n = sizeof encrypted, m = sizeof decrypted;

        return c && EVP_PKEY_encrypt_init(c) == 1 && EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_OAEP_PADDING) == 1 &&
               EVP_PKEY_encrypt(c, encrypted, &n, text, sizeof text) == 1 && EVP_PKEY_decrypt_init(c) == 1 &&
               EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_OAEP_PADDING) == 1 &&
               EVP_PKEY_decrypt(c, decrypted, &m, encrypted, n) == 1 && m == sizeof text &&
               memcmp(decrypted, text, sizeof text) == 0;
}

int rsa_key_new(EVP_PKEY **ret) {
        _cleanup_(pkey_ctx_freep) EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_id(EVP_PKEY_RSA, NULL);
        _cleanup_(numbers_done) struct numbers k = { 0 };
        _cleanup_(pkey_freep) EVP_PKEY *key = NULL;
        struct search s = { .lock = PTHREAD_MUTEX_INITIALIZER };
        bool found;

        if (!c || EVP_PKEY_fromdata_init(c) != 1)
                return -EIO;
        found = find_primes(&s);
        if (!found) {
                BN_clear_free(s.primes[0]);
                return -EIO;
        }
        secret_memory_begin();
        if (numbers_new(&k, s.primes[0], s.primes[1]) && compute(&k))
                key = key_of(&k, c);
        if (key && !works(key))
                EVP_PKEY_free(TAKE(key));
        secret_memory_end();
        if (!key)
                return -EIO;
        *ret = TAKE(key);
        return 0;
}
