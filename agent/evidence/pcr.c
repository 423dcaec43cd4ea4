/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/pcr.h"

#include <openssl/evp.h>

#include "basic/encode.h"
#include "evidence/tpm-internal.h"

/* The TPM may change under a read of several commands; it counts its changes. */
enum { READ_ATTEMPTS = 16 };

static const struct pcr_algorithm algorithms[] = {
        { TPM2_ALG_SHA1, "sha1", SHA1_SIZE },
        { TPM2_ALG_SHA256, "sha256", SHA256_SIZE },
        { TPM2_ALG_SHA384, "sha384", SHA384_SIZE },
        { TPM2_ALG_SHA512, "sha512", SHA512_SIZE },
};

const struct pcr_algorithm *pcr_algorithm(TPM2_ALG_ID id) {
        for (size_t i = 0; i < ELEMENTS(algorithms); i++)
                if (algorithms[i].id == id)
                        return &algorithms[i];
        return NULL;
}

const struct pcr_algorithm *pcr_algorithm_named(const char *name) {
        for (size_t i = 0; i < ELEMENTS(algorithms); i++)
                if (streq(algorithms[i].name, name))
                        return &algorithms[i];
        return NULL;
}

static bool any_selected(const TPMS_PCR_SELECTION *s) {
        for (size_t i = 0; i < MIN_OF(s->sizeofSelect, sizeof s->pcrSelect); i++)
                if (s->pcrSelect[i])
                        return true;
        return false;
}

int tpm_pcr_banks(struct tpm *t, const struct pcr_algorithm *ret[static PCR_BANKS_MAX], size_t *ret_n,
                  struct error *e) {
        _cleanup_esys_ TPMS_CAPABILITY_DATA *data = NULL;
        const struct pcr_algorithm *banks[PCR_BANKS_MAX] = { NULL };
        const TPML_PCR_SELECTION *list;
        size_t n = 0;
        TSS2_RC rc;

        TPM_PATIENTLY(t, rc,
                      Esys_GetCapability(tpm_esys(t), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_PCRS, 0,
                                         TPM2_NUM_PCR_BANKS, NULL, &data));
        if (rc != TSS2_RC_SUCCESS)
                return tpm_fail(e, FAILURE_TPM, t, "TPM2_GetCapability", rc);
        list = &data->data.assignedPCR;
        for (uint32_t i = 0; i < MIN_OF(list->count, (uint32_t) TPM2_NUM_PCR_BANKS); i++) {
                if (!any_selected(&list->pcrSelections[i]))
                        continue;
                if (n == PCR_BANKS_MAX || !pcr_algorithm(list->pcrSelections[i].hash))
                        return fail(e, FAILURE_TPM, -EOPNOTSUPP, tpm_name(t),
                                    "the PCR bank of algorithm 0x%04x is active, which cannot be computed here: left "
                                    "alone, it would say that nothing was loaded",
                                    list->pcrSelections[i].hash);
                banks[n++] = pcr_algorithm(list->pcrSelections[i].hash);
        }
        if (n == 0)
                return fail(e, FAILURE_TPM, -ENOENT, tpm_name(t), "no PCR bank is active");
        memcpy(ret, banks, sizeof banks);
        *ret_n = n;
        return 0;
}

static TPMS_PCR_SELECTION selection(const struct pcr_algorithm *bank, uint32_t mask) {
        return (TPMS_PCR_SELECTION) {
                .hash = bank->id,
                .sizeofSelect = 3,
                .pcrSelect = { (BYTE) mask, (BYTE) (mask >> 8), (BYTE) (mask >> 16) },
        };
}

static uint32_t selected(const TPMS_PCR_SELECTION *s, const struct pcr_algorithm *bank) {
        uint32_t mask = 0;

        if (s->hash != bank->id)
                return 0;
        for (unsigned i = 0; i < MIN_OF(s->sizeofSelect, 3u); i++)
                mask |= (uint32_t) s->pcrSelect[i] << 8 * i;
        return mask;
}

static int copy_digest(struct tpm *t, const struct pcr_algorithm *bank, const TPM2B_DIGEST *digest,
                       uint8_t value[static PCR_DIGEST_MAX], struct error *e) {
        if (digest->size != bank->size)
                return fail(e, FAILURE_TPM, -EBADMSG, tpm_name(t), "TPM2_PCR_Read gave %u bytes for a %s digest",
                            digest->size, bank->name);
        memcpy(value, digest->buffer, bank->size);
        return 0;
}

