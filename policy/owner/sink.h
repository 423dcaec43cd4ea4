/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Writes sealed objects into a place, so that an object is there whole or not at all. Different objects, and different
 * parts of one, may be written by different threads. */

#include "owner/place.h"

struct sink;
/* Both are borrowed. Makes a local directory that does not exist. */
int sink_new(const struct place *place, struct owner *owner, struct sink **ret, struct error *e);
void sink_free(struct sink *s);
DEFINE_CLEANUP(struct sink *, sink_free, sink_freep)

/* A small object, at once. */
int sink_put(struct sink *s, const char *name, const void *data, size_t n, struct error *e);

/* A large one, in parts, of which each but the last has at least S3_PART_SMALLEST bytes. */
struct sink_object;
int sink_begin(struct sink *s, const char *name, uint64_t size, struct sink_object **ret, struct error *e);
/* Part `number`, from 1, whose first byte is the object's byte `offset`. */
int sink_part(struct sink_object *o, unsigned number, uint64_t offset, const void *data, size_t n, struct error *e);
int sink_complete(struct sink_object *o, struct error *e);
/* Leaves nothing behind of an object that is not complete. */
void sink_object_free(struct sink_object *o);
DEFINE_CLEANUP(struct sink_object *, sink_object_free, sink_object_freep)

int sink_remove(struct sink *s, const char *name, struct error *e);
