/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/environment.h"

int environment_keep(const char *const names[]) {
        size_t n = 0;
        int r = 0;

        while (names[n])
                n++;
        _cleanup_free_ char **values = calloc(n + 1, sizeof *values);
        if (!values)
                return -ENOMEM;
        for (size_t i = 0; i < n && r == 0; i++) {
                const char *value = getenv(names[i]);

                values[i] = value ? strdup(value) : NULL;
                r = value && !values[i] ? -ENOMEM : 0;
        }
        clearenv();
        for (size_t i = 0; i < n; i++) {
                if (r == 0 && values[i] && setenv(names[i], values[i], 1) < 0)
                        r = -errno;
                free(values[i]);
        }
        return r;
}
