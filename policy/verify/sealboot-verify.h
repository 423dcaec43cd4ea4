/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SEALBOOT_VERIFY_H
#define SEALBOOT_VERIFY_H

/* clang-format off */
/* Verify attestation documents of NitroTPM and AWS Nitro Enclaves in a service of your own, as AWS KMS does before it
 * releases a key: the service learns what the instance booted before it answers.
 *
 *     struct sealboot_verifier *v = sealboot_verifier_new();
 *
 *     sealboot_verifier_expect_nonce(v, nonce, sizeof nonce);        // fresh: else it may be a replay
 *     sealboot_verifier_add_reference(v, json, strlen(json), "v7");  // as `sealboot measure` writes it
 *     sealboot_verifier_require_whole_reference(v, 1);               // refuse a partial reference
 *     if (sealboot_verifier_run(v, document, size) == 0)
 *             key = sealboot_verifier_public_key(v, &key_size);      // that instance alone holds its private half
 *     else
 *             fprintf(stderr, "%s\n", sealboot_verifier_error(v));
 *     sealboot_verifier_free(v);
 *
 * By default the root is AWS's, pinned by its SHA-256, and the time is now. What you do not ask for is not checked, and
 * listed so. Functions return 0 or a negative errno: -EINVAL for an argument or a combination that makes no sense,
 * -ENOMEM. A verifier belongs to one thread at a time and can run any number of documents; expectations stay. The
 * library prints nothing, opens nothing, and keeps no state outside the verifier. Link with
 * `pkg-config --cflags --libs sealboot-verify`. */
/* clang-format on */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sealboot_verifier;

struct sealboot_verifier *sealboot_verifier_new(void); /* NULL: out of memory */
void sealboot_verifier_free(struct sealboot_verifier *v);

/* A root certificate in PEM instead of AWS's, for emulators. */
int sealboot_verifier_set_root(struct sealboot_verifier *v, const char *pem, size_t size);

/* The time certificates must be valid at, in seconds since 1970; or as of when the document says it was signed, which
 * is for old documents and proves nothing about freshness. */
#define SEALBOOT_TIME_NOW ((int64_t) -1)
#define SEALBOOT_TIME_DOCUMENT ((int64_t) -2)
int sealboot_verifier_set_time(struct sealboot_verifier *v, int64_t seconds);

/* The document was signed at most this many seconds before that time. Not with SEALBOOT_TIME_DOCUMENT. */
int sealboot_verifier_set_max_age(struct sealboot_verifier *v, int64_t seconds);

/* Fields that must be there and equal, byte for byte; at most 1024 bytes, copied. */
int sealboot_verifier_expect_nonce(struct sealboot_verifier *v, const void *data, size_t size);
int sealboot_verifier_expect_user_data(struct sealboot_verifier *v, const void *data, size_t size);
int sealboot_verifier_expect_public_key(struct sealboot_verifier *v, const void *data, size_t size);

/* Reference measurements, {"Measurements": {"PCR4": hex, ...}} or an array of such. Every PCR of one set must be equal;
 * of several sets any one will do, whole. A set that has PCR7 or any of PCR9 to PCR15, or none of PCR0, 1, 2, 3 and 8,
 * is a NitroTPM's, any other an enclave's, and a document of the other kind does not meet it. `name` (may be NULL)
 * names it in details. */
int sealboot_verifier_add_reference(struct sealboot_verifier *v, const char *json, size_t size, const char *name);

/* Whether a set must cover what PCR4 does not: 0 (default) or 1. With 1 a NitroTPM's document does not meet a set that
 * has PCR4 but lacks PCR12 (a command line that is appended) or PCR2 (a UEFI driver from outside the firmware, which
 * can change the image after it was measured), unless the set has PCR7 and says "SecureBoot": true beside
 * "Measurements". The checks command-line and drivers then fail. Recommended. */
int sealboot_verifier_require_whole_reference(struct sealboot_verifier *v, int require);

/* SHA-384 model digests, any one of which must be what PCR15 was extended with, once. */
#define SEALBOOT_DIGEST_SIZE 48
int sealboot_verifier_add_model_digest(struct sealboot_verifier *v, const uint8_t digest[SEALBOOT_DIGEST_SIZE]);

