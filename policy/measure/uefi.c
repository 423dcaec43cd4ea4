/* SPDX-License-Identifier: Apache-2.0 */
#include "measure/uefi.h"

#include "basic/macros.h"

enum { GUID_SIZE = 16 };

static const uint8_t global_variable[GUID_SIZE] = "\x61\xdf\xe4\x8b\xca\x93\xd2\x11\xaa\x0d\x00\xe0\x98\x03\x2b\x8c";
static const uint8_t security_database[GUID_SIZE] = "\xcb\xb2\x19\xd7\x3a\x3d\x96\x45\xa3\xbc\xda\xd0\x0e\x67\x65\x6f";

size_t uefi_variable_head(const char *name, size_t data_size, uint8_t out[static UEFI_VARIABLE_HEAD_MAX]) {
        size_t n = strnlen(name, UEFI_NAME_MAX);

        memset(out, 0, UEFI_VARIABLE_HEAD_MAX);
        memcpy(out, strncmp(name, "db", 2) == 0 ? security_database : global_variable, GUID_SIZE);
        for (size_t i = 0; i < 8; i++) {
                out[GUID_SIZE + i] = (uint8_t) (n >> 8 * i);
                out[GUID_SIZE + 8 + i] = (uint8_t) (data_size >> 8 * i);
        }
        for (size_t i = 0; i < n; i++)
                out[GUID_SIZE + 16 + 2 * i] = (uint8_t) name[i];
        return GUID_SIZE + 16 + 2 * n;
}
