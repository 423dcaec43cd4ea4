/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An operator of a failed boot may have nothing but the console: an error says what failed, on what, why, and what to
 * do. A library function that fails returns a negative errno and fills a struct error. Only the programs print it
 * (failure_print) and turn it into an exit code.
 *
 * The value of an enum failure is the exit code. It also selects the journal's message id, and the advice for errors
 * that bring none of their own. Never change a number: lifecycle hooks and alarms act on them.
 *
 * The reason is one sentence with a subject and a verb, that starts in lower case and has no full stop: "the answer has
 * no CiphertextForRecipient". "it" is the error's subject: "it is not valid JSON". What another program said is quoted
 * as it is: "HTTP 403 AccessDenied: ...", the text of an errno after a colon. A helper that completes a sentence says
 * so by the name of its parameter (`predicate`). */

#include "basic/macros.h"

enum failure {
        FAILURE_NONE = 0,
        FAILURE_INTERNAL = 1, /* out of memory, a bug */
        FAILURE_USAGE = 2,    /* the command line */
        FAILURE_STOPPED = 3,  /* a signal stopped the program */
        FAILURE_RETIRED = 4,  /* the instance is being terminated, stopped or interrupted */

        FAILURE_CONFIG = 10,      /* measured configuration */
        FAILURE_LAUNCH = 11,      /* user data, the operator's launch parameters */
        FAILURE_IMDS = 12,        /* instance metadata unreachable or malformed */
        FAILURE_CREDENTIALS = 13, /* no role, no or expired credentials */
        FAILURE_CLOCK = 14,       /* the clock of this machine is wrong */
        FAILURE_NETWORK = 15,     /* name, connection, TLS */
        FAILURE_HIBERNATION = 16, /* the instance is to be hibernated: its memory would be written to a disk */

        FAILURE_TPM_ABSENT = 20,
        FAILURE_TPM_BUSY = 21,
        FAILURE_TPM = 22,          /* a TPM command was refused */
        FAILURE_PCR_NOT_ZERO = 23, /* PCR15 was extended before this boot measured its model */
        FAILURE_ATTESTATION = 24,  /* the NitroTPM answered with an error instead of a document */
        FAILURE_MEASURE = 25,      /* PCR15 could not be extended or logged */
        FAILURE_PCR_BANK = 26,     /* the SHA-384 bank, which KMS and consumers compare, is not active */

        FAILURE_KMS_DENIED = 30,
        FAILURE_KMS_KEY = 31,         /* disabled, pending deletion, not found */
        FAILURE_KMS_CIPHERTEXT = 32,  /* wrong ciphertext, encryption context or key */
        FAILURE_KMS_UNAVAILABLE = 33, /* no attempt succeeded before the deadline */
        FAILURE_KMS_ANSWER = 34,      /* an answer that is not what KMS sends */

        FAILURE_S3_DENIED = 40,
        FAILURE_S3_NOT_FOUND = 41,
        FAILURE_S3_UNAVAILABLE = 42, /* no attempt succeeded before the deadline */
        FAILURE_S3_CHANGED = 43,     /* the object was replaced while it was being read */
        FAILURE_S3_ANSWER = 44,      /* an answer that is not what S3 sends */

        FAILURE_SEALED_FORMAT = 50,  /* malformed, truncated, or followed by other bytes */
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
        FAILURE_SERVER = 64,    /* the inference server did not get ready */

        FAILURE_UKI = 70, /* PE/UKI malformed, unknown stub */
        FAILURE_EVENT_LOG = 71,
        FAILURE_DOCUMENT = 72, /* attestation document malformed or not verified */
        FAILURE_MISMATCH = 73, /* well-formed, but differs from what was expected */
        FAILURE_POLICY = 74,   /* policy malformed, or refused because it protects too little */
};

struct error {
        enum failure failure;
        char subject[512];   /* on what: "kms key arn:aws:kms:...", "s3://bucket/key", "/dev/tpmrm0" */
        char reason[1280];   /* why: one sentence, as above */
        char advice[768];    /* what to do; empty: the failure's own default */
        char request_id[96]; /* of the AWS answer that failed, or empty */
};

struct failure_info {
        enum failure failure;
        const char *name;       /* "kms-denied": in the journal, in the boot report, in --json */
        const char *title;      /* "KMS refused to release the data key" */
        const char *advice;     /* for whoever runs the agent's instance or builds its image */
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

static inline int fail_oom(struct error *e) {
        return fail(e, FAILURE_INTERNAL, -ENOMEM, "", "out of memory");
}

/* Prints an error for a person, one line each: what, on what, why, what to do. */
void failure_print(FILE *f, const char *program, const struct error *e);
/* The same with a title and an advice of the program's own. */
void failure_print_words(FILE *f, const char *program, const struct error *e, const char *title, const char *advice);
