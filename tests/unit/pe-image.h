/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "measure/pe.h"

/* A small image: headers of 0x200 bytes, .text at 0x200, .linux at 0x400 of which 0x123 bytes are used, no signature.
 */
enum {
        COFF = 0x44,
        OPTIONAL = COFF + 20,
        DIRECTORIES = OPTIONAL + 108,
        CERTIFICATES = DIRECTORIES + 4 + 8 * 4,
        SECTIONS = OPTIONAL + 240,
        IMAGE_SIZE = 0x600,
};

static inline void put(uint8_t *image, size_t at, uint64_t value, size_t n) {
        for (size_t i = 0; i < n; i++)
                image[at + i] = (uint8_t) (value >> 8 * i);
}

static inline void put_section(uint8_t *image, size_t index, const char *name, uint32_t virtual_size, uint32_t raw_size,
                               uint32_t raw_offset) {
        size_t at = SECTIONS + 40 * index;

        memcpy(image + at, name, strlen(name));
        put(image, at + 8, virtual_size, 4);
        put(image, at + 12, 0x1000 * (index + 1), 4);
        put(image, at + 16, raw_size, 4);
        put(image, at + 20, raw_offset, 4);
}

static inline void make_image(uint8_t image[static IMAGE_SIZE]) {
        for (size_t i = 0; i < IMAGE_SIZE; i++)
                image[i] = i < 0x200 ? 0 : (uint8_t) (i * 7);
        memcpy(image, "MZ", 2);
        put(image, 60, 0x40, 4);
        memcpy(image + 0x40, "PE\0\0", 4);
        put(image, COFF, PE_MACHINE_X64, 2);
        put(image, COFF + 2, 2, 2);
        put(image, COFF + 16, 240, 2);
        put(image, OPTIONAL, 0x20b, 2);
        put(image, OPTIONAL + 60, 0x200, 4);
        put(image, DIRECTORIES, 16, 4);
        put_section(image, 0, ".text", 0x200, 0x200, 0x200);
        put_section(image, 1, ".linux", 0x123, 0x200, 0x400);
}
