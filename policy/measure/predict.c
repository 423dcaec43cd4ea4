/* SPDX-License-Identifier: Apache-2.0 */
#include "measure/predict.h"

#include <iconv.h>

#include "measure/secureboot.h"
#include "measure/stub.h"
#include "measure/uefi.h"

const char *const key_list_names[KEY_LISTS] = { "PK", "KEK", "db", "dbx" };

/* --- PCR7 --------------------------------------------------------------------------------------------------------- */

/* UEFI_VARIABLE_DATA. */
static int hash_variable(const char *name, const void *data, size_t size, uint8_t ret[static SHA384_SIZE],
                         struct error *e) {
        uint8_t head[UEFI_VARIABLE_HEAD_MAX];
        size_t n = uefi_variable_head(name, size, head);

        return sha384_of(head, n, data, size, ret, e);
}

static int add_secure_boot(struct prediction *p, bool enabled, struct error *e) {
        uint8_t digest[SHA384_SIZE], on = enabled ? 1 : 0;
        int r;

        r = hash_variable("SecureBoot", &on, 1, digest, e);
        if (r < 0)
                return r;
        return prediction_add(p, PCR_SECURE_BOOT, EV_EFI_VARIABLE_DRIVER_CONFIG, digest,
                              enabled ? "Secure Boot is on" : "Secure Boot is off", e, "variable SecureBoot = %u", on);
}

static int add_key_list(struct prediction *p, const struct key_lists *keys, enum key_list list, struct error *e) {
        uint8_t digest[SHA384_SIZE];
        int r;

        r = hash_variable(key_list_names[list], keys->data[list], keys->size[list], digest, e);
        if (r < 0)
                return r;
        return prediction_add(p, PCR_SECURE_BOOT, EV_EFI_VARIABLE_DRIVER_CONFIG, digest,
                              keys->size[list] ? "the keys enrolled" : "measured although it is not set", e,
                              "variable %s, %zu bytes", key_list_names[list], keys->size[list]);
}

static int add_key_lists(struct prediction *p, const struct key_lists *keys, struct error *e) {
        int r;

        r = add_secure_boot(p, keys->enabled, e);
        if (r < 0)
                return r;
        for (enum key_list list = 0; list < KEY_LISTS; list++) {
                r = add_key_list(p, keys, list, e);
                if (r < 0)
                        return r;
        }
        return prediction_add_separator(p, PCR_SECURE_BOOT, "ends the Secure Boot policy", e);
}

static bool has_authority(const struct prediction *p, const uint8_t digest[static SHA384_SIZE]) {
        for (size_t i = 0; i < p->n; i++)
                if (p->events[i].type == EV_EFI_VARIABLE_AUTHORITY &&
                    memcmp(p->events[i].digest, digest, SHA384_SIZE) == 0)
                        return true;
        return false;
}

/* An entry of db is measured when it first authorises an image, and not again. */
static int add_authority(struct prediction *p, const struct key_lists *keys, const struct pe *pe, struct error *e) {
        const struct esl_entry *entry = NULL;
        uint8_t digest[SHA384_SIZE];
        int r;

        if (!keys || !keys->enabled)
                return 0;
        r = secureboot_authority(pe, &keys->db, &keys->dbx, &entry, e);
        if (r < 0)
                return r;
        r = hash_variable("db", entry->signature, entry->signature_size, digest, e);
        if (r < 0 || has_authority(p, digest))
                return r;
        return prediction_add(p, PCR_SECURE_BOOT, EV_EFI_VARIABLE_AUTHORITY, digest,
                              "the entry of db that authorised this image, once", e, "db entry %zu (%s) for %s",
                              (size_t) (entry - keys->db.entries) + 1,
                              entry->type == ESL_X509 ? "certificate" : "image hash", pe->subject);
}

/* --- PCR4 --------------------------------------------------------------------------------------------------------- */

static int add_application(struct prediction *p, const struct key_lists *keys, const struct pe *pe, const char *why,
                           struct error *e) {
        uint8_t digest[EVP_MAX_MD_SIZE] = {};
        int r;

        r = add_authority(p, keys, pe, e);
        if (r < 0)
                return r;
        r = pe_digest(pe, EVP_sha384(), digest, e);
        if (r < 0)
                return r;
        return prediction_add(p, PCR_IMAGE, EV_EFI_BOOT_SERVICES_APPLICATION, digest, why, e, "%s", pe->subject);
}

/* ukify 257.0 to 257.2 set the section's VirtualSize to the kernel's SizeOfImage, so the stub hands zeros behind the
 * kernel to the firmware, which hashes them as a part of the file. Behind a signature they are not what the kernel's
 * format allows. */
