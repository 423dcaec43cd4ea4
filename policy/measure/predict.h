/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The events that firmware and stub will measure into PCR2, PCR3, PCR4, PCR7 and PCR12, in order, each with the reason
 * why it is there.
 *
 * Sources: TCG PC Client Platform Firmware Profile 1.06, 3.3.4.3 (PCR2), 3.3.4.5 (PCR4) and 3.3.4.8 (PCR7); EDK2's
 * Tcg2Dxe and DxeTpm2MeasureBootLib; systemd-stub(7).
 *
 * PCR2, PCR3: drivers that are not the firmware's, that is option ROMs and those that DriverOrder names. The prediction
 * is that there is none, so that each PCR holds a separator alone. An instance type whose devices bring option ROMs has
 * another PCR2, which must be given.
 *
 * PCR4, PCR7: what a stub does with the kernel of its UKI depends on the systemd version that the stub is from.
 *
 *   before 252    The stub hands .linux to LoadImage(). Firmware verifies and measures it like any application.
 *   252 to 257    The same, but with Secure Boot on the stub avoids the verification, and with it the measurement.
 *   from 258      The stub starts .linux itself. Nothing is measured.
 *
 * PCR12: systemd-boot before 255 passes a UKI its own command line, and both measure it. Addons (from 254) are
 * applications to firmware, so they go to PCR4 and PCR7. Their command lines, joined by a space, go to PCR12. */

#include "measure/esl.h"
#include "measure/pe.h"
#include "measure/prediction.h"

struct measured_image {
        const char *path;
        struct pe pe;
};

/* The key lists as the variables hold them. Secure Boot is on when PK is enrolled, unless switched off. */
struct key_lists {
        const uint8_t *data[4]; /* PK, KEK, db, dbx: enum key_list */
        size_t size[4];
        struct esl db, dbx;
        bool enabled;
};
enum key_list { KEY_PK, KEY_KEK, KEY_DB, KEY_DBX, KEY_LISTS };
extern const char *const key_list_names[KEY_LISTS];

struct predicted_boot {
        const struct measured_image *images; /* in load order, the last one a UKI */
        size_t n_images;
        const struct measured_image *addons; /* in load order: global ones first, each group sorted by name */
        size_t n_addons;
        const struct key_lists
                *keys;            /* NULL: Secure Boot off and nothing known of the lists, so PCR7 is not predicted */
        const char *command_line; /* brought by the boot option, or a boot loader; NULL: none */
        const uint8_t *pcr2;      /* where option ROMs are loaded; NULL: nothing from outside the firmware is */
        unsigned failed_options;  /* boot options that were tried first and started nothing */
        unsigned stub_version;    /* for images whose stub does not tell; 0: unknown */
};

/* FAILURE_UKI when the boot would fail or cannot be predicted. */
int predict(const struct predicted_boot *boot, struct prediction *ret, struct error *e);

/* The SHA-384 digests of a UKI's sections, as events of PCR11 in the form in which the stub logs them: the name, then
 * the content. They serve to find out which section differs. The value of PCR11 is not predicted, because the stub
 * decides which sections it measures, and in which order. */
int predict_sections(const struct pe *uki, struct prediction *ret, struct error *e);

/* The PCR values the events of the boot lead to: PCR2 (or the value that was given for it), PCR3, PCR4, PCR12 and,
 * where key lists were given, PCR7. */
int prediction_replay(const struct prediction *p, const struct predicted_boot *boot, struct reference *ret,
                      struct error *e);
