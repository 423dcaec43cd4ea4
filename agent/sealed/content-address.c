/* SPDX-License-Identifier: Apache-2.0 */
#include "sealed/content-address.h"

#include "basic/encode.h"

bool content_address(const char *path, uint8_t ret[static CONTENT_ADDRESS_SIZE]) {
        static const char before[] = "blobs/sha256-";
        const size_t digits = 2 * CONTENT_ADDRESS_SIZE, length = strlen(before) + digits;
        size_t n = strlen(path);
        const char *at;

        if (n < length || (n > length && path[n - length - 1] != '/'))
                return false;
        at = path + n - length;
        if (strncmp(at, before, strlen(before)) != 0)
                return false;
        at += strlen(before);
        return strspn(at, "0123456789abcdef") == digits && hex_decode(at, ret, CONTENT_ADDRESS_SIZE) == 0;
}
