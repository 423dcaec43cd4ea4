/* SPDX-License-Identifier: Apache-2.0 */

/* Intel's multi-buffer library (libipsec-mb), for CPUs with AVX-512: it hashes 16 blocks at once. On other CPUs it
 * takes AVX2 even where SHA-NI is twice as fast, and our own engines are faster. */

#include <errno.h>
#include <intel-ipsec-mb.h>
#include <stdbool.h>

#include "engine.h"

static void end(void *state) {
        free_mb_mgr(state);
}

static int start(void **ret_state) {
        IMB_MGR *manager = alloc_mb_mgr(0);
        IMB_ARCH arch;

        if (!manager)
                return -ENOMEM;
        init_mb_mgr_auto(manager, &arch);
        if (arch < IMB_ARCH_AVX512 || imb_get_errno(manager) != 0) {
                free_mb_mgr(manager);
                return -EOPNOTSUPP;
        }
        *ret_state = manager;
        return 0;
}

static void describe(IMB_JOB *job, const uint8_t *block, uint8_t *digest) {
        job->cipher_mode = IMB_CIPHER_NULL;
        job->cipher_direction = IMB_DIR_ENCRYPT;
        job->chain_order = IMB_ORDER_HASH_CIPHER;
        job->hash_alg = IMB_AUTH_SHA_256;
        job->src = block;
        job->hash_start_src_offset_in_bytes = 0;
        job->msg_len_to_hash_in_bytes = ENGINE_BLOCK;
        job->auth_tag_output = digest;
        job->auth_tag_output_len_in_bytes = ENGINE_DIGEST;
}

static bool failed(const IMB_JOB *job) {
        return job && job->status != IMB_STATUS_COMPLETED;
}

static int hash(void *state, const uint8_t *data, size_t n, uint8_t *digests) {
        IMB_MGR *manager = state;
        IMB_JOB *job;
        bool bad = false;

        for (size_t i = 0; i < n; i++) {
                describe(IMB_GET_NEXT_JOB(manager), data + i * ENGINE_BLOCK, digests + i * ENGINE_DIGEST);
                bad = failed(IMB_SUBMIT_JOB_NOCHECK(manager)) || bad;
        }
        while ((job = IMB_FLUSH_JOB(manager)))
                bad = failed(job) || bad;
        return bad ? -EIO : 0;
}

const struct engine engine_library = { .name = "ipsec-mb", .lanes = 1, .start = start, .end = end, .hash = hash };
