/* SPDX-License-Identifier: Apache-2.0 */

/* The rounds of SHA-256 of two blocks side by side, for CPUs whose instructions do four rounds of one block. One block
 * alone would wait for each instruction before the next. The file that includes this one defines the functions
 * rounds(state, w, i), four rounds from round i on, and expand(w0, w1, w2, w3), the next four words of the schedule, in
 * the CPU's own instructions. */

#define FOUR_ROUNDS(i, w0) \
        do { \
                rounds(&a, a##w0, i); \
                rounds(&b, b##w0, i); \
        } while (0)
#define FOUR_ROUNDS_EXPAND(i, w0, w1, w2, w3) \
        do { \
                FOUR_ROUNDS(i, w0); \
                a##w0 = expand(a##w0, a##w1, a##w2, a##w3); \
                b##w0 = expand(b##w0, b##w1, b##w2, b##w3); \
        } while (0)
#define SIXTEEN_ROUNDS_EXPAND(i) \
        do { \
                FOUR_ROUNDS_EXPAND((i) + 0, 0, 1, 2, 3); \
                FOUR_ROUNDS_EXPAND((i) + 4, 1, 2, 3, 0); \
                FOUR_ROUNDS_EXPAND((i) + 8, 2, 3, 0, 1); \
                FOUR_ROUNDS_EXPAND((i) + 12, 3, 0, 1, 2); \
        } while (0)

/* All 64 rounds of the states a and b, whose 16 words each are in a0 to a3 and in b0 to b3. */
#define ALL_ROUNDS() \
        do { \
                SIXTEEN_ROUNDS_EXPAND(0); \
                SIXTEEN_ROUNDS_EXPAND(16); \
                SIXTEEN_ROUNDS_EXPAND(32); \
                FOUR_ROUNDS(48, 0); \
                FOUR_ROUNDS(52, 1); \
                FOUR_ROUNDS(56, 2); \
                FOUR_ROUNDS(60, 3); \
        } while (0)
