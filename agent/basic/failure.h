/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Errors are the interface: a failed boot must tell an operator who has only the console what failed, on what,
 * why, and what to do. A library function that fails returns a negative errno and fills a struct error;
 * only the programs print it (failure_print) and turn it into an exit code.
 *
 * An enum failure's value IS the stable exit code, and fixes the journal message id and the advice that is
 * printed when the failing place has none better. Never renumber: lifecycle hooks and alarms act on these. */

#include "basic/macros.h"

enum failure {
        FAILURE_NONE = 0,
        FAILURE_INTERNAL = 1, /* out of memory, a bug */
        FAILURE_USAGE = 2,    /* the command line */
        FAILURE_STOPPED = 3,  /* by a signal, before the end */

        FAILURE_CONFIG = 10,      /* measured configuration */
        FAILURE_LAUNCH = 11,      /* user data, the operator's launch parameters */
        FAILURE_IMDS = 12,        /* instance metadata unreachable or malformed */
        FAILURE_CREDENTIALS = 13, /* no role, no or expired credentials */
        FAILURE_CLOCK = 14,       /* AWS says our clock is wrong */
        FAILURE_NETWORK = 15,     /* name, connection, TLS */

        FAILURE_TPM_ABSENT = 20,
        FAILURE_TPM_BUSY = 21,
        FAILURE_TPM = 22,          /* a TPM command was refused */
        FAILURE_PCR_NOT_ZERO = 23, /* PCR15 was extended before us */
        FAILURE_ATTESTATION = 24,  /* the NitroTPM answered with an error instead of a document */
        FAILURE_MEASURE = 25,      /* PCR15 could not be extended or logged */
        FAILURE_PCR_BANK = 26,     /* the bank that KMS and consumers look at is not active */

        FAILURE_KMS_DENIED = 30,
        FAILURE_KMS_KEY = 31,         /* disabled, pending deletion, not found */
        FAILURE_KMS_CIPHERTEXT = 32,  /* wrong ciphertext, encryption context or key */
        FAILURE_KMS_UNAVAILABLE = 33, /* retries used up before the deadline */
        FAILURE_KMS_ANSWER = 34,      /* an answer that is not what KMS sends */

        FAILURE_S3_DENIED = 40,
        FAILURE_S3_NOT_FOUND = 41,
        FAILURE_S3_UNAVAILABLE = 42, /* retries used up before the deadline */
        FAILURE_S3_CHANGED = 43,     /* the object was replaced while we read it */
        FAILURE_S3_ANSWER = 44,      /* an answer that is not what S3 sends */

        FAILURE_SEALED_FORMAT = 50,  /* not a message we can read: malformed, truncated, trailing bytes */
        FAILURE_SUITE = 51,          /* algorithm suite or content type not accepted */
        FAILURE_KEY_NOT_PINNED = 52, /* sealed under a key the configuration does not list */
        FAILURE_CONTEXT = 53,        /* encryption context is not what the configuration requires */
        FAILURE_AUTHENTICATION = 54, /* tag or key commitment does not verify: tampered, or the wrong key */
        FAILURE_MANIFEST = 55,
        FAILURE_DIGEST = 56, /* the bytes are authentic but not those the manifest or the operator names */
        FAILURE_SPACE = 57,  /* does not fit the tmpfs or memory */

        FAILURE_PUBLISH = 60,   /* model directory, boot report, hand-off */
        FAILURE_IO = 61,        /* a local file */
        FAILURE_LIFECYCLE = 62, /* Auto Scaling was not told */
        FAILURE_GATE = 63,      /* the gate cannot answer: sockets, HTTP */

        FAILURE_UKI = 70, /* PE/UKI malformed, unknown stub */
        FAILURE_EVENT_LOG = 71,
        FAILURE_DOCUMENT = 72, /* attestation document malformed or not verified */
        FAILURE_MISMATCH = 73, /* well-formed, but differs from what was expected */
        FAILURE_POLICY = 74,   /* policy malformed, or refused because it protects too little */
};

struct error {
        enum failure failure;
        char subject[512];   /* on what: "kms key arn:aws:kms:...", "s3://bucket/key", "/dev/tpmrm0" */
        char reason[1280];   /* why: one sentence, with the other side's own words where there are any */
        char advice[768];    /* what to do; empty: the failure's own default */
        char request_id[96]; /* of the AWS answer that failed, or empty */
};

struct failure_info {
        enum failure failure;
        const char *name;       /* "kms-denied": in the journal, in the boot report, in --json */
        const char *title;      /* "KMS refused to release the data key" */
        const char *advice;     /* to who runs the agent's instance or builds its image */
        const char *message_id; /* 32 hex digits, for MESSAGE_ID= */
};

/* All failures in ascending order; never NULL. The man page's table and the tests are made from it. */
const struct failure_info *failure_table(size_t *ret_n);
const struct failure_info *failure_info(enum failure failure);

/* `return fail(e, FAILURE_X, -EBADMSG, subject, "reason %s", ...)`: fills e (may be NULL) and is r, a negative errno.
 * Bytes that could steer a terminal are replaced: reasons quote hostile input. (A macro, so that compilers and
 * analyzers see r.) */
#define fail(e, failure, r, subject, ...) \
        ({ \
                int _fail_r = (r); \
                error_fill(e, failure, subject, __VA_ARGS__); \
                _fail_r; \
        })
void error_fill(struct error *e, enum failure failure, const char *subject, const char *format, ...) _printf_(4, 5);

/* Replaces the default advice of an error already filled. */
void fail_advice(struct error *e, const char *format, ...) _printf_(2, 3);

/* Out of memory, in one word. */
static inline int fail_oom(struct error *e) {
        return fail(e, FAILURE_INTERNAL, -ENOMEM, "", "out of memory");
}

/* The four-line block a person reads: what, on what, why, what to do. */
void failure_print(FILE *f, const char *program, const struct error *e);
/* The same for a program whose readers are others than the agent's: with its own title and advice. */
void failure_print_words(FILE *f, const char *program, const struct error *e, const char *title, const char *advice);
