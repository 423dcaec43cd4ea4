/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/nitrotpm.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <signal.h>
#include <tss2/tss2_tcti.h>

#include "basic/reader.h"
#include "evidence/cbor.h"
#include "evidence/tpm-internal.h"
#include "evidence/turn.h"

enum {
        AUTH_BYTES = 32,
        RESPONSE_MAX = 4096,
        NV_BUFFER_ASSUMED = 512, /* of a TPM that does not tell; every TPM takes as much */
};

struct index {
        struct tpm *tpm;
        uint32_t number;
        ESYS_TR handle;
        TPM2B_AUTH auth;
        uint32_t buffer_max;
};

/* A response code without the layer that put it there: resource managers answer in the TPM's stead. */
static TSS2_RC plain(TSS2_RC rc) {
        return rc & 0xffff;
}

static int undefine(struct tpm *t, ESYS_TR handle, struct error *e) {
        TSS2_RC rc;

        TPM_PATIENTLY(t, rc,
                      Esys_NV_UndefineSpace(tpm_esys(t), ESYS_TR_RH_OWNER, handle, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                            ESYS_TR_NONE));
        return rc == TSS2_RC_SUCCESS ? 0 : tpm_fail(e, FAILURE_TPM, t, "TPM2_NV_UndefineSpace", rc);
}

static bool is_ours(TPM2_HANDLE index) {
        return index >= ATTESTATION_INDEX_FIRST && index < ATTESTATION_INDEX_FIRST + ATTESTATION_INDICES;
}

static int clear_index(struct tpm *t, TPM2_HANDLE index, struct error *e) {
        ESYS_TR handle;
        TSS2_RC rc;

        TPM_PATIENTLY(t, rc,
                      Esys_TR_FromTPMPublic(tpm_esys(t), index, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &handle));
        return rc == TSS2_RC_SUCCESS ? undefine(t, handle, e) : tpm_fail(e, FAILURE_TPM, t, "TPM2_NV_ReadPublic", rc);
}

int nitrotpm_clear_leftover(struct tpm *t, size_t *ret_cleared, struct error *e) {
        _cleanup_esys_ TPMS_CAPABILITY_DATA *data = NULL;
        const TPML_HANDLE *found;
        size_t cleared = 0;
        TSS2_RC rc;

        TPM_PATIENTLY(t, rc,
                      Esys_GetCapability(tpm_esys(t), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_HANDLES,
                                         ATTESTATION_INDEX_FIRST, ATTESTATION_INDICES, NULL, &data));
        if (rc != TSS2_RC_SUCCESS)
                return tpm_fail(e, FAILURE_TPM, t, "TPM2_GetCapability", rc);
        found = &data->data.handles;
        for (uint32_t i = 0; i < MIN_OF(found->count, (uint32_t) ATTESTATION_INDICES); i++) {
                int r;

                if (!is_ours(found->handle[i]))
                        continue;
                r = clear_index(t, found->handle[i], e);
                if (r < 0)
                        return r;
                cleared++;
        }
        *ret_cleared = cleared;
        return 0;
}

static int define_failed(struct tpm *t, TSS2_RC rc, struct error *e) {
        TSS2_RC code = plain(rc) & ~(TSS2_RC) (TPM2_RC_P | TPM2_RC_N_MASK);

        tpm_fail(e, FAILURE_TPM, t, "TPM2_NV_DefineSpace", rc);
        if (code == TPM2_RC_BAD_AUTH || code == TPM2_RC_AUTH_FAIL)
                fail_advice(e,
                            "The TPM's owner hierarchy has a password. Nothing in an attestable image should set one.");
        if (plain(rc) == TPM2_RC_NV_SPACE)
                fail_advice(e, "The TPM's NV memory is full: list what is there with tpm2_nvreadpublic and remove what "
                               "is not needed.");
        return -EIO;
}

/* A TPM counts every power cut as a wrong guess at an authorization value (TPM 2.0 part 1, section 19.8.6), so that a
 * few power cuts lock it. Our value is random and needs no such protection: on a locked TPM the index asks for none. On
 * others it asks for what AWS's client asks for. */
