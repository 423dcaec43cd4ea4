/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The unseal pipeline: from sealed objects to authenticated, digested files in a private directory on the tmpfs.
 *
 *   object --ranged GETs, many at once--> frame --AES-GCM--> window (up to 2 MiB) --write--> file
 *                                                              \--SHA-256 of each chunk--> fs-verity tree
 *
 * Work is cut into parts: runs of whole frames, about 8 MiB. A worker thread drives many parts at once, each on a
 * connection of its own. A frame is decrypted as its bytes arrive, hashed while they are in cache, and written once to
 * its final place. There is no lock or allocation for each frame, no copy of the model in memory, and no second pass.
 * Before the data key is known, parts are written as ciphertext at the place of their plaintext, and decrypted there
 * later.
 *
 * Nothing is published here. The files must not be used until unseal_finish() has returned 0. */

#include <stdatomic.h>

#include "sealed/message.h"
#include "sealed/model.h"

struct s3;
struct unseal;

struct unseal_options {
        struct s3 *s3;        /* the source: the bucket of each model ... */
        int source_fd;        /* ... or, with s3 NULL, a local directory */
        int directory_fd;     /* where the private files are made; borrowed, must outlive the job */
        uint64_t room;        /* bytes that all files together may take up */
        uint64_t unit;        /* bytes: each file takes up a multiple of it; 0: its size */
        const char *limit;    /* what limits the room, for the error; NULL: not named */
        unsigned workers;     /* threads; 0: one for each CPU that the process may use */
        unsigned connections; /* in all; 0: chosen from the number of workers */
        bool any_iv;          /* see frame_head_check() */
        const char *engine;   /* hash engine; NULL: the fastest (verity.h) */
        /* Once another thread has set it, the functions that wait end with -ECANCELED. NULL: they cannot be. */
        const atomic_bool *cancelled;
};

/* What the objects of one sealed model have in common. One job may unseal several models. The caller owns this, until
 * the job is freed. */
struct unseal_model {
        const char *bucket; /* NULL: the source is a local directory */
        const char *label;  /* before the name of an object, in errors: "input base of Acme: "; NULL: nothing */
        /* Every object must have the encryption context and encrypted data keys of `reference`. Set both before
         * unseal_use_keys(). */
        const struct secret *data_key;
        const struct message_header *reference;
};

/* Starts the workers, which wait for files. The strings and descriptors must outlive the job. */
int unseal_new(const struct unseal_options *o, struct unseal **ret, struct error *e);
/* Cancels what is running, and joins the workers, which wipe their keys: the models' own may be wiped then. */
void unseal_stop(struct unseal *u);
/* The same, and closes everything, which may wait for a DNS server. Files stay in the directory; the caller removes it.
 */
void unseal_free(struct unseal *u);
DEFINE_CLEANUP(struct unseal *, unseal_free, unseal_freep)

/* Adds one object of the model and begins to fetch it. With `expected` (borrowed until unseal_finish()), it must have
 * this size and digest. A `speculative` object may be missing or broken, as long as it is not expected. *ret_index: 0
 * for the object that was added first, then 1, and so on. */
int unseal_add(struct unseal *u, const struct unseal_model *model, const char *key, const struct model_file *expected,
               bool speculative, size_t *ret_index, struct error *e);
/* Resolves the speculative file to `expected`; NULL drops it. Call before unseal_use_keys(). */
int unseal_expect(struct unseal *u, size_t index, const struct model_file *expected, struct error *e);

/* Waits until the header of a file is read. The header is borrowed, and still hostile. Not for a local source, which
 * reads nothing before it has the data key. */
int unseal_wait_header(struct unseal *u, size_t index, const struct message_header **ret, struct error *e);

/* Every model of the job has its data key now, and a model that is added to later has it already. */
void unseal_use_keys(struct unseal *u);

struct unseal_progress {
        uint64_t bytes, total; /* plaintext authenticated, and expected (0 while unknown) */
        uint64_t fetched;      /* bytes of objects that were received, also again */
        unsigned retries;
};
/* Waits until every file is complete and verified, or for the first failure. Calls `progress` (may be NULL) about 4
 * times a second. */
int unseal_finish(struct unseal *u, void (*progress)(void *userdata, const struct unseal_progress *p), void *userdata,
                  struct error *e);

/* After unseal_finish(): the private name in the directory, the size and the fs-verity digest. */
void unseal_result(struct unseal *u, size_t index, const char **ret_name, uint64_t *ret_size,
                   uint8_t ret_digest[static VERITY_DIGEST]);
void unseal_get_progress(struct unseal *u, struct unseal_progress *ret);
