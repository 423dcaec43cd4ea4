/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Requests to S3 that only owners make: put, multipart upload, delete, list. Errors and retries as in aws/s3.h.
 * Every body is sent with its CRC32C, which S3 checks before it stores the bytes, keeps with the object, and demands
 * where Object Lock is on; what it says it stored is compared with what was sent.
 * Source: Amazon S3 API Reference. */

#include "aws/s3.h"

enum { S3_PART_SMALLEST = 5 * 1024 * 1024, S3_PARTS_MAX = 10000 }; /* S3's own limits; the last part may be smaller */

int s3_put(struct s3 *s3, const char *bucket, const char *key, const void *data, size_t n, struct error *e);

/* Also succeeds when there is no such object. */
int s3_delete(struct s3 *s3, const char *bucket, const char *key, struct error *e);

/* A multipart upload. Until it is complete, no object is there; one that is freed before is aborted (tried once). */
struct s3_upload;
int s3_upload_begin(struct s3 *s3, const char *bucket, const char *key, struct s3_upload **ret, struct error *e);
/* Part `number`, from 1; parts may be sent in any order and from several threads at once. */
int s3_upload_part(struct s3_upload *upload, unsigned number, const void *data, size_t n, struct error *e);
/* All parts from 1 to the highest number sent must have succeeded. */
int s3_upload_complete(struct s3_upload *upload, struct error *e);
void s3_upload_free(struct s3_upload *upload);
DEFINE_CLEANUP(struct s3_upload *, s3_upload_free, s3_upload_freep)

struct s3_entry {
        char *key;
        uint64_t size;
};
struct s3_list {
        struct s3_entry *entries;
        size_t n;
        char *next; /* continuation token; NULL after the last page */
};
void s3_list_done(struct s3_list *list);

/* All objects whose keys start with `prefix`, in S3's order (by the bytes of their keys), at most `max` (else
 * S3_ANSWER). */
int s3_list(struct s3 *s3, const char *bucket, const char *prefix, size_t max, struct s3_list *ret, struct error *e);

/* One page of a listing, for tests and fuzzing: appends to *list and sets list->next. `text` is changed. */
int s3_parse_list(char *text, size_t n, const char *subject, struct s3_list *list, struct error *e);
