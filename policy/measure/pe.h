/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* PE32+ images as firmware measures them: the section table and the Authenticode digest.
 *
 * Sources: Microsoft's PE Format; "Windows Authenticode Portable Executable Signature Format", Calculating the PE Image
 * Hash; EDK2's DxeTpm2MeasureBootLib, which differs from signing tools in that it never pads the end of the file. */

#include <openssl/evp.h>

#include "basic/failure.h"
#include "basic/reader.h"

enum {
        PE_MACHINE_X64 = 0x8664,
        PE_MACHINE_ARM64 = 0xaa64,
        PE_SECTIONS_MAX = 96, /* what the Windows loader accepts; a UKI has about twenty */
        PE_FILE_MAX = 1 << 30,
};

struct pe_section {
        char name[9]; /* NUL-terminated */
        uint32_t virtual_size, virtual_address, raw_size, raw_offset;
};

/* Borrows the bytes it was parsed from, and the subject. */
struct pe {
        const uint8_t *data;
        size_t size;
        const char *subject; /* for messages */
        uint16_t machine;
        size_t checksum_offset;  /* of the optional header's CheckSum */
        size_t directory_offset; /* of the data directory's entry for certificates; 0: there is none */
        size_t headers_size;
        size_t certificates_offset; /* of the attribute certificate table, which ends the file */
        size_t certificates_size;   /* 0: unsigned */
        size_t n_sections;
        struct pe_section sections[PE_SECTIONS_MAX];
};

/* FAILURE_UKI for anything but a PE32+ image for x86-64 or arm64 whose parts neither overlap nor leave the file. */
int pe_parse(const void *data, size_t size, const char *subject, struct pe *ret, struct error *e);

/* Whether it is for the same kind of machine as what starts it; firmware refuses to load another. FAILURE_UKI. */
int pe_check_machine(const struct pe *pe, uint16_t machine, struct error *e);

/* The first section of that name, or NULL. */
const struct pe_section *pe_section(const struct pe *pe, const char *name);

/* What a stub sees of a section: its VirtualSize, which is less than what the file holds when that is padded.
 * FAILURE_UKI when the file holds less than that. */
int pe_section_bytes(const struct pe *pe, const struct pe_section *section, const uint8_t **ret, size_t *ret_n,
                     struct error *e);

/* The same of a section that may be larger in memory than in the file: its bytes, and zeros behind them, as the
 * firmware loads it. `*ret_owned` is to be freed; it stays as it was where no memory was needed. FAILURE_UKI,
 * FAILURE_INTERNAL. */
int pe_section_memory(const struct pe *pe, const struct pe_section *section, uint8_t **ret_owned, const uint8_t **ret,
                      size_t *ret_n, struct error *e);

/* The Authenticode digest under any hash; `out` has room for EVP_MAX_MD_SIZE bytes. */
int pe_digest(const struct pe *pe, const EVP_MD *hash, uint8_t *out, struct error *e);

/* Steps through the attribute certificates: 1 and the PKCS#7 blob of the next Authenticode signature, 0 at the end,
 * FAILURE_UKI for a table that is not well-formed or an entry of another kind. `*offset` starts at 0. */
int pe_next_signature(const struct pe *pe, size_t *offset, const uint8_t **ret, size_t *ret_n, struct error *e);
