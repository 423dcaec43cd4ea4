/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reference measurements: the PCR values an image is expected to produce, in the JSON shape that nitro-tpm-pcr-compute
 * (and nitro-cli, for enclaves) prints and that existing scripts read:
 *
 *     {"Measurements": {"HashAlgorithm": "SHA384 { ... }", "PCR4": "<96 hex digits>", "PCR7": ..., "PCR12": ...}}
 *
 * `sealboot measure` adds PCR2 and PCR3, which tell of drivers from outside the firmware.
 *
 * A file holds one such object, or an array of them: several accepted images, as during a rolling update. Beside
 * "Measurements", "SecureBoot": true or false says for which state PCR7 was computed; `sealboot measure` writes it,
 * other tools do not. Other keys there are ignored. An unknown PCR inside "Measurements" is refused: it would not be
 * compared, and the user would believe that it was. */

#include "basic/json.h"
#include "evidence/registers.h"

enum {
        REFERENCE_FILE_MAX = 256 * 1024, /* a set with its events has some 10 kilobytes */
};

enum secure_boot {
        SECURE_BOOT_NOT_SAID,
        SECURE_BOOT_ON,
        SECURE_BOOT_OFF,
};

struct reference {
        char *source;     /* "image.json", or "images.json[1]" in an array: names the set in messages */
        uint32_t present; /* bit n set: pcr[n] is given */
        uint8_t pcr[PCR_COUNT_MAX][SHA384_SIZE];
        enum secure_boot secure_boot; /* the state that pcr[PCR_SECURE_BOOT] is the value of */
};

/* Zero-initialise; owns its items. */
struct references {
        struct reference *items;
        size_t n;
};

static inline bool reference_has(const struct reference *r, unsigned pcr) {
        return pcr < PCR_COUNT_MAX && (r->present & (UINT32_C(1) << pcr)) != 0;
}

/* Whether these are the measurements of a NitroTPM: only a NitroTPM has PCR7 and PCR9 to PCR15, and an enclave always
 * has one of PCR0, 1, 2, 3 and 8. */
static inline bool reference_is_nitrotpm(const struct reference *r) {
        return (r->present & 0xfe80) != 0 || (r->present & 0x010f) == 0;
}

/* Whether the set has PCR4 of a NitroTPM but lacks `pcr`, which is PCR2 or PCR12. PCR4 does not cover what these two
 * do: a UEFI driver from outside the firmware, which runs before the image and can change it in memory after it was
 * measured (PCR2), and an appended command line (PCR12). A PCR7 of Secure Boot on replaces both. */
static inline bool reference_lacks(const struct reference *r, unsigned pcr, bool secure_boot) {
        return reference_is_nitrotpm(r) && reference_has(r, PCR_IMAGE) && !reference_has(r, pcr) &&
               !(secure_boot && reference_has(r, PCR_SECURE_BOOT));
}

/* The value of PCR2 and PCR3 where the firmware started no driver from outside: only a separator was measured. */
void reference_firmware_alone(uint8_t ret[static SHA384_SIZE]);

void reference_set(struct reference *r, unsigned pcr, const uint8_t value[static SHA384_SIZE]);

/* Append every set in the text or file ("-": standard input) to `to`, which is unchanged on failure:
 * FAILURE_IO for a file that cannot be read, FAILURE_USAGE for text that is not this shape. */
int references_parse(struct references *to, const char *text, size_t size, const char *source, struct error *e);
int references_read(struct references *to, const char *path, struct error *e);

/* The object shown above, PCRs in ascending order, and the state of Secure Boot where it is said. */
int reference_to_json(const struct reference *r, json_object **ret, struct error *e);

void references_done(struct references *r);
#define _cleanup_references_ _cleanup_(references_done)
