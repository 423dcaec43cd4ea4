/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One boot: what its steps share. sealboot-agent.c has the table of the steps, in the order in which they run. Each
 * step is in the file of its name. It returns 0, or a negative errno with e filled, and leaves its results in struct
 * boot for the steps after it. */

#include <pthread.h>
#include <stdatomic.h>

#include "aws/autoscaling.h"
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
/* A key store of an owner's own, with a client that trusts the owner's authorities alone. */
struct boot_store {
        struct http *http;
        struct kms *kms; /* NULL: the input's key is in KMS */
};

struct boot_services {
        struct tpm *tpm;
        struct http *http;
        struct imds *imds;
        struct credential_source *credentials;
        struct s3 *s3;
        struct kms *kms;
        struct boot_store stores[INPUTS_MAX]; /* of each input of the configuration */
        char *region;
        pthread_mutex_t identifying;
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

/* The last attestation document, and what it says of this machine. */
struct boot_evidence {
        uint8_t *document; /* NULL: there is none */
        size_t size;
        int64_t made_ns;
        bool known;
        struct document_claims claims;
};

/* One sealed model. */
struct boot_input {
        const struct input *asked; /* by the configuration */
        const struct place *place; /* without a bucket: the input is absent, and no step looks at the rest */
        char *label;               /* "input base of Acme: ", for errors; NULL: the configuration is for one model */
        char *source;              /* "s3://bucket/key"; changed under `critical` */
        char *subject;             /* the label and the source, for errors */
        struct accepted accepted;  /* by the configuration */
        struct kms *releaser;      /* KMS, or the owner's key store; borrowed */
        struct opening opening;
        struct message_header *header; /* of a single object that the pipeline does not fetch yet */
        struct unseal_model unsealed;
        bool begun;        /* the pipeline has first_file before the data key is known */
        size_t first_file; /* its index in the pipeline */
        size_t *file_of;   /* the pipeline's index of each file of the model */
};

/* Auto Scaling: where it moves this instance, and the hook that holds it meanwhile. */
struct boot_lifecycle {
        enum lifecycle_state state; /* as the metadata service said last, to the main thread */
        atomic_bool idle;           /* the agent only waits for Auto Scaling: a stop is no failure */
};

/* The thread that sends the hook's heartbeats, and looks for notices that the instance is being taken away. */
struct boot_keeper {
        pthread_t thread;
        bool started; /* not joined yet */
        pthread_mutex_t lock;
        pthread_cond_t wake;
        bool ended;
        struct imds *imds; /* of its own: one attempt for each answer */
        int64_t next_beat_ns, last_beat_ns, next_look_ns;
        unsigned beats;
        bool refused; /* a heartbeat was, and this was told */
        /* A notice ends the boot: see boot_heed_notices(). All three under `lock`. */
        bool heeded;
        enum lifecycle_state state; /* that the notice told */
        struct error notice;        /* FAILURE_NONE: there was none */
};

struct boot_sealed {
        struct launch launch;
        struct boot_input inputs[INPUTS_MAX]; /* in the order in which they are measured */
        size_t n_inputs;
        struct room room; /* what the models may take up */
        struct unseal *pipeline;
        /* Of several inputs: the text that is measured, and its digest. */
        char *set_text;
        size_t set_text_size;
        uint8_t set_digest[MODEL_DIGEST];
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
        struct boot_lifecycle lifecycle;
        struct boot_keeper keeper;
        const char *published; /* the path; owned by the hand-off */

