/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The command-line options that describe a boot, shared by `measure` (which predicts it) and `replay` (which compares a log
 * with the prediction), and the files they name. */

#include <getopt.h>

#include "measure/disk.h"
#include "measure/events.h"

enum input_option {
        INPUT_PK = 0x100, /* in the order of enum key_list */
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
        INPUT_END,
};

#define INPUT_LONG_OPTIONS \
        { "PK", required_argument, NULL, INPUT_PK }, \
        { "KEK", required_argument, NULL, INPUT_KEK }, \
        { "db", required_argument, NULL, INPUT_DB }, \
        { "dbx", required_argument, NULL, INPUT_DBX }, \
        { "secure-boot", required_argument, NULL, INPUT_SECURE_BOOT }, \
        { "stub-version", required_argument, NULL, INPUT_STUB_VERSION }, \
        { "addon", required_argument, NULL, INPUT_ADDON }, \
        { "command-line", required_argument, NULL, INPUT_COMMAND_LINE }, \
        { "failed-boot-options", required_argument, NULL, INPUT_FAILED_OPTIONS }, \
        { "pcr2", required_argument, NULL, INPUT_PCR2 }, \
        { "disk", required_argument, NULL, INPUT_DISK }, \
        { "arch", required_argument, NULL, INPUT_ARCH }

/* What --help says about them. */
extern const char input_help[];

/* Zero-initialise. */
struct inputs {
        const char *paths[KEY_LISTS]; /* of the key lists */
        const char *disk, *arch;
        int secure_boot; /* 0: as the key lists say; 1: on; -1: off */
        char **image_paths, **addon_paths; /* the strings are argv's */
        size_t n_image_paths, n_addon_paths;

        struct boot boot; /* complete after inputs_load(); options are stored into it directly */
        struct key_lists keys;
        uint8_t pcr2[REFERENCE_SIZE]; /* what boot.pcr2 points to */
        struct disk_boot disk_boot;
        uint8_t *key_data[KEY_LISTS], **file_data; /* owned */
        size_t n_file_data;
        struct measured_image *images, *addons;
};

/* The value of --pcr2: 96 hex digits, or "none" where nothing from outside the firmware is loaded. FAILURE_USAGE. */
int parse_pcr2(const char *text, uint8_t ret[static REFERENCE_SIZE], struct error *e);

/* An option of INPUT_LONG_OPTIONS; FAILURE_USAGE when its argument makes no sense. */
int inputs_option(struct inputs *i, int option, char *argument, struct error *e);
int inputs_add_image(struct inputs *i, char *path, struct error *e);
/* Reads and parses the files; then i->boot is ready for predict(). */
int inputs_load(struct inputs *i, struct error *e);
void inputs_done(struct inputs *i);
#define _cleanup_inputs_ _cleanup_(inputs_done)
