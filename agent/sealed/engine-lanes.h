/* SPDX-License-Identifier: Apache-2.0 */

/* SHA-256 of LANES blocks at once: each 32-bit lane of a vector belongs to one of the blocks. The file that includes
 * this one defines LANES, the type `vec`, the qualifier LANE for functions, and these functions in the CPU's own
 * instructions:
 *
 *   vec_all(x)          x in every lane               vec_small0, 1(x)    sigma of the message schedule
 *   vec_add(a, b)       a + b                         vec_big0, 1(x)      Sigma of the rounds
 *   vec_store(p, x)     writes the lanes              vec_choose(e, f, g), vec_majority(a, b, c)
 *   load(w, data)       w[i], lane l = word i, big-endian, of the 64 bytes at data + l * ENGINE_BLOCK */

#include <string.h>

#include "engine-sha256.h"
#include "engine.h"

/* One round, and in its shadow the word of the schedule that is wanted 16 rounds later. */
#define ROUND(a, b, c, d, e, f, g, h, i) \
        do { \
                vec t = vec_add(vec_add(h, vec_add(w[i], vec_all(k[i]))), vec_add(vec_big1(e), vec_choose(e, f, g))); \
\
                d = vec_add(d, t); \
                h = vec_add(t, vec_add(vec_big0(a), vec_majority(a, b, c))); \
        } while (0)
#define EXPAND(i) \
        w[i] = vec_add(vec_add(w[i], vec_small0(w[((i) + 1) & 15])), \
                       vec_add(w[((i) + 9) & 15], vec_small1(w[((i) + 14) & 15])))
#define NOTHING(i)

#define EIGHT_ROUNDS(i, then) \
        do { \
                ROUND(a, b, c, d, e, f, g, h, (i) + 0); \
                then((i) + 0); \
                ROUND(h, a, b, c, d, e, f, g, (i) + 1); \
                then((i) + 1); \
                ROUND(g, h, a, b, c, d, e, f, (i) + 2); \
                then((i) + 2); \
                ROUND(f, g, h, a, b, c, d, e, (i) + 3); \
                then((i) + 3); \
                ROUND(e, f, g, h, a, b, c, d, (i) + 4); \
                then((i) + 4); \
                ROUND(d, e, f, g, h, a, b, c, (i) + 5); \
                then((i) + 5); \
                ROUND(c, d, e, f, g, h, a, b, (i) + 6); \
                then((i) + 6); \
                ROUND(b, c, d, e, f, g, h, a, (i) + 7); \
                then((i) + 7); \
        } while (0)

LANE void compress(vec state[8], vec w[16]) {
        vec a = state[0], b = state[1], c = state[2], d = state[3];
        vec e = state[4], f = state[5], g = state[6], h = state[7];
        const uint32_t *k = sha256_k;

        for (; k < sha256_k + 48; k += 16) {
                EIGHT_ROUNDS(0, EXPAND);
                EIGHT_ROUNDS(8, EXPAND);
        }
        EIGHT_ROUNDS(0, NOTHING);
        EIGHT_ROUNDS(8, NOTHING);
        state[0] = vec_add(state[0], a);
        state[1] = vec_add(state[1], b);
        state[2] = vec_add(state[2], c);
        state[3] = vec_add(state[3], d);
        state[4] = vec_add(state[4], e);
        state[5] = vec_add(state[5], f);
        state[6] = vec_add(state[6], g);
        state[7] = vec_add(state[7], h);
}

LANE void store_digests(const vec state[8], uint8_t *digests) {
        uint32_t words[8][LANES], word;

        for (unsigned i = 0; i < 8; i++)
                vec_store(words[i], state[i]);
        for (unsigned lane = 0; lane < LANES; lane++)
                for (unsigned i = 0; i < 8; i++) {
                        word = __builtin_bswap32(words[i][lane]);
                        memcpy(digests + lane * ENGINE_DIGEST + i * sizeof word, &word, sizeof word);
                }
}

LANE void hash_lanes(const uint8_t *data, uint8_t *digests) {
        vec state[8], w[16];

        for (unsigned i = 0; i < 8; i++)
                state[i] = vec_all(sha256_start[i]);
        for (size_t at = 0; at < ENGINE_BLOCK; at += 64) {
                load(w, data + at);
                compress(state, w);
        }
        for (unsigned i = 0; i < 16; i++)
                w[i] = vec_all(i == 0 ? 0x80000000 : i == 15 ? ENGINE_BLOCK * 8 : 0);
        compress(state, w);
        store_digests(state, digests);
}
