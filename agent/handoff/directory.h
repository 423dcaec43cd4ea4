/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The model directory: where a model is unsealed in private and from where it is handed over.
 *
 *   MODEL_DIRECTORY/.unsealing/0, 1, ...   files being unsealed, under private names, mode 0600
 *   MODEL_DIRECTORY/.publishing/<paths>    whole and verified files under their own names, mode 0440
 *   MODEL_DIRECTORY/current/<paths>        published: .publishing renamed, in one step
 *
 * It must be on a tmpfs or ramfs: plaintext weights never touch anything that outlives the power. */

#include "pipeline/room.h"

struct handoff;

#define HANDOFF_PUBLISHED "current"

/* Removes what an earlier run that was killed left behind, and makes the private directories. FAILURE_PUBLISH when the
 * place is not there, not in memory, not writable, or has a published model already. */
int handoff_new(const char *model_directory, struct handoff **ret, struct error *e);
/* Removes everything that is not published, even while other threads still write to it; nothing can be made there
 * afterwards. */
void handoff_discard(struct handoff *h);
/* What handoff_discard() does, for a run that was killed and so did not: after it, by whoever can write there.
 * *ret_found: there was something. Not for while an agent runs. */
int handoff_clean_up(const char *model_directory, bool *ret_found, struct error *e);
/* Discards, and closes. */
void handoff_free(struct handoff *h);
DEFINE_CLEANUP(struct handoff *, handoff_free, handoff_freep)

/* Where private files are made; owned by h. */
int handoff_private_fd(const struct handoff *h);
/* What a model may take up there. */
int handoff_room(const struct handoff *h, struct room *ret, struct error *e);
/* Gives a private file its own name. The path is safe (model_add() has refused others). */
int handoff_place(struct handoff *h, const char *private_name, const char *path, struct error *e);
/* Makes what was placed visible, in one rename, and says where it is (borrowed). */
int handoff_publish(struct handoff *h, const char **ret, struct error *e);