/* One TPM2_PCR_Read. The TPM decides how many of the PCRs it returns. */
static int read_some(struct tpm *t, const struct pcr_algorithm *bank, uint32_t mask,
                     uint8_t values[static PCR_COUNT][PCR_DIGEST_MAX], uint32_t *ret_got, uint32_t *ret_counter,
                     struct error *e) {
        TPML_PCR_SELECTION wanted = { .count = 1, .pcrSelections = { selection(bank, mask) } };
        _cleanup_esys_ TPML_PCR_SELECTION *given = NULL;
        _cleanup_esys_ TPML_DIGEST *digests = NULL;
        uint32_t got, k = 0;
        TSS2_RC rc;

        TPM_PATIENTLY(t, rc,
                      Esys_PCR_Read(tpm_esys(t), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &wanted, ret_counter, &given,
                                    &digests));
        if (rc != TSS2_RC_SUCCESS)
                return tpm_fail(e, FAILURE_TPM, t, "TPM2_PCR_Read", rc);
        got = given->count == 1 ? selected(&given->pcrSelections[0], bank) : 0;
        if (got == 0 || (got & ~mask) || (uint32_t) __builtin_popcount(got) != digests->count)
                return fail(e, FAILURE_TPM, -EBADMSG, tpm_name(t), "TPM2_PCR_Read gave no values of the %s bank",
                            bank->name);
        for (unsigned pcr = 0; pcr < PCR_COUNT; pcr++)
                if (got & UINT32_C(1) << pcr && copy_digest(t, bank, &digests->digests[k++], values[pcr], e) < 0)
                        return -EBADMSG;
        *ret_got = got;
        return 0;
}

int tpm_pcr_read(struct tpm *t, TPM2_ALG_ID bank, uint32_t mask, uint8_t values[static PCR_COUNT][PCR_DIGEST_MAX],
                 struct error *e) {
        const struct pcr_algorithm *algorithm = pcr_algorithm(bank);
        uint8_t read[PCR_COUNT][PCR_DIGEST_MAX] = { { 0 } };
        uint32_t left = mask, first_counter = 0, attempts = 0;

        if (!algorithm || mask >> PCR_COUNT)
                return fail(e, FAILURE_INTERNAL, -EINVAL, tpm_name(t), "no such PCR or bank");
        while (left) {
                uint32_t got = 0, counter = 0;
                int r;

                r = read_some(t, algorithm, left, read, &got, &counter, e);
                if (r < 0)
                        return r;
                if (left != mask && counter != first_counter) {
                        if (++attempts == READ_ATTEMPTS)
                                return fail(e, FAILURE_TPM, -EAGAIN, tpm_name(t),
                                            "the PCRs changed each time that they were read");
                        left = mask;
                        continue;
                }
                first_counter = counter;
                left &= ~got;
        }
        memcpy(values, read, sizeof read);
        return 0;
}

/* One register in all banks of c, in one command: all from one moment, and on the critical path of a boot. */
static int read_register(struct tpm *t, unsigned pcr, const struct pcr_changes *c,
                         uint8_t values[static PCR_BANKS_MAX][PCR_DIGEST_MAX], struct error *e) {
        TPML_PCR_SELECTION wanted = { .count = (UINT32) c->n };
        _cleanup_esys_ TPML_PCR_SELECTION *given = NULL;
        _cleanup_esys_ TPML_DIGEST *digests = NULL;
        TSS2_RC rc;

        for (size_t i = 0; i < c->n; i++)
                wanted.pcrSelections[i] = selection(c->banks[i].algorithm, UINT32_C(1) << pcr);
        TPM_PATIENTLY(t, rc,
                      Esys_PCR_Read(tpm_esys(t), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &wanted, NULL, &given,
                                    &digests));
        if (rc != TSS2_RC_SUCCESS)
                return tpm_fail(e, FAILURE_TPM, t, "TPM2_PCR_Read", rc);
        if (given->count != c->n || digests->count != c->n)
                return fail(e, FAILURE_TPM, -EBADMSG, tpm_name(t), "TPM2_PCR_Read gave PCR%u of %u banks, not %zu", pcr,
                            digests->count, c->n);
        for (size_t i = 0; i < c->n; i++) {
                const struct pcr_algorithm *bank = c->banks[i].algorithm;

                if (selected(&given->pcrSelections[i], bank) != UINT32_C(1) << pcr)
                        return fail(e, FAILURE_TPM, -EBADMSG, tpm_name(t), "TPM2_PCR_Read gave no PCR%u of the %s bank",
                                    pcr, bank->name);
                if (copy_digest(t, bank, &digests->digests[i], values[i], e) < 0)
                        return -EBADMSG;
        }
        return 0;
}

static bool is_zero(const uint8_t *data, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (data[i])
                        return false;
        return true;
}

