/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The command-line options that describe a boot, shared by `measure` (which predicts it) and `replay` (which compares a
 * log with the prediction), and the files they name. */

#include "basic/options.h"
#include "measure/disk.h"
#include "measure/predict.h"

enum input_option {
        INPUT_PK, /* in the order of enum key_list */
        INPUT_KEK,
        INPUT_DB,
        INPUT_DBX,
        INPUT_SECURE_BOOT,
        INPUT_STUB_VERSION,
        INPUT_ADDON,
        INPUT_COMMAND_LINE,
        INPUT_FAILED_OPTIONS,
        INPUT_PCR2,
        INPUT_DISK,
        INPUT_ARCH,
};

/* The rows of a table of options, for a struct inputs that is this field. */
#define INPUT_ROW(type, field, option) inputs_option, OPTION_FIELD(type, field, struct inputs), option
#define INPUT_ROWS(type, field) \
        OPTION_HEADING("The boot:"), \
                { 0, "disk", "IMAGE", "the boot image and addons of a raw disk image", \
                  INPUT_ROW(type, field, INPUT_DISK) }, \
                { 0, "arch", "x64|aa64", "which of two boot images on the disk", INPUT_ROW(type, field, INPUT_ARCH) }, \
                { 0, "addon", "FILE", "an addon beside the UKI, in load order", INPUT_ROW(type, field, INPUT_ADDON) }, \
                { 0, "command-line", "TEXT", "a command line that the boot option brings", \
                  INPUT_ROW(type, field, INPUT_COMMAND_LINE) }, \
                { 0, "failed-boot-options", "N", "boot options that fail before this one", \
                  INPUT_ROW(type, field, INPUT_FAILED_OPTIONS) }, \
                { 0, "pcr2", "none|VALUE", "PCR2 of an instance type that loads option ROMs; default: none", \
                  INPUT_ROW(type, field, INPUT_PCR2) }, \
                { 0, "stub-version", "N", "systemd version of a stub that does not tell", \
                  INPUT_ROW(type, field, INPUT_STUB_VERSION) }, \
                OPTION_HEADING("Secure Boot (EFI signature lists, as the variables hold them):"), \
                { 0, "PK", "FILE", "the platform key", INPUT_ROW(type, field, INPUT_PK) }, \
                { 0, "KEK", "FILE", "the key exchange keys", INPUT_ROW(type, field, INPUT_KEK) }, \
                { 0, "db", "FILE", "what may start", INPUT_ROW(type, field, INPUT_DB) }, \
                { 0, "dbx", "FILE", "what must not start", INPUT_ROW(type, field, INPUT_DBX) }, { \
                0, "secure-boot", "on|off", "default: on when there is a PK", \
                        INPUT_ROW(type, field, INPUT_SECURE_BOOT) \
        }

/* Zero-initialise. */
struct inputs {
        bool given;                   /* an option or an image */
        const char *paths[KEY_LISTS]; /* of the key lists */
        const char *disk, *arch;
        int secure_boot;                   /* 0: as the key lists say; 1: on; -1: off */
        char **image_paths, **addon_paths; /* the strings are argv's */
        size_t n_image_paths, n_addon_paths;

        struct predicted_boot boot; /* complete after inputs_load(); options are stored into it directly */
        struct key_lists keys;
        uint8_t pcr2[SHA384_SIZE]; /* what boot.pcr2 points to */
        struct disk_boot disk_boot;
        uint8_t *key_data[KEY_LISTS], **file_data; /* owned */
        size_t n_file_data;
        struct measured_image *images, *addons;
};

/* The value of --pcr2: 96 hex digits, or "none" where nothing from outside the firmware is loaded. FAILURE_USAGE. */
int parse_pcr2(const char *text, uint8_t ret[static SHA384_SIZE], struct error *e);

/* The setter of INPUT_ROWS. */
int inputs_option(void *inputs, const struct option_row *row, char *value, struct error *e);
int inputs_add_image(struct inputs *i, char *path, struct error *e);
/* Reads and parses the files; then i->boot is ready for predict(). */
int inputs_load(struct inputs *i, struct error *e);
void inputs_done(struct inputs *i);
#define _cleanup_inputs_ _cleanup_(inputs_done)