/* Checks one document (raw COSE_Sign1, at most 32 KiB). 0: it is authentic and everything that was asked for holds.
 * -EBADMSG: malformed, or not signed under the root. -EKEYEXPIRED: signed, but not valid at that time, which may be the
 * clock's fault. -EKEYREJECTED: authentic, but not what was expected. */
int sealboot_verifier_run(struct sealboot_verifier *v, const void *document, size_t size);

/* Attested TLS. A machine makes its TLS key in memory, and has its document name the key, so that the connection ends
 * in that machine. Checks such a document like sealboot_verifier_run(), with the same references, model digests and
 * ages, and these rules:
 *
 * - user_data is "sealboot tls v1", a zero byte and the SHA-256 of `key`: the SubjectPublicKeyInfo in DER of the
 *   certificate that the peer showed in this connection's handshake. The certificate needs no authority. Take the
 *   document from the connection that is used afterwards, and refuse TLS before 1.3, resumption and early data.
 * - public_key is absent. A document that KMS would encrypt to is refused, and KMS has no use for one of these.
 * - nonce is the one given: 8 to 1024 bytes, fresh, of a random generator. NULL: not compared, for the document that a
 *   client has in its certificate. A maximum age is then required.
 * - PCR4 of a NitroTPM is not zero (the check debug-mode).
 * - At least one reference: otherwise every NitroTPM in the world passes. Expectations of nonce, user data and public
 *   key cannot be set, nor SEALBOOT_TIME_DOCUMENT. These give -EINVAL. */
#define SEALBOOT_TLS_USER_DATA_SIZE 48
#define SEALBOOT_TLS_NONCE_MIN 8
#define SEALBOOT_TLS_KEY_MAX 1024
int sealboot_verify_tls(struct sealboot_verifier *v, const void *document, size_t size, const void *key,
                        size_t key_size, const void *nonce, size_t nonce_size);

/* The key of a certificate in DER, for where the TLS library gives nothing else: its SubjectPublicKeyInfo. `key` has
 * room for SEALBOOT_TLS_KEY_MAX bytes. -EINVAL: no certificate, or a larger key. */
int sealboot_tls_certificate_key(const void *certificate, size_t size, uint8_t *key, size_t *key_size);

/* Of the last call that failed: one line, never NULL. */
const char *sealboot_verifier_error(const struct sealboot_verifier *v);

/* What the last run did, in a fixed order: structure, chain, validity, signature, age, nonce, user-data, public-key,
 * debug-mode, pcrs, command-line, model, drivers. Names are stable; details are for people. NULL after the last. */
enum sealboot_result { SEALBOOT_NOT_CHECKED = 0, SEALBOOT_PASSED = 1, SEALBOOT_FAILED = 2 };
struct sealboot_check {
        const char *name;
        enum sealboot_result result;
        const char *detail;
};
const struct sealboot_check *sealboot_verifier_check(const struct sealboot_verifier *v, size_t index);

/* What the document says, once structure, chain, validity and signature have passed; NULL or 0 before, and for what it
 * does not hold. Valid until the next run. */
enum sealboot_kind { SEALBOOT_UNKNOWN = 0, SEALBOOT_NITROTPM = 1, SEALBOOT_ENCLAVE = 2 };
enum sealboot_kind sealboot_verifier_kind(const struct sealboot_verifier *v);
const char *sealboot_verifier_module_id(const struct sealboot_verifier *v);
int64_t sealboot_verifier_timestamp(const struct sealboot_verifier *v);                  /* milliseconds since 1970 */
const uint8_t *sealboot_verifier_pcr(const struct sealboot_verifier *v, unsigned index); /* 48 bytes */
const uint8_t *sealboot_verifier_nonce(const struct sealboot_verifier *v, size_t *size);
const uint8_t *sealboot_verifier_user_data(const struct sealboot_verifier *v, size_t *size);
const uint8_t *sealboot_verifier_public_key(const struct sealboot_verifier *v, size_t *size);

#ifdef __cplusplus
}
#endif

#endif
