/* SPDX-License-Identifier: Apache-2.0 */

/* Two blocks side by side by the SHA instructions of x86-64 (SHA-NI). One block alone waits for each sha256rnds2 before
 * the next. Two fill the 16 registers; three take turns in memory and are slower.
 *
 * The SHA instructions have no VEX encoding. VEX-encoded instructions between them make this ten times slower on some
 * CPUs, so AVX is off in this file, whatever the build allows elsewhere. */

#ifdef __clang__
#ifdef __AVX__
#error "build this file without AVX"
#endif
#define TARGET __attribute__((target("sha,ssse3,sse4.1")))
#else
#pragma GCC target("no-avx,sha,ssse3,sse4.1")
#define TARGET
#endif

#include <cpuid.h>
#include <errno.h>
#include <immintrin.h>

#include "engine-pair.h"
#include "engine-sha256.h"
#include "engine.h"

#define LANE static inline __attribute__((always_inline)) TARGET
#define LANES 2

/* The CPU wants the eight words of the state in this order. */
struct state {
        __m128i abef, cdgh;
};

LANE __m128i load(const uint8_t *data) {
        const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);

        return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *) (const void *) data), swap);
}

/* Four rounds. */
LANE void rounds(struct state *s, __m128i w, unsigned i) {
        __m128i t = _mm_add_epi32(w, _mm_load_si128((const __m128i *) (const void *) (sha256_k + i)));

        s->cdgh = _mm_sha256rnds2_epu32(s->cdgh, s->abef, t);
        s->abef = _mm_sha256rnds2_epu32(s->abef, s->cdgh, _mm_shuffle_epi32(t, 0x0e));
}

/* The four words of the schedule that follow these sixteen. */
LANE __m128i expand(__m128i w0, __m128i w1, __m128i w2, __m128i w3) {
        return _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4)), w3);
}

LANE void compress(struct state s[LANES], const uint8_t *first, const uint8_t *second) {
        struct state a = s[0], b = s[1];
        __m128i a0 = load(first), a1 = load(first + 16), a2 = load(first + 32), a3 = load(first + 48);
        __m128i b0 = load(second), b1 = load(second + 16), b2 = load(second + 32), b3 = load(second + 48);

        ALL_ROUNDS();
        s[0].abef = _mm_add_epi32(s[0].abef, a.abef);
        s[0].cdgh = _mm_add_epi32(s[0].cdgh, a.cdgh);
        s[1].abef = _mm_add_epi32(s[1].abef, b.abef);
        s[1].cdgh = _mm_add_epi32(s[1].cdgh, b.cdgh);
}

LANE void store_digest(const struct state *s, uint8_t *digest) {
        __m128i feba = _mm_shuffle_epi32(s->abef, 0x1b), dchg = _mm_shuffle_epi32(s->cdgh, 0xb1);
        __m128i words[2] = { _mm_blend_epi16(feba, dchg, 0xf0), _mm_alignr_epi8(dchg, feba, 8) };

        for (unsigned i = 0; i < 2; i++)
                _mm_storeu_si128((__m128i *) (void *) (digest + 16 * i), load((const uint8_t *) &words[i]));
}

TARGET static void hash_pair(const uint8_t *data, uint8_t *digests) {
        const uint32_t *h = sha256_start;
        struct state s[LANES];

        s[0].abef = _mm_set_epi32((int) h[0], (int) h[1], (int) h[4], (int) h[5]);
        s[0].cdgh = _mm_set_epi32((int) h[2], (int) h[3], (int) h[6], (int) h[7]);
        s[1] = s[0];
        for (size_t at = 0; at < ENGINE_BLOCK; at += 64)
                compress(s, data + at, data + ENGINE_BLOCK + at);
        compress(s, sha256_padding, sha256_padding);
        store_digest(&s[0], digests);
        store_digest(&s[1], digests + ENGINE_DIGEST);
}

static int start(void **ret_state) {
        unsigned eax, ebx = 0, ecx = 0, edx;

        *ret_state = NULL;
        if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_SSSE3) || !(ecx & bit_SSE4_1))
                return -EOPNOTSUPP;
        if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(ebx & bit_SHA))
                return -EOPNOTSUPP;
        return 0;
}

TARGET static int hash(void *state, const uint8_t *data, size_t n, uint8_t *digests) {
        (void) state;
        for (size_t i = 0; i < n; i += LANES)
                hash_pair(data + i * ENGINE_BLOCK, digests + i * ENGINE_DIGEST);
        return 0;
}

const struct engine engine_sha_ni = { .name = "sha-ni", .lanes = LANES, .start = start, .hash = hash };
