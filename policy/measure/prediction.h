/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The events that are predicted for a boot, in order, each with the reason why it is there; and the PCR values that
 * they lead to. */

#include "measure/event-types.h"
#include "verify/reference.h"

struct predicted_event {
        unsigned pcr;
        uint32_t type;
        uint8_t digest[SHA384_SIZE]; /* what is extended */
        char *what;                  /* "Authenticode digest of uki.efi" */
        char *why;                   /* "the boot option's application" */
};

/* Zero-initialise. */
struct prediction {
        struct predicted_event *events;
        size_t n;
};

void prediction_done(struct prediction *p);
#define _cleanup_prediction_ _cleanup_(prediction_done)

/* Appends an event with this digest; `format` says what is measured. */
int prediction_add(struct prediction *p, unsigned pcr, uint32_t type, const uint8_t digest[static SHA384_SIZE],
                   const char *why, struct error *e, const char *format, ...) _printf_(7, 8);
/* Appends an event with the digest of `data`. */
int prediction_add_data(struct prediction *p, unsigned pcr, uint32_t type, const void *data, size_t size,
                        const char *why, struct error *e, const char *format, ...) _printf_(8, 9);
/* The same for the two kinds of event that say the same of every boot. */
int prediction_add_action(struct prediction *p, const char *text, const char *why, struct error *e);
int prediction_add_separator(struct prediction *p, unsigned pcr, const char *why, struct error *e);

/* Extends the PCRs that `ret` has with the events of each. */
int prediction_extend(const struct prediction *p, struct reference *ret, struct error *e);

/* SHA-384 of two ranges of bytes, one after the other; either may be empty. */
int sha384_of(const void *first, size_t n_first, const void *second, size_t n_second, uint8_t ret[static SHA384_SIZE],
              struct error *e);
