/* SPDX-License-Identifier: Apache-2.0 */

/* Two blocks side by side by the SHA-256 instructions of ARMv8, which all Graviton CPUs have. One block alone waits for
 * each sha256h before the next. */

/* clang before 16 declares these instructions only where the whole build may use them. */
#if defined __clang__ && !defined __ARM_FEATURE_SHA2
#define __ARM_FEATURE_SHA2 1
#endif

#include <arm_neon.h>
#include <asm/hwcap.h>
#include <errno.h>
#include <sys/auxv.h>

#include "engine-pair.h"
#include "engine-sha256.h"
#include "engine.h"

#ifdef __clang__
#define TARGET __attribute__((target("sha2,crypto")))
#else
#define TARGET __attribute__((target("+crypto")))
#endif
#define LANE static inline __attribute__((always_inline)) TARGET
#define LANES 2

struct state {
        uint32x4_t abcd, efgh;
};

LANE uint32x4_t load(const uint8_t *data) {
        return vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(data)));
}

/* Four rounds. */
LANE void rounds(struct state *s, uint32x4_t w, unsigned i) {
        uint32x4_t t = vaddq_u32(w, vld1q_u32(sha256_k + i)), abcd = s->abcd;

        s->abcd = vsha256hq_u32(abcd, s->efgh, t);
        s->efgh = vsha256h2q_u32(s->efgh, abcd, t);
}

/* The four words of the schedule that follow these sixteen. */
LANE uint32x4_t expand(uint32x4_t w0, uint32x4_t w1, uint32x4_t w2, uint32x4_t w3) {
        return vsha256su1q_u32(vsha256su0q_u32(w0, w1), w2, w3);
}

LANE void compress(struct state s[LANES], const uint8_t *first, const uint8_t *second) {
        struct state a = s[0], b = s[1];
        uint32x4_t a0 = load(first), a1 = load(first + 16), a2 = load(first + 32), a3 = load(first + 48);
        uint32x4_t b0 = load(second), b1 = load(second + 16), b2 = load(second + 32), b3 = load(second + 48);

        ALL_ROUNDS();
        s[0].abcd = vaddq_u32(s[0].abcd, a.abcd);
        s[0].efgh = vaddq_u32(s[0].efgh, a.efgh);
        s[1].abcd = vaddq_u32(s[1].abcd, b.abcd);
        s[1].efgh = vaddq_u32(s[1].efgh, b.efgh);
}

LANE void store_digest(const struct state *s, uint8_t *digest) {
        vst1q_u8(digest, vrev32q_u8(vreinterpretq_u8_u32(s->abcd)));
        vst1q_u8(digest + 16, vrev32q_u8(vreinterpretq_u8_u32(s->efgh)));
}

TARGET static void hash_pair(const uint8_t *data, uint8_t *digests) {
        struct state s[LANES];

        s[0].abcd = vld1q_u32(sha256_start);
        s[0].efgh = vld1q_u32(sha256_start + 4);
        s[1] = s[0];
        for (size_t at = 0; at < ENGINE_BLOCK; at += 64)
                compress(s, data + at, data + ENGINE_BLOCK + at);
        compress(s, sha256_padding, sha256_padding);
        store_digest(&s[0], digests);
        store_digest(&s[1], digests + ENGINE_DIGEST);
}

static int start(void **ret_state) {
        *ret_state = NULL;
        return getauxval(AT_HWCAP) & HWCAP_SHA2 ? 0 : -EOPNOTSUPP;
}

TARGET static int hash(void *state, const uint8_t *data, size_t n, uint8_t *digests) {
        (void) state;
        for (size_t i = 0; i < n; i += LANES)
                hash_pair(data + i * ENGINE_BLOCK, digests + i * ENGINE_DIGEST);
        return 0;
}

const struct engine engine_armv8 = { .name = "armv8", .lanes = LANES, .start = start, .hash = hash };
