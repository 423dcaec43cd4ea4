/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a raw disk image boots when nothing else is configured: \EFI\BOOT\BOOTX64.EFI or BOOTAA64.EFI on the EFI system
 * partition of its GUID partition table (UEFI 2.10, 3.5.1.1 and 5.3), with the addons systemd's stub would load beside
 * it: \loader\addons\*.addon.efi, then \EFI\BOOT\BOOT*.EFI.extra.d\*.addon.efi, each sorted by name.
 *
 * The stub also takes *.cred and *.raw files, from beside the image and from \loader\credentials and
 * \loader\extensions. It packs them into a cpio archive and measures that into PCR12 or PCR13 (systemd-stub(7)). This
 * is not predicted: a disk with such a file is refused. */

#include "measure/fat.h"

struct disk_file {
        char *path; /* "disk.raw:/EFI/BOOT/BOOTX64.EFI" */
        uint8_t *data;
        size_t size;
};

struct disk_boot {
        struct disk_file image;
        uint16_t machine; /* that firmware would start this image on: PE_MACHINE_X64 or PE_MACHINE_ARM64 */
        struct disk_file *addons;
        size_t n_addons;
};

/* `name` is the file looked for ("BOOTX64.EFI"); NULL takes the one that is there, and refuses to choose between two.
 * FAILURE_UKI when there is no such file or no well-formed way to it. */
int disk_find_boot(const struct disk *disk, const char *name, struct disk_boot *ret, struct error *e);
/* The same over a file on this machine; FAILURE_IO when it cannot be opened. */
int disk_open_boot(const char *path, const char *name, struct disk_boot *ret, struct error *e);
void disk_boot_done(struct disk_boot *b);
#define _cleanup_disk_boot_ _cleanup_(disk_boot_done)
