/* SPDX-License-Identifier: Apache-2.0 */

/* The data key: an attestation document, exchanged with KMS for the key, which only this boot's key pair can open. */

#include <openssl/rand.h>

#include "boot/boot.h"
#include "evidence/nitrotpm.h"

/* ---- the attestation document */

static void report_document(struct boot *b, const uint8_t *document, size_t n) {
        struct boot_evidence *evidence = &b->evidence;

        report_put(b->report, "document.bytes", json_object_new_int64((int64_t) n));
        evidence->known = document_claims(document, n, &evidence->claims) == 0;
        if (!evidence->known)
                return;
        report_put(b->report, "document.timestamp_ms", json_object_new_int64((int64_t) evidence->claims.timestamp_ms));
        for (unsigned i = 0; i < PCR_COUNT; i++) {
                char place[16];

                snprintf(place, sizeof place, "pcrs.%u", i);
                report_hex(b->report, place, "", evidence->claims.pcrs[i], SHA384_SIZE);
        }
}

static int get_document(struct boot *b, uint8_t **ret, size_t *ret_n, struct error *e) {
        struct attestation_request request = { 0 };
        uint8_t nonce[32];
        int r;

        if (RAND_bytes(nonce, sizeof nonce) != 1)
                return fail(e, FAILURE_INTERNAL, -EIO, "", "OpenSSL gave no random numbers");
        request.nonce = nonce;
        request.nonce_size = sizeof nonce;
        recipient_public_key(b->recipient.key, (const uint8_t **) &request.public_key, &request.public_key_size);
        boot_status("Getting an attestation document");
        report_begin(b->report, "attestation");
        pthread_mutex_lock(&b->critical);
        r = nitrotpm_attest(b->services.tpm, &request, ret, ret_n, e);
        pthread_mutex_unlock(&b->critical);
        report_end(b->report, "attestation", 0);
        return r;
}

/* KMS gets a new document with every attempt, since it refuses a document that is some minutes old. */
static int attest(void *userdata, uint8_t **ret, size_t *ret_n, struct error *e) {
        struct boot *b = userdata;
        int r;

        report_end(b->report, "kms", 0); /* the previous attempt's stage, if there was one */
        r = get_document(b, ret, ret_n, e);
        if (r < 0)
                return r;
        report_document(b, *ret, *ret_n);
        boot_status("Asking KMS for the data key");
        report_begin(b->report, "kms");
        return 0;
}

/* ---- KMS */

struct asking {
        struct boot *boot;
        struct kms_answer release;
        unsigned refused; /* the number of keys that did not open the data key */
};

static int ask_kms(void *userdata, const struct kms_ciphertext *ciphertext, struct error *e) {
        struct asking *a = userdata;
        int r;

        report_text(a->boot->report, "key_arn", ciphertext->key_arn);
        r = kms_release(a->boot->services.kms, ciphertext, attest, a->boot, &a->release, e);
        report_end(a->boot->report, "kms", 0);
        return r;
}

static void report_refusal(void *userdata, const struct kms_ciphertext *ciphertext, const struct error *e) {
        struct asking *a = userdata;
        const struct {
                const char *name, *text;
        } members[] = {
                { "key_arn", ciphertext->key_arn },
                { "failure", failure_info(e->failure)->name },
                { "reason", e->reason },
                { "request_id", e->request_id },
        };

        boot_status("KMS key %s did not open the data key; asking the next key", ciphertext->key_arn);
        for (size_t i = 0; i < ELEMENTS(members); i++) {
                char place[64];

                snprintf(place, sizeof place, "kms.refused.%u.%s", a->refused, members[i].name);
                report_text(a->boot->report, place, members[i].text);
        }
        a->refused++;
}

static int ask_for_key(struct boot *b, struct kms_answer *ret, struct error *e) {
        const struct key_candidates *candidates = &b->sealed.opening.candidates;
        struct asking a = { .boot = b };
        int r;

        r = key_candidates_try(candidates, b->sealed.source, ask_kms, report_refusal, &a, e);
        if (r < 0) {
                report_text(b->report, "key_arn", candidates->items[0].arn); /* the error is about the first key */
                return r;
        }
        *ret = a.release;
        return 0;
}

static int release_key(struct boot *b, struct error *e) {
        _cleanup_kms_answer_ struct kms_answer release = { 0 };
        int r;

        r = boot_join_recipient(b, e);
        if (r < 0)
                return r;
        r = ask_for_key(b, &release, e);
        if (r < 0)
                return r;
        report_text(b->report, "kms.request_id", release.request_id);
        report_put(b->report, "kms.attempts", json_object_new_int((int) release.attempts));
        return recipient_open(b->recipient.key, release.envelope, release.envelope_size, &b->sealed.opening.data_key,
                              e);
}

int boot_release(struct boot *b, struct error *e) {
        int r;

        report_begin(b->report, "key-release");
        r = release_key(b, e);
        /* The key pair is used once: free it now. */
        recipient_free(TAKE(b->recipient.key));
        report_end(b->report, "key-release", 0);
        return r;
}