static int choose_attributes(struct tpm *t, TPMA_NV *ret, struct error *e) {
        uint32_t state;
        int r;

        r = tpm_property(t, TPM2_PT_PERMANENT, 0, &state, e);
        if (r < 0)
                return r;
        *ret = TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE | (state & TPMA_PERMANENT_INLOCKOUT ? TPMA_NV_NO_DA : 0);
        return 0;
}

/* Defines the index under the first of our numbers that is free. */
static int define(struct index *x, struct error *e) {
        TPM2B_NV_PUBLIC public = { .nvPublic = { .nameAlg = TPM2_ALG_SHA256, .dataSize = ATTESTATION_INDEX_BYTES } };
        TSS2_RC rc = TPM2_RC_NV_DEFINED;
        int r;

        r = choose_attributes(x->tpm, &public.nvPublic.attributes, e);
        if (r < 0)
                return r;
        x->auth.size = AUTH_BYTES;
        if (RAND_priv_bytes(x->auth.buffer, AUTH_BYTES) != 1)
                return fail(e, FAILURE_INTERNAL, -EIO, "", "no random numbers");
        for (uint32_t i = 0; i < ATTESTATION_INDICES && plain(rc) == TPM2_RC_NV_DEFINED; i++) {
                x->number = public.nvPublic.nvIndex = ATTESTATION_INDEX_FIRST + i;
                TPM_PATIENTLY(x->tpm, rc,
                              Esys_NV_DefineSpace(tpm_esys(x->tpm), ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                                  ESYS_TR_NONE, &x->auth, &public, &x->handle));
        }
        return rc == TSS2_RC_SUCCESS ? 0 : define_failed(x->tpm, rc, e);
}

static int write_request(struct index *x, const uint8_t *request, size_t n, struct error *e) {
        TSS2_RC rc;

        rc = Esys_TR_SetAuth(tpm_esys(x->tpm), x->handle, &x->auth);
        if (rc != TSS2_RC_SUCCESS)
                return tpm_fail(e, FAILURE_TPM, x->tpm, "Esys_TR_SetAuth", rc);
        for (size_t offset = 0; offset < n;) {
                TPM2B_MAX_NV_BUFFER chunk = { .size = (UINT16) MIN_OF(n - offset, (size_t) x->buffer_max) };

                memcpy(chunk.buffer, request + offset, chunk.size);
                TPM_PATIENTLY(x->tpm, rc,
                              Esys_NV_Write(tpm_esys(x->tpm), x->handle, x->handle, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                            ESYS_TR_NONE, &chunk, (UINT16) offset));
                if (rc != TSS2_RC_SUCCESS)
                        return tpm_fail(e, FAILURE_TPM, x->tpm, "TPM2_NV_Write", rc);
                offset += chunk.size;
        }
        return 0;
}

/* Handles, then the authorization area of one password session, and no parameters (TPM 2.0 part 1, section 16). */
static size_t compose_vendor_command(const struct index *x, uint8_t *command) {
        const struct {
                uint32_t value;
                uint8_t width;
        } head[] = {
                { TPM2_ST_SESSIONS, 2 }, { 0, 4 },         { ATTESTATION_COMMAND, 4 },
                { x->number, 4 },        { x->number, 4 }, { 4 + 2 + 1 + 2 + AUTH_BYTES, 4 },
                { TPM2_RS_PW, 4 },       { 0, 2 },         { 0, 1 },
                { AUTH_BYTES, 2 },
        };
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTS(head); i++)
                for (unsigned shift = 8 * head[i].width; shift > 0; shift -= 8)
                        command[n++] = (uint8_t) (head[i].value >> (shift - 8));
        memcpy(command + n, x->auth.buffer, AUTH_BYTES);
        n += AUTH_BYTES;
        command[5] = (uint8_t) n;
        return n;
}

