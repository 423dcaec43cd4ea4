/* SPDX-License-Identifier: Apache-2.0 */

/* The sealed header, and the key for it. */

#include <openssl/rand.h>

#include "basic/encode.h"
#include "boot/boot.h"
#include "evidence/nitrotpm.h"

/* ---- what is sealed */

static int start_pipeline(struct boot *b, struct error *e) {
        struct unseal_options options = {
                .s3 = b->s3,
                .bucket = b->launch.bucket,
                .directory_fd = handoff_private_fd(b->handoff),
                .workers = b->config->workers,
                .connections = b->config->connections,
                .any_iv = b->config->allow_any_iv,
        };
        int r;

        /* Asked once, before anything is fetched ahead: what that takes up is the model's own. */
        r = handoff_room(b->handoff, &b->room, e);
        if (r < 0)
                return r;
        options.room = room_bytes(&b->room);
        options.unit = b->room.unit;
        options.limit = room_limit(&b->room);
        return unseal_new(&options, &b->unseal, e);
}

static int fetch_manifest(struct boot *b, struct error *e) {
        _cleanup_free_ char *key = NULL, *first = NULL;
        int r;

        if (asprintf(&key, "%s" MODEL_MANIFEST_OBJECT, b->launch.key) < 0 ||
            asprintf(&first, "%s" MODEL_OBJECT_FORMAT, b->launch.key, (size_t) 0) < 0)
                return fail_oom(e);
        /* The manifest cannot be read before the key is there, but by custom it lists this object: fetch ahead. */
        r = unseal_add(b->unseal, first, NULL, true, &b->first_file, e);
        if (r < 0)
                return r;
        r = s3_get(b->s3, b->launch.bucket, key, MODEL_MANIFEST_MAX, &b->manifest, &b->manifest_size, NULL, e);
        if (r < 0)
                return r;
        r = boot_name_source(b, key, e);
        if (r < 0)
                return r;
        r = message_header_parse(b->manifest, b->manifest_size, b->source, &b->manifest_header, e);
        b->header = b->manifest_header;
        return r;
}

static int fetch_single(struct boot *b, struct error *e) {
        int r;

        r = unseal_add(b->unseal, b->launch.key, NULL, false, &b->first_file, e);
        if (r < 0)
                return r;
        return unseal_wait_header(b->unseal, b->first_file, &b->header, e);
}

static void report_header(struct boot *b) {
        json_object *context = json_object_new_object();

        for (size_t i = 0; i < b->header->n_context; i++)
                json_object_object_add(context, b->header->context[i].name,
                                       json_object_new_string(b->header->context[i].value));
        report_put(b->report, "encryption_context", context);
        report_text(b->report, "key_arn", b->candidates.items[0].arn);
}

int boot_prefetch(struct boot *b, struct error *e) {
        int r;

        boot_status("Fetching the sealed header of %s", b->source);
        report_begin(b->report, "header");
        r = start_pipeline(b, e);
        if (r == 0)
                r = b->launch.is_prefix ? fetch_manifest(b, e) : fetch_single(b, e);
        if (r == 0)
                r = config_accept(b->config, b->header, b->region, b->source, &b->candidates, e);
        if (r == 0 && !b->launch.is_prefix)
                r = model_single_name(b->header, b->source, &b->single_name, e);
        if (r == 0)
                report_header(b);
        report_end(b->report, "header", 0);
        return r;
}

/* ---- the key for it */

static int wait_for_recipient(struct boot *b, struct error *e) {
        pthread_join(b->recipient_thread, NULL);
        b->recipient_started = false;
        if (b->recipient_result < 0)
                *e = b->recipient_error;
        return b->recipient_result;
}

static void report_document(struct boot *b, const uint8_t *document, size_t n) {
        report_put(b->report, "document.bytes", json_object_new_int64((int64_t) n));
        b->presented = document_claims(document, n, &b->claims) == 0;
        if (!b->presented)
                return;
        report_put(b->report, "document.timestamp_ms", json_object_new_int64((int64_t) b->claims.timestamp_ms));
        for (unsigned i = 0; i < PCR_COUNT; i++) {
                char place[16];

                snprintf(place, sizeof place, "pcrs.%u", i);
                report_hex(b->report, place, "", b->claims.pcrs[i], SHA384_SIZE);
        }
}

/* A fresh document for every attempt: KMS refuses one that is minutes old. */
static int attest(void *userdata, uint8_t **ret, size_t *ret_n, struct error *e) {
        struct boot *b = userdata;
        struct attestation_request request = { 0 };
        uint8_t nonce[32];
        int r;

        if (RAND_bytes(nonce, sizeof nonce) != 1)
                return fail(e, FAILURE_INTERNAL, -EIO, "", "no random numbers");
        request.nonce = nonce;
        request.nonce_size = sizeof nonce;
        report_end(b->report, "kms", 0); /* an attempt before this one */
        recipient_public_key(b->recipient, (const uint8_t **) &request.public_key, &request.public_key_size);
        boot_status("Getting an attestation document");
        report_begin(b->report, "attestation");
        pthread_mutex_lock(&b->critical);
        r = nitrotpm_attest(b->tpm, &request, ret, ret_n, e);
        pthread_mutex_unlock(&b->critical);
        report_end(b->report, "attestation", 0);
        if (r < 0)
                return r;
        report_document(b, *ret, *ret_n);
        boot_status("Asking KMS for the data key");
        report_begin(b->report, "kms");
        return 0;
}

struct asking {
        struct boot *boot;
        struct kms_answer release;
        unsigned refused; /* keys that did not open it */
};

static int ask_kms(void *userdata, const struct kms_ciphertext *ciphertext, struct error *e) {
        struct asking *a = userdata;
        int r;

        report_text(a->boot->report, "key_arn", ciphertext->key_arn);
        r = kms_release(a->boot->kms, ciphertext, attest, a->boot, &a->release, e);
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

        boot_status("KMS key %s did not open it; looking for another", ciphertext->key_arn);
        for (size_t i = 0; i < ELEMENTS(members); i++) {
                char place[64];

                snprintf(place, sizeof place, "kms.refused.%u.%s", a->refused, members[i].name);
                report_text(a->boot->report, place, members[i].text);
        }
        a->refused++;
}

static int ask_for_key(struct boot *b, struct kms_answer *ret, struct error *e) {
        struct asking a = { .boot = b };
        int r;

        r = key_candidates_try(&b->candidates, b->source, ask_kms, report_refusal, &a, e);
        if (r == 0)
                *ret = a.release;
        else /* the error is about the first */
                report_text(b->report, "key_arn", b->candidates.items[0].arn);
        return r;
}

int boot_release(struct boot *b, struct error *e) {
        _cleanup_kms_answer_ struct kms_answer release = { 0 };
        int r;

        boot_identify(b, false);
        report_begin(b->report, "key-release");
        r = wait_for_recipient(b, e);
        if (r == 0)
                r = ask_for_key(b, &release, e);
        if (r == 0) {
                report_text(b->report, "kms.request_id", release.request_id);
                report_put(b->report, "kms.attempts", json_object_new_int((int) release.attempts));
                r = recipient_open(b->recipient, release.envelope, release.envelope_size, &b->data_key, e);
        }
        /* It has done its one duty. */
        recipient_free(TAKE(b->recipient));
        report_end(b->report, "key-release", 0);
        return r;
}
