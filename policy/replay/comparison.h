/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A replayed log beside everything that it can be compared with, PCR by PCR. Each function adds a comparison for each
 * PCR that the other side has and that was asked for; where it adds none, nothing was compared. FAILURE_USAGE for what
 * cannot be compared with this log: another bank, an enclave's PCRs. */

#include "measure/predict.h"
#include "replay/compare.h"
#include "verify/document.h"
#include "verify/reference.h"

#define PCRS_ALL ((UINT32_C(1) << PCR_COUNT) - 1)

struct replayed {
        struct event_log log;
        struct replay replay;
        uint32_t pcrs; /* bit n: PCR n was asked for */
};

struct comparison {
        char *with; /* "reference image.json" */
        unsigned pcr;
        bool has_value;                /* false: lists of events were compared */
        uint8_t value[PCR_DIGEST_MAX]; /* of the other side */
        struct difference difference;
};

/* Zero-initialise. */
struct comparisons {
        struct comparison *items;
        size_t n;
};

void replayed_done(struct replayed *r);
/* False also for the other numbers that events which extend nothing can name. */
bool replayed_wants(const struct replayed *r, unsigned pcr);
/* How many of the events asked for say other things than were measured. */
size_t replayed_altered(const struct replayed *r);

/* A boot must match one accepted set as a whole. When it matches none, the nearest one is compared. */
int compare_with_references(struct comparisons *c, const struct replayed *r, const struct references *all,
                            struct error *e);
int compare_with_reference(struct comparisons *c, const struct replayed *r, const char *name,
                           const struct reference *reference, struct error *e);
int compare_with_document(struct comparisons *c, const struct replayed *r, const char *path,
                          const struct document *document, struct error *e);
/* The PCRs of a TPM, of the bank that was replayed. */
int compare_with_tpm(struct comparisons *c, const struct replayed *r, const char *name,
                     const uint8_t values[static PCR_COUNT][PCR_DIGEST_MAX], struct error *e);
/* Event by event: with the log of a good boot, and with a prediction. */
int compare_with_log(struct comparisons *c, const struct replayed *r, const char *path, const struct event_log *good,
                     struct error *e);
int compare_with_prediction(struct comparisons *c, const struct replayed *r, const struct predicted_boot *boot,
                            struct error *e);

bool comparisons_all_equal(const struct comparisons *c);
void comparisons_done(struct comparisons *c);
