/* SPDX-License-Identifier: Apache-2.0 */

/* The data key of each input: an attestation document, exchanged with KMS for the key, which only this boot's key pair
 * can open. All data keys are there before PCR15 is extended: the key policy of every party may require zeros. */

#include <openssl/rand.h>

#include "basic/clock.h"
#include "boot/boot.h"
#include "evidence/nitrotpm.h"

/* How long a document is presented to the keys of further inputs. KMS takes it for five minutes. */
enum { DOCUMENT_SECONDS = 60 };

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

struct asking {
        struct boot *boot;
        struct boot_input *input;
        struct kms_answer release;
        bool attested;    /* this input was asked for with a document already */
        unsigned refused; /* the number of keys that did not open the data key */
};

/* Keeps the document for the inputs that follow. */
static int make_document(struct boot *b, struct error *e) {
        struct boot_evidence *evidence = &b->evidence;
        uint8_t *document;
        size_t n;
        int r;

        r = get_document(b, &document, &n, e);
        if (r < 0)
                return r;
        free(evidence->document);
        evidence->document = document;
        evidence->size = n;
        evidence->made_ns = clock_ns();
        report_document(b, document, n);
        return 0;
}

/* A document that was made for the input before serves this one, too: it is about the machine and the key pair, and
 * names neither a key nor a party. */
static bool may_use_again(const struct asking *a) {
        const struct boot_evidence *evidence = &a->boot->evidence;

        return evidence->document && !a->attested && clock_seconds_since(evidence->made_ns) < DOCUMENT_SECONDS;
}

/* KMS gets a new document with every further attempt, since it refuses a document that is some minutes old. */
static int attest(void *userdata, uint8_t **ret, size_t *ret_n, struct error *e) {
        struct asking *a = userdata;
        struct boot *b = a->boot;
        int r = 0;

        report_end(b->report, "kms", 0); /* the previous attempt's stage, if there was one */
        if (!may_use_again(a))
                r = make_document(b, e);
        if (r < 0)
                return r;
        a->attested = true;
        *ret = malloc(b->evidence.size);
        if (!*ret)
                return fail_oom(e);
        memcpy(*ret, b->evidence.document, b->evidence.size);
        *ret_n = b->evidence.size;
        boot_status("Asking %s for the data key%s%s", a->input->asked->store_url ?: "KMS",
                    a->input->label ? " of " : "", a->input->label ? a->input->asked->owner : "");
        report_begin(b->report, "kms");
        return 0;
}

/* ---- KMS */

static int ask_kms(void *userdata, const struct kms_ciphertext *ciphertext, struct error *e) {
        struct asking *a = userdata;
        int r;

        boot_report_text(a->boot, a->input, "key_arn", ciphertext->key_arn);
        r = kms_release(a->input->releaser, ciphertext, attest, a, &a->release, e);
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

        boot_status("Key %s did not open the data key; asking the next key", ciphertext->key_arn);
        for (size_t i = 0; i < ELEMENTS(members); i++) {
                char place[64];

                snprintf(place, sizeof place, "kms.refused.%u.%s", a->refused, members[i].name);
                boot_report_text(a->boot, a->input, place, members[i].text);
        }
        a->refused++;
}

/* A report of several inputs has, beside them, what the release that failed was about: `sealboot doctor` begins there.
 */
static void report_failed_release(struct boot *b, const struct boot_input *in) {
        const struct message_header *h = in->opening.header;
        json_object *context = json_object_new_object();

        for (size_t i = 0; i < h->n_context; i++)
                json_object_object_add(context, h->context[i].name, json_object_new_string(h->context[i].value));
        report_put(b->report, "encryption_context", context);
        report_text(b->report, "key_arn", in->opening.candidates.items[0].arn); /* the error is about the first key */
}

static int release_key(struct boot *b, struct boot_input *in, struct error *e) {
        _cleanup_kms_answer_ struct kms_answer release = { 0 };
        struct asking a = { .boot = b, .input = in };
        int r;

        in->releaser = b->services.stores[in - b->sealed.inputs].kms ?: b->services.kms;

        r = key_candidates_try(&in->opening.candidates, in->subject, ask_kms, report_refusal, &a, e);
        if (r < 0) {
                report_failed_release(b, in);
                return r;
        }
        release = a.release;
        boot_report_text(b, in, "kms.request_id", release.request_id);
        boot_report_put(b, in, "kms.attempts", json_object_new_int((int) release.attempts));
        r = recipient_open(b->recipient.key, release.envelope, release.envelope_size, &in->opening.data_key, e);
        if (r < 0)
                kms_blame(in->releaser, &release, e);
        return r;
}

int boot_release(struct boot *b, struct error *e) {
        int r;

        report_begin(b->report, "key-release");
        r = boot_join_recipient(b, e);
        if (r == 0)
                r = boot_each_input(b, release_key, e);
        /* The key pair is used for this alone: free it now. */
        recipient_free(TAKE(b->recipient.key));
        report_end(b->report, "key-release", 0);
        return r;
}
