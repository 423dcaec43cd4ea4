/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Checks files whose path states their SHA-256 (sealed/content-address.h). SHA-256 of a whole file takes its bytes in
 * order, and parts arrive in any order: one thread of its own reads behind the parts what is authentic so far. So the
 * check ends soon after the transfer, and a model without such files has no thread and no cost. */

#include "pipeline/job.h"

/* `n` more frames are authentic, from `first` on. Does nothing for other files. */
int follow_frames_done(struct file *f, uint32_t first, uint32_t n, struct error *e);
/* Starts the thread if a file of the job needs it. Call once, when every file is added and resolved. */
int follow_start(struct unseal *u, struct error *e);
/* Waits for the thread, which stops early if the job has stopped. */
void follow_join(struct unseal *u);