static int advise_ukify(const struct pe_section *section, int k, struct error *e) {
        if (k < 0 && section->virtual_size > section->raw_size)
                fail_advice(e, "Its .linux section is larger in memory than in the file, as ukify 257.0 to 257.2 wrote "
                               "it: build the UKI again with ukify 257.3 or later, or 256.");
        return k;
}

static int add_kernel(struct prediction *p, const struct predicted_boot *boot, const struct pe *uki, unsigned version,
                      struct error *e) {
        const struct pe_section *section = pe_section(uki, ".linux");
        bool secure_boot = boot->keys && boot->keys->enabled;
        _cleanup_free_ uint8_t *owned = NULL;
        _cleanup_free_ char *subject = NULL;
        struct pe linux_pe = {};
        const uint8_t *bytes;
        const char *why;
        size_t n;
        int r;

        if (version >= STUB_STARTS_KERNEL_ITSELF || (version >= STUB_BYPASSES_SECURE_BOOT && secure_boot))
                return 0;
        if (asprintf(&subject, "%s:.linux", uki->subject) < 0)
                return fail_oom(e);
        r = pe_section_memory(uki, section, &owned, &bytes, &n, e);
        if (r < 0)
                return advise_ukify(section, r, e);
        r = pe_parse(bytes, n, subject, &linux_pe, e);
        if (r < 0)
                return advise_ukify(section, r, e);
        r = pe_check_machine(&linux_pe, uki->machine, e);
        if (r < 0)
                return r;
        why = owned ? "the stub hands .linux to the firmware's LoadImage(), with the zeros that are behind it in memory"
                    : "the stub hands .linux to the firmware's LoadImage()";
        return add_application(p, boot->keys, &linux_pe, why, e);
}

/* --- PCR12 -------------------------------------------------------------------------------------------------------- */

static int to_utf16(const char *text, char **ret, size_t *ret_n) {
        size_t left = strlen(text) + 1, room = 2 * left;
        _cleanup_free_ char *wide = malloc(room);
        char *in = (char *) (uintptr_t) text, *out = wide;
        iconv_t converter = iconv_open("UTF-16LE", "UTF-8");
        bool ok = wide && converter != (iconv_t) -1 && iconv(converter, &in, &left, &out, &room) != (size_t) -1;

        if (converter != (iconv_t) -1)
                iconv_close(converter);
        if (!ok)
                return -EILSEQ;
        *ret_n = (size_t) (out - wide);
        *ret = TAKE(wide);
        return 0;
}

static int add_command_line(struct prediction *p, const char *text, const char *why, struct error *e) {
        _cleanup_free_ char *copy = strdup(text), *wide = NULL;
        const char *line;
        size_t n;

        if (!copy)
                return fail_oom(e);
        line = stub_command_line(copy);
        if (!line[0])
                return 0;
        if (to_utf16(line, &wide, &n) < 0)
                return fail(e, FAILURE_UKI, -EILSEQ, "command line", "it is not UTF-8 text");
        return prediction_add_data(p, PCR_COMMAND_LINE, EV_IPL, wide, n, why, e, "\"%s\" (UTF-16, with its NUL)", line);
}

/* The command line that systemd-boot passes on before 255: the UKI's own. NULL: none. */
static int own_command_line(const struct pe *uki, unsigned loader, char **ret, struct error *e) {
        const char *text;
        size_t n;

        if (!loader || loader >= LOADER_LEAVES_COMMAND_LINE || !stub_section_text(uki, ".cmdline", &text, &n))
                return 0;
        *ret = strndup(text, n);
        return *ret ? 0 : fail_oom(e);
}

/* A command line that the boot option or a boot loader brings replaces the UKI's own, unless Secure Boot is on and the
 * UKI has one. systemd-boot measures what it passes. */
static int add_passed(struct prediction *p, const struct predicted_boot *boot, size_t index, struct error *e) {
        const struct pe *uki = &boot->images[index].pe;
        unsigned loader = index > 0 ? loader_version(&boot->images[index - 1].pe) : 0;
        const char *passed = boot->command_line;
        _cleanup_free_ char *own = NULL;
        int r;

        if (!passed) {
                r = own_command_line(uki, loader, &own, e);
                if (r < 0 || !own)
                        return r;
                passed = own;
        }
        if (passed[0] == '@')
                return fail(e, FAILURE_USAGE, -EINVAL, passed,
                            "it selects a profile of the UKI, which is measured in ways that are not predicted");
        if (loader) {
                r = add_command_line(p, passed, "systemd-boot measures the command line that it passes", e);
                if (r < 0)
                        return r;
        }
        if (boot->keys && boot->keys->enabled && pe_section(uki, ".cmdline"))
                return 0;
        return add_command_line(p, passed, "the stub measures the command line that it is passed", e);
}

