/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The instance metadata service, version 2 only: a session token by PUT (kept for its TTL, fetched anew after a 401),
 * then GETs. The operator or the network may have made the answers, so they are bounded and parsed strictly. Slow or
 * failing answers are asked for again, as are those that are missing or empty in the first seconds of an instance
 * (verdict.c). May be used from any thread. FAILURE_IMDS, FAILURE_CREDENTIALS. Source: EC2 User Guide, "Use IMDS". */

#include "aws/credentials.h"
#include "aws/http.h"
#include "aws/notice.h"

#define IMDS_ENDPOINT "http://169.254.169.254"

enum { IMDS_USER_DATA_MAX = 16 * 1024 };

struct imds;

/* `endpoint` NULL: IMDS_ENDPOINT. `deadline_ms` bounds the attempts for each answer; 0: 20 s. `http` must outlive it.
 * Fetches nothing. */
int imds_new(struct http *http, const char *endpoint, unsigned deadline_ms, struct imds **ret, struct error *e);
void imds_free(struct imds *imds);
DEFINE_CLEANUP(struct imds *, imds_free, imds_freep)

/* "us-east-1" */
int imds_region(struct imds *imds, char **ret, struct error *e);
/* As launched, at most IMDS_USER_DATA_MAX bytes, with a NUL after them. Without user data: success, *ret NULL and 0.
 * `required`: waits for it; FAILURE_LAUNCH when there is none, or an empty one, until the deadline. */
int imds_user_data(struct imds *imds, bool required, uint8_t **ret, size_t *ret_n, struct error *e);
/* The present credentials of the instance's role. */
int imds_credentials(struct imds *imds, struct credentials **ret, struct error *e);
/* Where Auto Scaling moves the instance; LIFECYCLE_NONE if the service knows of nothing. */
int imds_lifecycle_state(struct imds *imds, enum lifecycle_state *ret, struct error *e);
/* The interruption of a Spot instance; ret->action NULL if none is announced. */
int imds_interruption(struct imds *imds, struct interruption *ret, struct error *e);

/* From the instance identity document, which is not verified: nothing that decides security comes from it. */
struct imds_identity {
        char account[16];
        char instance_id[32];
        char instance_type[48];
        char image_id[32];
        char region[32];
        char zone[48];
};
/* `required`: waits for it. Otherwise its absence is an error at once. */
int imds_identity(struct imds *imds, bool required, struct imds_identity *ret, struct error *e);

/* Parsers of the service's texts, for tests and fuzzing. `text` is NUL-terminated; the first one moves the secrets out
 * of it. */
int imds_parse_credentials(char *text, size_t n, const char *subject, struct credentials **ret, struct error *e);
int imds_parse_identity(const char *text, size_t n, const char *subject, struct imds_identity *ret, struct error *e);