static int refuse_nonzero(struct tpm *t, unsigned pcr, const struct pcr_changes *c, const char *log, struct error *e) {
        char banks[128] = "", who[512];
        size_t n = 0;

        for (size_t i = 0; i < c->n; i++)
                if (!is_zero(c->banks[i].before, c->banks[i].algorithm->size))
                        n += (size_t) snprintf(banks + n, sizeof banks - n, "%s%s", n > 0 ? ", " : "",
                                               c->banks[i].algorithm->name);
        if (n == 0)
                return 0;
        if (!log)
                return fail(e, FAILURE_PCR_NOT_ZERO, -EEXIST, tpm_name(t), "PCR%u is not zero (%s)", pcr, banks);
        if (measurement_log_explain(log, pcr, who, sizeof who) > 0)
                return fail(e, FAILURE_PCR_NOT_ZERO, -EEXIST, tpm_name(t),
                            "PCR%u is not zero (%s); by %s it was extended with %s", pcr, banks, log, who);
        return fail(e, FAILURE_PCR_NOT_ZERO, -EEXIST, tpm_name(t),
                    "PCR%u is not zero (%s), and %s does not tell who extended it", pcr, banks, log);
}

/* Fills in the active banks and what the register holds in them. */
static int read_before(struct tpm *t, unsigned pcr, struct pcr_changes *c, struct error *e) {
        const struct pcr_algorithm *banks[PCR_BANKS_MAX];
        uint8_t values[PCR_BANKS_MAX][PCR_DIGEST_MAX];
        int r;

        if (pcr >= PCR_COUNT)
                return fail(e, FAILURE_INTERNAL, -EINVAL, tpm_name(t), "there is no PCR%u", pcr);
        r = tpm_pcr_banks(t, banks, &c->n, e);
        if (r < 0)
                return r;
        for (size_t i = 0; i < c->n; i++)
                c->banks[i].algorithm = banks[i];
        r = read_register(t, pcr, c, values, e);
        if (r < 0)
                return r;
        for (size_t i = 0; i < c->n; i++)
                memcpy(c->banks[i].before, values[i], banks[i]->size);
        return 0;
}

static int require_sha384(struct tpm *t, const struct pcr_changes *c, struct error *e) {
        char active[128] = "";
        size_t n = 0;

        for (size_t i = 0; i < c->n; i++) {
                if (c->banks[i].algorithm->id == TPM2_ALG_SHA384)
                        return 0;
                n += (size_t) snprintf(active + n, sizeof active - n, "%s%s", i > 0 ? ", " : "",
                                       c->banks[i].algorithm->name);
        }
        return fail(e, FAILURE_PCR_BANK, -ENOENT, tpm_name(t),
                    "its active PCR banks are %s; KMS and consumers compare the SHA-384 bank, which would not tell of "
                    "the model",
                    active);
}

int tpm_pcr_require_zero(struct tpm *t, unsigned pcr, const char *log, struct error *e) {
        struct pcr_changes c = { .n = 0 };
        int r;

        r = read_before(t, pcr, &c, e);
        if (r < 0)
                return r;
        r = require_sha384(t, &c, e);
        return r < 0 ? r : refuse_nonzero(t, pcr, &c, log, e);
}

static int hash(const struct pcr_algorithm *a, const void *first, size_t n_first, const void *second, size_t n_second,
                uint8_t *ret) {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        bool ok;

        ok = ctx && EVP_DigestInit_ex(ctx, EVP_get_digestbyname(a->name), NULL) == 1 &&
             EVP_DigestUpdate(ctx, first, n_first) == 1 && EVP_DigestUpdate(ctx, second, n_second) == 1 &&
             EVP_DigestFinal_ex(ctx, ret, NULL) == 1;
        EVP_MD_CTX_free(ctx);
        return ok ? 0 : -EIO;
}

/* `after` holds the prediction until the register has been read back. */
static int predict(struct pcr_changes *c, const void *text, size_t n, const uint8_t *sha384, struct error *e) {
        for (size_t i = 0; i < c->n; i++) {
                struct pcr_change *b = &c->banks[i];
                size_t size = b->algorithm->size;

                if (sha384 && b->algorithm->id == TPM2_ALG_SHA384)
                        memcpy(b->digest, sha384, SHA384_SIZE);
                else if (hash(b->algorithm, text, n, NULL, 0, b->digest) < 0)
                        return fail(e, FAILURE_MEASURE, -EIO, b->algorithm->name,
                                    "OpenSSL does not compute this digest");
                if (hash(b->algorithm, b->before, size, b->digest, size, b->after) < 0)
                        return fail(e, FAILURE_MEASURE, -EIO, b->algorithm->name,
                                    "OpenSSL does not compute this digest");
        }
        return 0;
}

