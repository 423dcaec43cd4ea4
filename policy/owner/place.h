/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The place of a sealed model, or of a single sealed object: in S3 or on a local disk. */

#include "owner/clients.h"
#include "sealed/message.h"

struct place {
        char *bucket; /* NULL: local */
        char *path; /* S3: a prefix (empty, or with its slash) or a key. Local: a directory with its slash, or a file */
        bool is_model; /* path holds a manifest and objects */
};

/* "s3://bucket/prefix/" and "s3://bucket" are models, "s3://bucket/key" is an object. Local paths that end in '/' or
 * are directories are models, others objects. Other spellings of names in S3 are refused (remote-name.h).
 * FAILURE_USAGE. */
int place_parse(const char *text, struct place *ret, struct error *e);
void place_done(struct place *p);
#define _cleanup_place_ _cleanup_(place_done)

/* Key or path of the object `name` of a model; of the object itself (name NULL). The caller frees *ret. */
int place_path(const struct place *p, const char *name, char **ret, struct error *e);
/* "s3://bucket/key" or the path, for people. The caller frees *ret. */
int place_subject(const struct place *p, const char *name, char **ret, struct error *e);

/* The first bytes of an object, at most `max`, and its whole size. Asks S3 for no more. `owner` may be NULL for local
 * places. */
int place_read(const struct place *p, struct owner *owner, const char *name, size_t max, uint8_t **ret, size_t *ret_n,
               uint64_t *ret_size, struct error *e);
/* Exactly `n` bytes of an object from `offset` on. */
int place_read_at(const struct place *p, struct owner *owner, const char *name, uint64_t offset, void *data, size_t n,
                  struct error *e);
/* The message header of an object, and its size; nothing beside the header is read. */
int place_read_header(const struct place *p, struct owner *owner, const char *name, struct message_header **ret,
                      uint64_t *ret_size, struct error *e);
/* Returns `r`, the result of an operation on the place. If the path does not exist and may be a bucket's name without
 * its s3://, sets advice that says so. */
int place_advise(const struct place *p, int r, struct error *e);
/* Fails when S3 does not say whether it exists. */
int place_exists(const struct place *p, struct owner *owner, const char *name, bool *ret, struct error *e);