        atomic_bool awaiting_server; /* a stop ends the process then, and is no failure */
        atomic_bool cancelled;       /* the main thread is to stop waiting, and to end the boot */
        /* SIGTERM waits for it: held while an NV index is defined, and from boot_fix_outcome() on. Recursive. */
        pthread_mutex_t critical;
};

/* ---- the steps */

int boot_configure(struct boot *b, struct error *e);
int boot_begin_recipient(struct boot *b, struct error *e);
int boot_open_tpm(struct boot *b, struct error *e);
int boot_locate(struct boot *b, struct error *e);
int boot_await_service(struct boot *b, struct error *e);
int boot_prefetch(struct boot *b, struct error *e);
int boot_identify(struct boot *b, struct error *e);
int boot_release(struct boot *b, struct error *e);
int boot_unseal(struct boot *b, struct error *e);
int boot_measure(struct boot *b, struct error *e);
int boot_publish(struct boot *b, struct error *e);

/* ---- parts of steps that other files need */

/* Waits for the thread of boot_begin_recipient(), and returns its result. Does nothing if it was joined already. */
int boot_join_recipient(struct boot *b, struct error *e);
/* Wipes the key pair. boot_begin_recipient() may make another one afterwards. */
void boot_forget_recipient(struct boot *b);
/* The part of boot_locate() that finds the lifecycle hook: a boot that failed earlier does it for the hook. */
int boot_ask_metadata(struct boot *b, struct error *e);
/* As boot_identify(), but waits for the metadata service. Without an answer, services.instance_id stays empty. */
void boot_require_identity(struct boot *b);
/* How to reach a service of AWS; `url` is its configured endpoint, or NULL. Borrowed from b. After
 * boot_ask_metadata(). */
struct service_access boot_access(const struct boot *b, const char *url);
/* Fills sealed.inputs from the configuration and the launch parameters. */
int boot_set_inputs(struct boot *b, struct error *e);
/* Sets the source of an input to the object `key`. */
int boot_name_source(struct boot *b, struct boot_input *in, const char *key, struct error *e);
/* What a boot is about, for messages: the source of the only model, or "the inputs". */
const char *boot_subject(const struct boot *b);
/* Does a part of a step for each input that is not absent, in their order, until the first failure. The error names the
 * input and its owner, and says nothing of another input: each party may read it. */
typedef int boot_input_step(struct boot *b, struct boot_input *in, struct error *e);
int boot_each_input(struct boot *b, boot_input_step *step, struct error *e);
/* Puts a value into the part of the boot report that is about this input. */
void boot_report_put(struct boot *b, const struct boot_input *in, const char *what, json_object *value);
void boot_report_text(struct boot *b, const struct boot_input *in, const char *what, const char *text);
/* Wipes the data keys; frees the inputs. */
void boot_forget_inputs(struct boot *b);
void boot_inputs_done(struct boot *b);
/* Starts the thread of struct boot_keeper; tells it to end, as soon as the hook is completed. The last waits for it. */
int boot_keep(struct boot *b, struct error *e);
void boot_stop_keeping(struct boot *b);
void boot_keeper_done(struct boot *b);
/* From here on, a notice that the instance is being taken away cancels what the main thread waits for. */
void boot_heed_notices(struct boot *b);
/* From here on, no notice does. If one has: the failure that it is, whatever the cancelled step has said. */
int boot_ignore_notices(struct boot *b, struct error *e);
/* Whether the state lets a model be loaded: *ret_wait when not now. Otherwise the reason why this boot ends. */
int boot_judge_state(enum lifecycle_state state, bool *ret_wait, struct error *e);
/* How often the metadata service is asked for news. */
unsigned boot_look_ms(const struct boot *b);
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
/* Waits until the inference server can answer, if the configuration says how that is found out. FAILURE_SERVER. Call
 * after the model is published and the service manager knows it. */
int boot_await_server(struct boot *b, struct error *e);
/* Completes the Auto Scaling lifecycle hook, if there is one: CONTINUE if `failure` is NULL, else ABANDON, whose reason
 * the console, the journal and the report tell. Call after the outcome is reported. A failure here does not change it,
 * and is only told. */
void boot_complete_hook(struct boot *b, const struct error *failure);
/* Stores a copy of the boot report in S3, if "report_to" asks for it. Call last: neither the outcome nor the hook waits
 * for it. A failure is only told: on the console and in the report. */
void boot_send_report(struct boot *b);
/* The hook to complete; false: there is none. Borrowed from b. */
bool boot_find_hook(const struct boot *b, struct lifecycle_hook *ret);
/* After a model was published in a warm pool whose instances run: waits for the instance to go into service, and
 * completes the hook that holds it then. Otherwise returns at once. */
void boot_leave_warm_pool(struct boot *b);
/* Frees everything; removes plaintext that was not published. */
void boot_done(struct boot *b);

/* SIGTERM, SIGINT and SIGHUP end the boot: plaintext is removed, the failure reported, and the exit code is
 * FAILURE_STOPPED. Call before any other thread starts, since every thread must block these signals. */
int boot_catch_stop(struct boot *b);
