/* SPDX-License-Identifier: Apache-2.0 */

/* 8 blocks side by side in the registers of AVX2, for CPUs that have neither AVX-512 nor SHA-NI. */

#include <errno.h>
#include <immintrin.h>

#include "engine.h"

#define TARGET __attribute__((target("avx2")))
#define LANE static inline __attribute__((always_inline)) TARGET
#define LANES 8

typedef __m256i vec;

#define vec_all(x) _mm256_set1_epi32((int) (x))
#define vec_add(a, b) _mm256_add_epi32(a, b)
#define vec_xor(a, b) _mm256_xor_si256(a, b)
#define vec_store(p, x) _mm256_storeu_si256((__m256i *) (void *) (p), x)
#define vec_shift(x, n) _mm256_srli_epi32(x, n)
#define vec_rotate(x, n) _mm256_or_si256(_mm256_srli_epi32(x, n), _mm256_slli_epi32(x, 32 - (n)))
#define vec_choose(e, f, g) vec_xor(g, _mm256_and_si256(e, vec_xor(f, g)))
#define vec_majority(a, b, c) vec_xor(b, _mm256_and_si256(vec_xor(a, b), vec_xor(b, c)))
#define vec_big0(x) vec_xor(vec_rotate(x, 2), vec_xor(vec_rotate(x, 13), vec_rotate(x, 22)))
#define vec_big1(x) vec_xor(vec_rotate(x, 6), vec_xor(vec_rotate(x, 11), vec_rotate(x, 25)))
#define vec_small0(x) vec_xor(vec_rotate(x, 7), vec_xor(vec_rotate(x, 18), vec_shift(x, 3)))
#define vec_small1(x) vec_xor(vec_rotate(x, 17), vec_xor(vec_rotate(x, 19), vec_shift(x, 10)))

LANE vec load_row(const uint8_t *data) {
        const vec swap = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203));

        return _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *) (const void *) data), swap);
}

/* Four rows: afterwards half h of out[i] holds word 4h + i of each. */
LANE void transpose_halves(const uint8_t *data, vec out[4]) {
        vec a = load_row(data), b = load_row(data + ENGINE_BLOCK);
        vec c = load_row(data + 2 * ENGINE_BLOCK), d = load_row(data + 3 * ENGINE_BLOCK);
        vec ab_low = _mm256_unpacklo_epi32(a, b), ab_high = _mm256_unpackhi_epi32(a, b);
        vec cd_low = _mm256_unpacklo_epi32(c, d), cd_high = _mm256_unpackhi_epi32(c, d);

        out[0] = _mm256_unpacklo_epi64(ab_low, cd_low);
        out[1] = _mm256_unpackhi_epi64(ab_low, cd_low);
        out[2] = _mm256_unpacklo_epi64(ab_high, cd_high);
        out[3] = _mm256_unpackhi_epi64(ab_high, cd_high);
}

LANE void load(vec w[16], const uint8_t *data) {
        enum { LOW = 0x20, HIGH = 0x31 }; /* the lower halves of two vectors, the upper ones */
        vec low[4], high[4];

        for (unsigned at = 0; at < 2; at++) {
                transpose_halves(data + at * sizeof(vec), low);
                transpose_halves(data + at * sizeof(vec) + 4 * ENGINE_BLOCK, high);
                for (unsigned i = 0; i < 4; i++) {
                        w[at * 8 + i] = _mm256_permute2x128_si256(low[i], high[i], LOW);
                        w[at * 8 + i + 4] = _mm256_permute2x128_si256(low[i], high[i], HIGH);
                }
        }
}

#include "engine-lanes.h"

static int start(void **ret_state) {
        *ret_state = NULL;
        return __builtin_cpu_supports("avx2") ? 0 : -EOPNOTSUPP;
}

TARGET static int hash(void *state, const uint8_t *data, size_t n, uint8_t *digests) {
        (void) state;
        for (size_t i = 0; i < n; i += LANES)
                hash_lanes(data + i * ENGINE_BLOCK, digests + i * ENGINE_DIGEST);
        return 0;
}

const struct engine engine_avx2 = { .name = "avx2", .lanes = LANES, .start = start, .hash = hash };
