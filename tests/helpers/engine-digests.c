/* SPDX-License-Identifier: Apache-2.0 */

/* Hashes standard input, in blocks of 4096 bytes, with the engine ENGINE, and prints one digest a line. It is compiled
 * with that engine's file alone, for whatever CPU: see tests/engines. */

#include <stdio.h>

#include "sealed/engine.h"

enum { BLOCKS = 64 };

int main(void) {
        const struct engine *engine = &ENGINE;
        static uint8_t data[BLOCKS * ENGINE_BLOCK], digests[BLOCKS * ENGINE_DIGEST];
        size_t n = fread(data, ENGINE_BLOCK, BLOCKS, stdin);
        void *state;

        if (engine->start(&state) < 0 && !EMULATED) {
                fprintf(stderr, "this CPU does not run %s\n", engine->name);
                return 77;
        }
        if (n == 0 || n % engine->lanes != 0 || engine->hash(state, data, n, digests) < 0)
                return 1;
        for (size_t i = 0; i < n * ENGINE_DIGEST; i++)
                printf("%02x%s", digests[i], (i + 1) % ENGINE_DIGEST == 0 ? "\n" : "");
        return 0;
}
