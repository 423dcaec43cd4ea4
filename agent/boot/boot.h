/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One boot: what its steps share. sealboot-agent.c has the table of the steps, in the order in which they run. Each
 * step is in the file of its name. It returns 0, or a negative errno with e filled, and leaves its results in struct
 * boot for the steps after it. */

#include <pthread.h>

#include "aws/imds.h"
#include "aws/kms.h"
#include "aws/s3.h"
#include "configuration/config.h"
#include "evidence/document-claims.h"
#include "evidence/pcr.h"
#include "handoff/directory.h"
#include "pipeline/unseal.h"
#include "recipient/recipient.h"
#include "report/report.h"
#include "sealed/opening.h"

/* Each message to the service manager extends its timeout by this much. No wait between two messages is longer: not for
 * KMS, not for a range of S3, not for Auto Scaling. */
enum { BOOT_SILENCE_SECONDS = 120 };

/* From the command line; NULL: the configuration's. */
struct boot_arguments {
        const char *config_path, *tcti, *report_path;
};

/* The TPM, and AWS. */
struct boot_services {
        struct tpm *tpm;
        struct http *http;
        struct imds *imds;
        struct credential_source *credentials;
        struct s3 *s3;
        struct kms *kms;
        char *region;
        char instance_id[32]; /* "": the metadata service has not answered yet */
};

/* The RSA key pair that KMS encrypts the data key to. It takes longer to make than the TPM and the metadata service
 * take to answer, so a thread of its own makes it. */
struct boot_recipient {
        pthread_t thread;
        bool started; /* the thread; not joined yet */
        struct recipient *key;
        int result; /* of the thread */
        struct error error;
};

/* What the last attestation document says of this machine. */
struct boot_evidence {
        bool known;
        struct document_claims claims;
};

struct boot_sealed {
        struct launch launch;
        char *source;             /* "s3://bucket/key", for messages; changed under `critical` */
        struct accepted accepted; /* by the configuration */
        struct opening opening;
        struct room room; /* what the model may take up */
        struct unseal *pipeline;
        size_t first_file; /* its index in the pipeline */
};

struct boot_result {
        size_t *file_of;       /* the pipeline's index of each file of the model */
        const char *published; /* the path; owned by the hand-off */
};

struct boot {
        struct boot_arguments arguments;
        struct config *config;
        struct report *report;
        struct handoff *handoff;
        struct boot_services services;
        struct boot_recipient recipient;
        struct boot_evidence evidence;
        struct boot_sealed sealed;
        struct boot_result result;

        /* SIGTERM waits for it: held while an NV index is defined, and from boot_fix_outcome() on. Recursive. */
        pthread_mutex_t critical;
};

/* ---- the steps */

int boot_configure(struct boot *b, struct error *e);
int boot_begin_recipient(struct boot *b, struct error *e);
int boot_open_tpm(struct boot *b, struct error *e);
int boot_locate(struct boot *b, struct error *e);
int boot_prefetch(struct boot *b, struct error *e);
int boot_identify(struct boot *b, struct error *e);
int boot_release(struct boot *b, struct error *e);
int boot_unseal(struct boot *b, struct error *e);
int boot_measure(struct boot *b, struct error *e);
int boot_publish(struct boot *b, struct error *e);

/* ---- parts of steps that other files need */

/* Waits for the thread of boot_begin_recipient(), and returns its result. Does nothing if it was joined already. */
int boot_join_recipient(struct boot *b, struct error *e);
/* The part of boot_locate() that finds the lifecycle hook: a boot that failed earlier does it for the hook. */
int boot_ask_metadata(struct boot *b, struct error *e);
/* As boot_identify(), but waits for the metadata service. Without an answer, services.instance_id stays empty. */
void boot_require_identity(struct boot *b);
/* How to reach a service of AWS; `url` is its configured endpoint, or NULL. Borrowed from b. After
 * boot_ask_metadata(). */
struct service_access boot_access(const struct boot *b, const char *url);
/* Sets sealed.source to the object `key`. */
int boot_name_source(struct boot *b, const char *key, struct error *e);
/* Shows the text in STATUS=, and extends the service manager's timeout. From any thread. */
void boot_status(const char *format, ...) _printf_(1, 2);

/* ---- the end */

/* The outcome is fixed. SIGTERM is held back from here on, so that it cannot replace it. May be called again. */
void boot_fix_outcome(struct boot *b);
/* Tells the console, the journal, the service manager and the boot report. */
void boot_report_failure(struct boot *b, const struct error *failure);
/* The end of a boot, with the lifecycle hook. Each returns the exit code. */
int boot_failed(struct boot *b, const struct error *failure);
int boot_succeeded(struct boot *b);
/* Completes the Auto Scaling lifecycle hook, if there is one: CONTINUE, or ABANDON. Call after the outcome is reported.
 * A failure here does not change it, and is only told: on the console and in the report. */
void boot_complete_hook(struct boot *b, bool proceed);
/* Frees everything; removes plaintext that was not published. */
void boot_done(struct boot *b);

/* SIGTERM, SIGINT and SIGHUP end the boot: plaintext is removed, the failure reported, and the exit code is
 * FAILURE_STOPPED. Call before any other thread starts, since every thread must block these signals. */
int boot_catch_stop(struct boot *b);