/* Sends the command through ESYS's own TCTI context: ESYS has no vendor commands. */
static TSS2_RC transmit(TSS2_TCTI_CONTEXT *tcti, const uint8_t *command, size_t n) {
        uint8_t response[RESPONSE_MAX];
        size_t size = sizeof response;
        struct reader r;
        uint32_t declared, code;
        TSS2_RC rc;

        rc = Tss2_Tcti_Transmit(tcti, n, command);
        if (rc != TSS2_RC_SUCCESS)
                return rc;
        rc = Tss2_Tcti_Receive(tcti, &size, response, TSS2_TCTI_TIMEOUT_BLOCK);
        if (rc != TSS2_RC_SUCCESS)
                return rc;
        r = reader_over(response, size);
        if (reader_skip(&r, 2) < 0 || reader_be32(&r, &declared) < 0 || reader_be32(&r, &code) < 0 || declared != size)
                return TSS2_TCTI_RC_MALFORMED_RESPONSE;
        return code;
}

static int send_vendor_command(struct index *x, struct error *e) {
        TSS2_TCTI_CONTEXT *tcti;
        uint8_t command[128];
        size_t n;
        TSS2_RC rc;

        rc = Esys_GetTcti(tpm_esys(x->tpm), &tcti);
        if (rc != TSS2_RC_SUCCESS)
                return tpm_fail(e, FAILURE_TPM, x->tpm, "Esys_GetTcti", rc);
        n = compose_vendor_command(x, command);
        TPM_PATIENTLY(x->tpm, rc, transmit(tcti, command, n));
        OPENSSL_cleanse(command, sizeof command);
        if (plain(rc) == TPM2_RC_COMMAND_CODE)
                return fail(e, FAILURE_ATTESTATION, -EOPNOTSUPP, tpm_name(x->tpm),
                            "this TPM does not know the NitroTPM's attestation command");
        return rc == TSS2_RC_SUCCESS ? 0 : tpm_fail(e, FAILURE_ATTESTATION, x->tpm, "NitroTPM attestation command", rc);
}

static int read_chunk(struct index *x, uint8_t *out, size_t offset, size_t wanted, struct error *e) {
        _cleanup_esys_ TPM2B_MAX_NV_BUFFER *chunk = NULL;
        TSS2_RC rc;

        TPM_PATIENTLY(x->tpm, rc,
                      Esys_NV_Read(tpm_esys(x->tpm), x->handle, x->handle, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                                   (UINT16) wanted, (UINT16) offset, &chunk));
        if (rc != TSS2_RC_SUCCESS)
                return tpm_fail(e, FAILURE_TPM, x->tpm, "TPM2_NV_Read", rc);
        if (chunk->size != wanted)
                return fail(e, FAILURE_TPM, -EBADMSG, tpm_name(x->tpm), "TPM2_NV_Read gave %u bytes of %zu",
                            chunk->size, wanted);
        memcpy(out + offset, chunk->buffer, wanted);
        return 0;
}

/* The first chunk tells the answer's length; then only the rest of the answer is read, not the padding. */
static int read_answer(struct index *x, uint8_t out[static ATTESTATION_INDEX_BYTES], size_t *ret_size,
                       struct error *e) {
        size_t got = 0, need = x->buffer_max;
        int r;

        for (;;) {
                size_t wanted = MIN_OF(need - got, (size_t) x->buffer_max);

                r = read_chunk(x, out, got, wanted, e);
                if (r < 0)
                        return r;
                got += wanted;
                r = cbor_measure(out, got, &need);
                if (r == 0)
                        break;
                if (r != -EAGAIN || need > ATTESTATION_INDEX_BYTES)
                        return fail(e, FAILURE_ATTESTATION, -EBADMSG, tpm_name(x->tpm),
                                    "the NitroTPM's answer is not CBOR");
        }
        *ret_size = need;
        return 0;
}