static int check_addon(const struct pe *addon, struct error *e) {
        static const char *const unpredicted[] = { ".linux", ".dtb", ".dtbauto", ".initrd", ".ucode" };

        for (size_t i = 0; i < ELEMENTS(unpredicted); i++)
                if (pe_section(addon, unpredicted[i]))
                        return fail(e, FAILURE_UKI, -ENOTSUP, addon->subject, "%s",
                                    i == 0 ? "it is a UKI, not an addon: it has a .linux section"
                                           : "it has more than a command line; what that adds to PCR12 is not "
                                             "predicted");
        return 0;
}

static int join(char **text, const char *more, size_t n, struct error *e) {
        _cleanup_free_ char *old = *text, *one = strndup(more, n);

        *text = NULL;
        if (!one || asprintf(text, "%s%s%s", old ?: "", old ? " " : "", stub_command_line(one)) < 0)
                return fail_oom(e);
        return 0;
}

/* The firmware measures an addon when the stub loads it, whether it applies or not. */
static int add_addon(struct prediction *p, const struct predicted_boot *boot, const struct pe *uki,
                     const struct pe *addon, char **command_line, struct error *e) {
        const char *line;
        size_t n;
        int r;

        r = check_addon(addon, e);
        if (r < 0)
                return r;
        r = add_application(p, boot->keys, addon, "the stub loads the addon with LoadImage()", e);
        if (r < 0)
                return r;
        if (!stub_takes_addon(addon, uki) || !stub_section_text(addon, ".cmdline", &line, &n))
                return 0;
        return join(command_line, line, n, e);
}

static int add_addons(struct prediction *p, const struct predicted_boot *boot, const struct pe *uki, unsigned version,
                      struct error *e) {
        _cleanup_free_ char *text = NULL;
        int r;

        if (boot->n_addons > 0 && version < STUB_LOADS_ADDONS)
                return fail(e, FAILURE_UKI, -ENOTSUP, uki->subject,
                            "its stub is version %u, which loads no addons (254 and later do)", version);
        for (size_t i = 0; i < boot->n_addons; i++) {
                r = add_addon(p, boot, uki, &boot->addons[i].pe, &text, e);
                if (r < 0)
                        return r;
        }
        return text ? add_command_line(p, text, "the stub measures what the addons append", e) : 0;
}

/* --- a boot ------------------------------------------------------------------------------------------------------- */

/* The firmware ends what it measures into each of its PCRs with a separator when it is about to boot. */
static int add_separators(struct prediction *p, const struct predicted_boot *boot, struct error *e) {
        int r;

        if (!boot->pcr2) {
                r = prediction_add_separator(p, PCR_DRIVERS,
                                             "no driver from outside the firmware: no option ROM, none of DriverOrder",
                                             e);
                if (r < 0)
                        return r;
        }
        r = prediction_add_separator(p, PCR_DRIVER_CONFIGURATION,
                                     "no configuration of a driver from outside the firmware", e);
        return r < 0 ? r : prediction_add_separator(p, PCR_IMAGE, "ends the firmware's own measurements", e);
}

