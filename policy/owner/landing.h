/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Opens a model on its owner's disk: into a private directory beside the destination, which is renamed to it when every
 * file is whole, and is removed otherwise.
 *
 *   DESTINATION.XXXXXX/private/0, 1, ...   files being unsealed
 *   DESTINATION.XXXXXX/model/<paths>       whole ones, under their own names
 *   DESTINATION/<paths>                    model renamed, in one step */

#include "basic/failure.h"

struct landing;

/* FAILURE_PUBLISH (-EEXIST) when the destination exists and is not an empty directory. */
int landing_new(const char *destination, struct landing **ret, struct error *e);
/* Removes everything that is not published. */
void landing_free(struct landing *l);
DEFINE_CLEANUP(struct landing *, landing_free, landing_freep)

int landing_private_fd(const struct landing *l);
/* Bytes that the file system has free. */
int landing_room(const struct landing *l, uint64_t *ret, struct error *e);
/* Gives a private file its own name. The path is safe (model_add() has refused others). */
int landing_place(struct landing *l, const char *private_name, const char *path, struct error *e);
int landing_publish(struct landing *l, struct error *e);
