/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The boot's steps, in the order sealboot-agent.c takes them. Each returns 0 or a negative errno with e filled, and
 * leaves what it found out in struct boot for the steps after it. */

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
#include "sealed/model.h"

/* Enough for the longest silence there can be between two words to the service manager: KMS's deadline, a range's, or
 * what Auto Scaling takes to be told. */
enum { BOOT_SILENCE_SECONDS = 120 };

struct boot {
        /* From the command line; NULL: the configuration's. */
        const char *config_path, *tcti, *report_path;

        struct config *config;
        struct report *report;
        struct handoff *handoff;
        struct tpm *tpm;
        struct http *http;
        struct imds *imds;
        struct credential_source *credentials;
        struct s3 *s3;
        struct kms *kms;
        struct launch launch;
        char *source; /* "s3://bucket/key" */
        char *region;
        char instance_id[32]; /* "" until the metadata service told */

        /* An RSA key takes longer to make than TPM and metadata service to answer: it is made on the side. */
        pthread_t recipient_thread;
        bool recipient_started;
        struct recipient *recipient;
        int recipient_result;
        struct error recipient_error;

        struct unseal *unseal;
        struct room room;  /* what the model may take up */
        size_t first_file; /* its index in the pipeline */
        char *single_name; /* the file's, of a single object */
        uint8_t *manifest; /* sealed, whole; NULL for a single object */
        size_t manifest_size;
        struct message_header *manifest_header;
        const struct message_header *header; /* of the manifest or of the single object: what KMS is asked about */
        struct key_candidates candidates;    /* for the data key */
        bool presented;                      /* claims holds what the last attestation document did */
        struct document_claims claims;
        struct secret *data_key;

        int64_t unseal_began_ns;
        uint64_t unsealed; /* bytes, as last told */
        struct model *model;
        size_t *file_of; /* the pipeline's index for each of the model's files */
        const char *published;

        /* Held while an NV index is defined, and from boot_end() on: a stop waits for it. Recursive. */
        pthread_mutex_t critical;
};

int boot_configure(struct boot *b, struct error *e); /* measured configuration, boot report, HTTP, model directory */
int boot_begin_key(struct boot *b, struct error *e); /* the ephemeral RSA key, on a thread of its own */
int boot_open_tpm(struct boot *b, struct error *e);  /* PCR15 must be zero in every bank */
int boot_locate(struct boot *b, struct error *e);    /* metadata: launch parameters, region, role credentials */
int boot_prefetch(struct boot *b, struct error *e);  /* the sealed header; the download begins */
int boot_release(struct boot *b, struct error *e);   /* attestation document -> KMS -> data key */
int boot_unseal(struct boot *b, struct error *e);    /* manifest; every frame authenticated, every digest checked */
int boot_measure(struct boot *b, struct error *e);   /* PCR15 is extended and logged */
int boot_publish(struct boot *b, struct error *e);   /* one rename */

/* The part of boot_locate() that a boot which failed before it does later, to find its lifecycle hook. */
int boot_ask_metadata(struct boot *b, struct error *e);

/* Who we are, for the report and the lifecycle hook: asked for while the recipient key is made, and not waited for
 * then; once more when a hook needs it and it was not there. */
void boot_identify(struct boot *b, bool required);

/* Names the model's place, for messages: s3://, the bucket, and this key. */
int boot_name_source(struct boot *b, const char *key, struct error *e);

/* How the boot ends is decided: from here on a stop has to wait, and cannot hide it. May be called again. */
void boot_end(struct boot *b);
/* Ends the workers and wipes every key: before anybody is told that there is a model, or that there will be none. */
void boot_forget(struct boot *b);

/* Completes the Auto Scaling lifecycle hook, if one is configured: CONTINUE, or ABANDON. The boot is decided and told
 * by then, so a failure is only told: on the console and in the report. */
void boot_complete_hook(struct boot *b, bool proceed);

/* Undoes whatever is there: wipes keys, removes plaintext that was not published, closes. */
void boot_done(struct boot *b);

/* For the service manager: what is going on, and that it is (TimeoutStartSec= counts from the last call). */
void boot_status(const char *format, ...) _printf_(1, 2);
