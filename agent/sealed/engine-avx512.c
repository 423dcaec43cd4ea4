/* SPDX-License-Identifier: Apache-2.0 */

/* 16 blocks side by side in the 32 registers of AVX-512, which has a rotation and any function of three operands as one
 * instruction each. */

#include <errno.h>
#include <immintrin.h>

#include "engine.h"

#define TARGET __attribute__((target("avx512f,avx512bw")))
#define LANE static inline __attribute__((always_inline)) TARGET
#define LANES 16

typedef __m512i vec;

/* The third operand of vpternlogd is a table of truth: bit (4a + 2b + c) is the result. */
enum { XOR = 0x96, CHOOSE = 0xca, MAJORITY = 0xe8 };

#define vec_all(x) _mm512_set1_epi32((int) (x))
#define vec_add(a, b) _mm512_add_epi32(a, b)
#define vec_store(p, x) _mm512_storeu_si512(p, x)
#define vec_choose(e, f, g) _mm512_ternarylogic_epi32(e, f, g, CHOOSE)
#define vec_majority(a, b, c) _mm512_ternarylogic_epi32(a, b, c, MAJORITY)
#define vec_xor3(a, b, c) _mm512_ternarylogic_epi32(a, b, c, XOR)
#define vec_big0(x) vec_xor3(_mm512_ror_epi32(x, 2), _mm512_ror_epi32(x, 13), _mm512_ror_epi32(x, 22))
#define vec_big1(x) vec_xor3(_mm512_ror_epi32(x, 6), _mm512_ror_epi32(x, 11), _mm512_ror_epi32(x, 25))
#define vec_small0(x) vec_xor3(_mm512_ror_epi32(x, 7), _mm512_ror_epi32(x, 18), _mm512_srli_epi32(x, 3))
#define vec_small1(x) vec_xor3(_mm512_ror_epi32(x, 17), _mm512_ror_epi32(x, 19), _mm512_srli_epi32(x, 10))

LANE vec load_row(const uint8_t *data) {
        const vec swap = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203));

        return _mm512_shuffle_epi8(_mm512_loadu_si512(data), swap);
}

/* Four rows: afterwards quarter q of out[i] holds word 4q + i of each. */
LANE void transpose_quarters(const uint8_t *data, vec out[4]) {
        vec a = load_row(data), b = load_row(data + ENGINE_BLOCK);
        vec c = load_row(data + 2 * ENGINE_BLOCK), d = load_row(data + 3 * ENGINE_BLOCK);
        vec ab_low = _mm512_unpacklo_epi32(a, b), ab_high = _mm512_unpackhi_epi32(a, b);
        vec cd_low = _mm512_unpacklo_epi32(c, d), cd_high = _mm512_unpackhi_epi32(c, d);

        out[0] = _mm512_unpacklo_epi64(ab_low, cd_low);
        out[1] = _mm512_unpackhi_epi64(ab_low, cd_low);
        out[2] = _mm512_unpacklo_epi64(ab_high, cd_high);
        out[3] = _mm512_unpackhi_epi64(ab_high, cd_high);
}

LANE void load(vec w[16], const uint8_t *data) {
        enum { EVEN = 0x88, ODD = 0xdd }; /* quarters 0 and 2, 1 and 3, of two vectors */
        vec row[4][4];

        for (unsigned i = 0; i < 4; i++)
                transpose_quarters(data + i * 4 * ENGINE_BLOCK, row[i]);
        for (unsigned i = 0; i < 4; i++) {
                vec even_low = _mm512_shuffle_i32x4(row[0][i], row[1][i], EVEN);
                vec even_high = _mm512_shuffle_i32x4(row[2][i], row[3][i], EVEN);
                vec odd_low = _mm512_shuffle_i32x4(row[0][i], row[1][i], ODD);
                vec odd_high = _mm512_shuffle_i32x4(row[2][i], row[3][i], ODD);

                w[i] = _mm512_shuffle_i32x4(even_low, even_high, EVEN);
                w[i + 4] = _mm512_shuffle_i32x4(odd_low, odd_high, EVEN);
                w[i + 8] = _mm512_shuffle_i32x4(even_low, even_high, ODD);
                w[i + 12] = _mm512_shuffle_i32x4(odd_low, odd_high, ODD);
        }
}

#include "engine-lanes.h"

static int start(void **ret_state) {
        *ret_state = NULL;
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") ? 0 : -EOPNOTSUPP;
}

TARGET static int hash(void *state, const uint8_t *data, size_t n, uint8_t *digests) {
        (void) state;
        for (size_t i = 0; i < n; i += LANES)
                hash_lanes(data + i * ENGINE_BLOCK, digests + i * ENGINE_DIGEST);
        return 0;
}

const struct engine engine_avx512 = { .name = "avx512", .lanes = LANES, .start = start, .hash = hash };