static TSS2_RC extend(struct tpm *t, unsigned pcr, const struct pcr_changes *c) {
        TPML_DIGEST_VALUES values = { .count = (UINT32) c->n };
        TSS2_RC rc;

        for (size_t i = 0; i < c->n; i++) {
                values.digests[i].hashAlg = c->banks[i].algorithm->id;
                memcpy(&values.digests[i].digest, c->banks[i].digest, c->banks[i].algorithm->size);
        }
        /* The TPM did not carry out a command that it put off, so that sending it again extends the PCR once. */
        TPM_PATIENTLY(t, rc,
                      Esys_PCR_Extend(tpm_esys(t), ESYS_TR_PCR0 + pcr, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                                      &values));
        return rc;
}

static int compare_after(struct tpm *t, unsigned pcr, const struct pcr_changes *c, struct error *e) {
        uint8_t values[PCR_BANKS_MAX][PCR_DIGEST_MAX];
        int r;

        r = read_register(t, pcr, c, values, e);
        if (r < 0) {
                if (e)
                        e->failure = FAILURE_MEASURE;
                return r;
        }
        for (size_t i = 0; i < c->n; i++) {
                const struct pcr_change *b = &c->banks[i];
                char expected[2 * PCR_DIGEST_MAX + 1], found[2 * PCR_DIGEST_MAX + 1];

                if (memcmp(values[i], b->after, b->algorithm->size) == 0)
                        continue;
                hex_encode(b->after, b->algorithm->size, expected);
                hex_encode(values[i], b->algorithm->size, found);
                return fail(e, FAILURE_MEASURE, -EBADMSG, tpm_name(t),
                            "PCR%u of the %s bank is %s after it was extended, not %s: something else extended it at "
                            "the same time",
                            pcr, b->algorithm->name, found, expected);
        }
        return 0;
}

static int begin_log(const char *path, unsigned pcr, const struct pcr_changes *c, const struct measurement *what,
                     const void *text, size_t n, struct measurement_log **ret, struct error *e) {
        struct measured_digest digests[PCR_BANKS_MAX];

        for (size_t i = 0; i < c->n; i++)
                digests[i] = (struct measured_digest) { c->banks[i].algorithm->name, c->banks[i].digest,
                                                        c->banks[i].algorithm->size };
        return measurement_log_begin(path, pcr, digests, c->n, what, text, n, ret, e);
}

static int measure(struct tpm *t, unsigned pcr, const void *text, size_t n, const uint8_t *sha384,
                   const struct measurement *what, const char *log, struct pcr_changes *ret, struct error *e) {
        _cleanup_(measurement_log_closep) struct measurement_log *l = NULL;
        struct pcr_changes c = { .n = 0 };
        TSS2_RC rc;
        int r, k;

        r = read_before(t, pcr, &c, e);
        if (r < 0)
                return r;
        r = refuse_nonzero(t, pcr, &c, log, e);
        if (r < 0)
                return r;
        r = predict(&c, text, n, sha384, e);
        if (r < 0)
                return r;
        if (log) {
                /* Where a ready digest is extended, the text does not hash to it and stays out of the record. */
                r = begin_log(log, pcr, &c, what, sha384 ? NULL : text, n, &l, e);
                if (r < 0)
                        return r;
        }
        rc = extend(t, pcr, &c);
        if (rc != TSS2_RC_SUCCESS) {
                /* When the TPM itself refused, the PCR was not extended. When the answer was lost, it may have been:
                 * then the mark stays. */
                if (l && (rc & TSS2_RC_LAYER_MASK) == TSS2_TPM_RC_LAYER)
                        measurement_log_abort(l);
                return tpm_fail(e, FAILURE_MEASURE, t, "TPM2_PCR_Extend", rc);
        }
        r = compare_after(t, pcr, &c, e);
        k = l ? measurement_log_commit(l, r < 0 ? NULL : e) : 0;
        if (r < 0 || k < 0)
                return r < 0 ? r : k;
        *ret = c;
        return 0;
}

int tpm_pcr_measure(struct tpm *t, unsigned pcr, const void *text, size_t n, const struct measurement *what,
                    const char *log, struct pcr_changes *ret, struct error *e) {
        return measure(t, pcr, text, n, NULL, what, log, ret, e);
}

int tpm_pcr_measure_sha384(struct tpm *t, unsigned pcr, const uint8_t digest[static SHA384_SIZE],
                           const struct measurement *what, const char *log, struct pcr_changes *ret, struct error *e) {
        return measure(t, pcr, digest, SHA384_SIZE, digest, what, log, ret, e);
}
