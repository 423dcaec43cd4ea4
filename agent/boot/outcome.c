/* SPDX-License-Identifier: Apache-2.0 */

/* How a boot ends, and who is told. */

#include <systemd/sd-daemon.h>

#include "boot/boot.h"

#define PROGRAM "sealboot-agent"
/* A self-test of a GPU image writes here, if the image has one; see sealboot-gpu(8). */
#define GPU_TEST "/run/sealboot-gpu/test"

void boot_fix_outcome(struct boot *b) {
        pthread_mutex_lock(&b->critical);
}

/* ---- who is told */

static void print_presented_pcrs(FILE *f, const struct document_claims *claims) {
        static const unsigned shown[] = { 2, 4, 7, 12, 15 };

        fprintf(f, "  presented PCRs (SHA-384):\n");
        for (size_t i = 0; i < ELEMENTS(shown); i++) {
                fprintf(f, "    PCR%-2u ", shown[i]);
                for (size_t j = 0; j < SHA384_SIZE; j++)
                        fprintf(f, "%02x", claims->pcrs[shown[i]][j]);
                fputc('\n', f);
        }
}

static void notify_failure(const struct error *e) {
        sd_notifyf(0, "STATUS=%s: %s\nERRNO=%d\nEXTEND_TIMEOUT_USEC=%llu", failure_info(e->failure)->title, e->reason,
                   EPROTO, BOOT_SILENCE_SECONDS * 1000000ULL);
}

static int close_report(struct boot *b, const struct error *failure, struct error *e) {
        report_gpu_test(b->report, GPU_TEST);
        return report_close(b->report, failure, e);
}

void boot_report_failure(struct boot *b, const struct error *failure) {
        failure_print(stderr, PROGRAM, failure);
        if (b->evidence.known && failure->failure == FAILURE_KMS_DENIED && kms_denial_is_of_key_policy(failure->reason))
                print_presented_pcrs(stderr, &b->evidence.claims);
        if (b->report)
                close_report(b, failure, NULL);
        notify_failure(failure);
}

/* ---- the end */

/* Ends the pipeline, and wipes every key: none is left when the hook is completed, or when the message is sent that the
 * model is published. */
static void forget_keys(struct boot *b) {
        unseal_stop(b->sealed.pipeline); /* its workers borrow the keys */
        boot_forget_recipient(b);
        boot_forget_inputs(b);
        unseal_free(TAKE(b->sealed.pipeline));
}

int boot_failed(struct boot *b, const struct error *of_step) {
        struct error failure = *of_step;

        (void) boot_ignore_notices(b, &failure);
        boot_fix_outcome(b);
        boot_stop_keeping(b);
        boot_report_failure(b, &failure);
        /* Before the hook and the copy of the report, which may take most of a minute. */
        forget_keys(b);
        if (b->handoff)
                handoff_discard(b->handoff);
        boot_complete_hook(b, &failure);
        boot_send_report(b);
        notify_failure(&failure); /* once more: the hook's attempts have replaced the text */
        return (int) failure.failure;
}

/* The model stays published: the server may still come up, and systemd starts it again if it ends. */
static int end_without_server(struct boot *b, const struct error *failure) {
        failure_print(stderr, PROGRAM, failure);
        notify_failure(failure);
        boot_complete_hook(b, failure);
        boot_stop_keeping(b);
        boot_send_report(b);
        notify_failure(failure);
        return (int) failure->failure;
}

int boot_succeeded(struct boot *b) {
        struct error e = { 0 };

        forget_keys(b);
        /* The model is measured and published. A report that cannot be written does not make that a failed boot. */
        if (close_report(b, NULL, &e) < 0)
                failure_print(stderr, PROGRAM, &e);
        sd_notifyf(0, "READY=1\nSTATUS=Model published at %s", b->published);
        printf(PROGRAM ": %s %s published at %s\n", boot_subject(b), b->config->several ? "are" : "is", b->published);
        fflush(stdout);
        if (boot_await_server(b, &e) < 0)
                return end_without_server(b, &e);
        boot_complete_hook(b, NULL);
        boot_stop_keeping(b);
        boot_send_report(b);
        boot_leave_warm_pool(b);
        sd_notifyf(0, "STATUS=Model published at %s", b->published);
        return 0;
}

void boot_done(struct boot *b) {
        struct boot_services *s = &b->services;

        boot_keeper_done(b);
        forget_keys(b);
        boot_inputs_done(b);
        free(b->evidence.document);
        launch_done(&b->sealed.launch);
        kms_free(s->kms);
        for (size_t i = 0; i < ELEMENTS(s->stores); i++) {
                kms_free(s->stores[i].kms);
                http_free(s->stores[i].http);
        }
        s3_free(s->s3);
        credential_source_free(s->credentials);
        imds_free(s->imds);
        http_free(s->http);
        tpm_close(s->tpm);
        free(s->region);
        handoff_free(b->handoff);
        report_free(b->report);
        config_free(b->config);
}
