/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The model directory: a model is unsealed there in private, and handed over to the inference server.
 *
 *   MODEL_DIRECTORY/.unsealing/0, 1, ...   files being unsealed, under private names, mode 0600
 *   MODEL_DIRECTORY/.publishing/<paths>    complete and verified files, under their own names, mode 0440
 *   MODEL_DIRECTORY/current/<paths>        published: .publishing renamed, in one step
 *
 * It must be on a tmpfs or ramfs, so that plaintext weights never reach a disk. */

#include "pipeline/room.h"

struct handoff;

#define HANDOFF_PUBLISHED "current"

/* Removes what a killed run left behind, and makes the private directories. FAILURE_PUBLISH if the directory is
 * missing, is not in memory, is not writable, or has a published model already. */
int handoff_new(const char *model_directory, struct handoff **ret, struct error *e);
/* Removes everything that is not published. Other threads may still write there; afterwards no file can be made. */
void handoff_discard(struct handoff *h);
/* Does what a killed run could not do: removes everything that is not published. *ret_found: there was something. Call
 * only while no agent runs. */
int handoff_clean_up(const char *model_directory, bool *ret_found, struct error *e);
/* Removes everything that is not published, and closes. */
void handoff_free(struct handoff *h);
DEFINE_CLEANUP(struct handoff *, handoff_free, handoff_freep)

/* The directory in which private files are made. h owns the descriptor. */
int handoff_private_fd(const struct handoff *h);
/* What a model may take up there. */
int handoff_room(const struct handoff *h, struct room *ret, struct error *e);
/* Gives a private file its own name. The path is safe (model_add() has refused others). */
int handoff_place(struct handoff *h, const char *private_name, const char *path, struct error *e);
/* Makes the placed files visible, with one rename. *ret: their directory, borrowed. */
int handoff_publish(struct handoff *h, const char **ret, struct error *e);
/* Removes the published files. A program that has one of them open, or mapped, keeps it. */
int handoff_withdraw(struct handoff *h, struct error *e);
