/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <string.h>

/* Whether the build gave a kernel module of the initrd this name: "NN-NAME.ko". The stub adds files of the ESP to the
 * initrd, under the names that they have there; these names end in .cred or .raw. They should stay in /.extra, because
 * no name on the ESP can hold a slash, but the initrd does not rely on that. */
static inline bool is_module_name(const char *name) {
        static const char digits[] = "0123456789";
        size_t n = strlen(name);

        return n > strlen("00-.ko") && strspn(name, digits) == 2 && name[2] == '-' && strcmp(name + n - 3, ".ko") == 0;
}