static int add_attempts(struct prediction *p, const struct predicted_boot *boot, struct error *e) {
        int r;

        r = prediction_add_action(p, UEFI_ACTION_CALLING, "the firmware tries its first boot option", e);
        if (r < 0)
                return r;
        r = add_separators(p, boot, e);
        if (r < 0)
                return r;
        for (unsigned i = 0; i < boot->failed_options; i++) {
                r = prediction_add_action(p, UEFI_ACTION_RETURNING, "that boot option started nothing, or returned", e);
                if (r < 0)
                        return r;
                r = prediction_add_action(p, UEFI_ACTION_CALLING, "the firmware tries the next boot option", e);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int unknown_stub(const struct pe *uki, struct error *e) {
        fail(e, FAILURE_UKI, -ENOTSUP, uki->subject,
             "it has a .linux section, but its stub does not tell its version (no .sdmagic section of systemd-stub)");
        fail_advice(e, "Whether firmware measures the kernel depends on it. Give --stub-version=N: the systemd version "
                       "the stub is from; 251 for a stub of your own that starts the kernel with LoadImage(), 258 for "
                       "one that starts it itself.");
        return -ENOTSUP;
}

static int add_uki(struct prediction *p, const struct predicted_boot *boot, size_t index, struct error *e) {
        const struct pe *uki = &boot->images[index].pe;
        bool last = index + 1 == boot->n_images;
        unsigned version = stub_version(uki);
        int r;

        if (version && boot->stub_version && version != boot->stub_version)
                return fail(e, FAILURE_USAGE, -EINVAL, "--stub-version",
                            "it is %u, but the stub of %s says that it is %u", boot->stub_version, uki->subject,
                            version);
        version = version ?: boot->stub_version;
        if (version == 0)
                return unknown_stub(uki, e);
        if (last) {
                r = add_passed(p, boot, index, e);
                if (r < 0)
                        return r;
                r = add_addons(p, boot, uki, version, e);
                if (r < 0)
                        return r;
        }
        return add_kernel(p, boot, uki, version, e);
}

static int add_image(struct prediction *p, const struct predicted_boot *boot, size_t index, struct error *e) {
        const struct pe *pe = &boot->images[index].pe;
        int r;

        r = add_application(p, boot->keys, pe,
                            index == 0 ? "the boot option's application" : "started by the application before it", e);
        if (r < 0)
                return r;
        return pe_section(pe, ".linux") ? add_uki(p, boot, index, e) : 0;
}

static int check_machines(const struct predicted_boot *boot, struct error *e) {
        int r;

        for (size_t i = 1; i < boot->n_images; i++) {
                r = pe_check_machine(&boot->images[i].pe, boot->images[0].pe.machine, e);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; boot->n_images > 0 && i < boot->n_addons; i++) {
                r = pe_check_machine(&boot->addons[i].pe, boot->images[0].pe.machine, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Only a UKI's stub is known to measure into PCR12 which command line it gives to the kernel. */
static int not_a_uki(const struct predicted_boot *boot, struct error *e) {
        fail(e, FAILURE_UKI, -ENOTSUP, boot->n_images ? boot->images[boot->n_images - 1].path : "",
             "it is not a UKI (it has no .linux section), and it is the last image to be started: it takes no addons, "
             "what "
             "it starts is not known, and PCR12 may not cover its command line");
        fail_advice(e, "Give the images in load order, the UKI last. A kernel without a UKI's stub cannot be bound by "
                       "PCR4 and PCR12: build a UKI of it (ukify).");
        return -ENOTSUP;
}

static bool ends_with_uki(const struct predicted_boot *boot) {
        return boot->n_images > 0 && pe_section(&boot->images[boot->n_images - 1].pe, ".linux");
}

int predict(const struct predicted_boot *boot, struct prediction *ret, struct error *e) {
        _cleanup_prediction_ struct prediction p = {};
        int r;

        r = check_machines(boot, e);
        if (r < 0)
                return r;
        if (boot->keys) {
                r = add_key_lists(&p, boot->keys, e);
                if (r < 0)
                        return r;
        }
        r = add_attempts(&p, boot, e);
        if (r < 0)
                return r;
        for (size_t i = 0; i < boot->n_images; i++) {
                r = add_image(&p, boot, i, e);
                if (r < 0)
                        return r;
        }
        if (!ends_with_uki(boot))
                return not_a_uki(boot, e);
        *ret = TAKE_STRUCT(p);
        return 0;
}

int prediction_replay(const struct prediction *p, const struct predicted_boot *boot, struct reference *ret,
                      struct error *e) {
        static const unsigned predicted[] = { PCR_DRIVERS, PCR_DRIVER_CONFIGURATION, PCR_IMAGE, PCR_COMMAND_LINE };
        static const uint8_t zeros[SHA384_SIZE];

        for (size_t i = 0; i < ELEMENTS(predicted); i++)
                reference_set(ret, predicted[i], zeros);
        if (boot->pcr2)
                reference_set(ret, PCR_DRIVERS, boot->pcr2);
        if (boot->keys)
                reference_set(ret, PCR_SECURE_BOOT, zeros);
        return prediction_extend(p, ret, e);
}

/* --- sections ----------------------------------------------------------------------------------------------------- */

/* Passes over a section that the UKI does not have, or that is too large to be one. */
static int add_section(struct prediction *p, const struct pe *uki, const char *name, struct error *e) {
        const struct pe_section *section = pe_section(uki, name);
        _cleanup_free_ uint8_t *owned = NULL;
        const uint8_t *bytes;
        size_t n;
        int r;

        if (!section || pe_section_memory(uki, section, &owned, &bytes, &n, NULL) < 0)
                return 0;
        r = prediction_add_data(p, PCR_SECTIONS, EV_IPL, name, strlen(name) + 1, "the name of a section", e, "\"%s\"",
                                name);
        if (r < 0)
                return r;
        return prediction_add_data(p, PCR_SECTIONS, EV_IPL, bytes, n, "the content of a section", e, "\"%s\"", name);
}

int predict_sections(const struct pe *uki, struct prediction *ret, struct error *e) {
        static const char *const measured[] = { ".linux",  ".osrel",   ".cmdline", ".initrd", ".ucode",
                                                ".splash", ".dtb",     ".dtbauto", ".hwids",  ".uname",
                                                ".sbat",   ".pcrpkey", ".profile" };
        _cleanup_prediction_ struct prediction p = {};
        int r;

        for (size_t i = 0; i < ELEMENTS(measured); i++) {
                r = add_section(&p, uki, measured[i], e);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_STRUCT(p);
        return 0;
}
