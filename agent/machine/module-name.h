/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <string.h>

/* Is this a name that the build gives a kernel module of the initrd: "NN-NAME.ko"? Behind the initrd, the stub has the
 * kernel unpack files of the ESP, which end in .cred or .raw, by the names that they have there; that the firmware lets
 * none of these hold a slash, and so none get out of /.extra, is not what the initrd relies on. */
static inline bool is_module_name(const char *name) {
        static const char digits[] = "0123456789";
        size_t n = strlen(name);

        return n > strlen("00-.ko") && strspn(name, digits) == 2 && name[2] == '-' && strcmp(name + n - 3, ".ko") == 0;
}
