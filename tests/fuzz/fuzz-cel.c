/* SPDX-License-Identifier: Apache-2.0 */

/* A CEL-JSON log. A bank that no record lacks leaves no PCR unknown. */

#include "replay/cel.h"
#include "replay/replay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_event_log_ struct event_log l = {};
        struct error e = {};

        if (cel_parse((const char *) data, size, "fuzz", &l, &e) < 0)
                return e.failure == FAILURE_NONE ? (abort(), 0) : 0;
        for (size_t b = 0; b < l.n_banks; b++) {
                struct replay r;

                replay_start(&r, l.banks[b], 0);
                for (size_t i = 0; i < l.n; i++)
                        if (replay_event(&r, &l.events[i], &e) < 0)
                                abort();
                if ((r.unknown != 0) != (event_log_lacking(&l, l.banks[b]) > 0))
                        abort();
        }
        return 0;
}
