/* SPDX-License-Identifier: Apache-2.0 */
#include <intel-ipsec-mb.h>

#include "sealed/leaves.h"

enum { BLOCK = 4096, DIGEST = 32 };

struct leaves {
        IMB_MGR *manager;
};

int leaves_new(struct leaves **ret) {
        struct leaves *l = calloc(1, sizeof *l);
        IMB_ARCH arch;

        if (!l)
                return -ENOMEM;
        l->manager = alloc_mb_mgr(0);
        if (!l->manager) {
                free(l);
                return -ENOMEM;
        }
        init_mb_mgr_auto(l->manager, &arch);
        if (arch == IMB_ARCH_NONE || imb_get_errno(l->manager) != 0) {
                leaves_free(l);
                return -EOPNOTSUPP;
        }
        *ret = l;
        return 0;
}

void leaves_free(struct leaves *l) {
        if (!l)
                return;
        free_mb_mgr(l->manager);
        free(l);
}

static void describe(IMB_JOB *job, const uint8_t *block, uint8_t *digest) {
        job->cipher_mode = IMB_CIPHER_NULL;
        job->cipher_direction = IMB_DIR_ENCRYPT;
        job->chain_order = IMB_ORDER_HASH_CIPHER;
        job->hash_alg = IMB_AUTH_SHA_256;
        job->src = block;
        job->hash_start_src_offset_in_bytes = 0;
        job->msg_len_to_hash_in_bytes = BLOCK;
        job->auth_tag_output = digest;
        job->auth_tag_output_len_in_bytes = DIGEST;
}

static bool failed(const IMB_JOB *job) {
        return job && job->status != IMB_STATUS_COMPLETED;
}

int leaves_hash(struct leaves *l, const uint8_t *data, size_t n, uint8_t *digests) {
        IMB_JOB *job;
        bool bad = false;

        for (size_t i = 0; i < n; i++) {
                describe(IMB_GET_NEXT_JOB(l->manager), data + i * BLOCK, digests + i * DIGEST);
                bad = failed(IMB_SUBMIT_JOB_NOCHECK(l->manager)) || bad;
        }
        while ((job = IMB_FLUSH_JOB(l->manager)))
                bad = failed(job) || bad;
        return bad ? -EIO : 0;
}