/* What happens while the index is there. */
static int exchange(struct index *x, const uint8_t *request, size_t n, uint8_t **ret_document, size_t *ret_size,
                    struct error *e) {
        uint8_t answer[ATTESTATION_INDEX_BYTES];
        const uint8_t *document;
        size_t size;
        uint8_t *copy;
        int r;

        r = write_request(x, request, n, e);
        if (r < 0)
                return r;
        r = send_vendor_command(x, e);
        if (r < 0)
                return r;
        r = read_answer(x, answer, &size, e);
        if (r < 0)
                return r;
        r = nitrotpm_decode_answer(answer, size, tpm_name(x->tpm), &document, &size, e);
        if (r < 0)
                return r;
        copy = malloc(size);
        if (!copy)
                return fail_oom(e);
        memcpy(copy, document, size);
        *ret_document = copy;
        *ret_size = size;
        return 0;
}

/* After a broken connection the index may still be there, even where the answer to its definition was lost: then our
 * whole range is cleared through a new connection. */
static int clean_up(struct index *x, struct error *e) {
        size_t cleared;
        int r;

        if (x->handle != ESYS_TR_NONE && undefine(x->tpm, x->handle, e) == 0)
                return 0;
        r = tpm_reconnect(x->tpm, e);
        return r < 0 ? r : nitrotpm_clear_leftover(x->tpm, &cleared, e);
}

static int attest(struct tpm *t, const uint8_t *request, size_t n, uint8_t **ret_document, size_t *ret_size,
                  struct error *e) {
        _cleanup_free_ uint8_t *document = NULL;
        struct index x = { .tpm = t, .handle = ESYS_TR_NONE };
        size_t cleared, size = 0;
        int r, k;

        r = tpm_property(t, TPM2_PT_NV_BUFFER_MAX, NV_BUFFER_ASSUMED, &x.buffer_max, e);
        if (r < 0)
                return r;
        x.buffer_max = MIN_OF(MAX_OF(x.buffer_max, 1u), (uint32_t) TPM2_MAX_NV_BUFFER_SIZE);
        r = nitrotpm_clear_leftover(t, &cleared, e);
        if (r < 0)
                return r;
        r = define(&x, e);
        if (r == 0)
                r = exchange(&x, request, n, &document, &size, e);
        k = clean_up(&x, r < 0 ? NULL : e);
        r = r < 0 ? r : k;
        OPENSSL_cleanse(&x.auth, sizeof x.auth);
        if (r < 0)
                return r;
        *ret_document = TAKE(document);
        *ret_size = size;
        return 0;
}

static int attest_or_fall_back(struct tpm *t, const uint8_t *request, size_t n, uint8_t **ret_document,
                               size_t *ret_size, struct error *e) {
        const char *fallback = tpm_fallback(t);
        _cleanup_tpm_ struct tpm *other = NULL;
        int r;

        r = attest(t, request, n, ret_document, ret_size, e);
        if (r != -EOPNOTSUPP || !fallback || access(fallback, F_OK) < 0)
                return r;
        r = tpm_open_device((const char *const[]) { fallback, NULL }, tpm_busy_wait_ms(t), &other, e);
        return r < 0 ? r : attest(other, request, n, ret_document, ret_size, e);
}

/* All signals but those that a fault of this program raises. */
static void hold_signals(sigset_t *ret_before) {
        static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS };
        sigset_t set;

        sigfillset(&set);
        for (size_t i = 0; i < ELEMENTS(faults); i++)
                sigdelset(&set, faults[i]);
        pthread_sigmask(SIG_BLOCK, &set, ret_before);
}

int nitrotpm_attest(struct tpm *t, const struct attestation_request *request, uint8_t **ret_document, size_t *ret_size,
                    struct error *e) {
        uint8_t encoded[ATTESTATION_REQUEST_MAX];
        _cleanup_close_ int turn = -1;
        sigset_t before;
        size_t n;
        int r;

        r = nitrotpm_encode_request(request, encoded, &n, e);
        if (r < 0)
                return r;
        r = turn_take(tpm_name(t), tpm_busy_wait_ms(t), &turn, e);
        if (r < 0)
                return r;
        hold_signals(&before);
        r = attest_or_fall_back(t, encoded, n, ret_document, ret_size, e);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return r;
}
