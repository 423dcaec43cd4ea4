/* SPDX-License-Identifier: Apache-2.0 */
#include "measure/events.h"

#include <iconv.h>
#include <stdarg.h>

#include "measure/secureboot.h"
#include "measure/uefi.h"

enum {
        STUB_BYPASSES_SECURE_BOOT = 252,
        STUB_STARTS_KERNEL_ITSELF = 258,
        LOADER_LEAVES_COMMAND_LINE = 255,
};

const char *const key_list_names[KEY_LISTS] = { "PK", "KEK", "db", "dbx" };

void prediction_done(struct prediction *p) {
        for (size_t i = 0; i < p->n; i++) {
                free(p->events[i].what);
                free(p->events[i].why);
        }
        free(p->events);
        *p = (struct prediction) {};
}

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free, evp_md_ctx_freep)

struct chunk {
        const void *data;
        size_t size;
};

static int hash_chunks(const struct chunk *chunks, size_t n, uint8_t out[static SHA384_SIZE], struct error *e) {
        _cleanup_(evp_md_ctx_freep) EVP_MD_CTX *context = EVP_MD_CTX_new();
        bool ok = context && EVP_DigestInit_ex(context, EVP_sha384(), NULL) == 1;

        for (size_t i = 0; i < n && ok; i++)
                ok = chunks[i].size == 0 || EVP_DigestUpdate(context, chunks[i].data, chunks[i].size) == 1;
        if (!ok || EVP_DigestFinal_ex(context, out, NULL) != 1)
                return fail(e, FAILURE_INTERNAL, -ENOMEM, "SHA-384", "OpenSSL cannot hash");
        return 0;
}

/* --- the list of events ------------------------------------------------------------------------------------------- */

static int add_event(struct prediction *p, unsigned pcr, uint32_t type, const uint8_t digest[static SHA384_SIZE],
                     const char *why, struct error *e, const char *format, ...) _printf_(7, 8);

static int add_event(struct prediction *p, unsigned pcr, uint32_t type, const uint8_t digest[static SHA384_SIZE],
                     const char *why, struct error *e, const char *format, ...) {
        struct predicted_event *larger, event = { .pcr = pcr, .type = type, .why = strdup(why) };
        va_list ap;
        int n;

        memcpy(event.digest, digest, SHA384_SIZE);
        va_start(ap, format);
        n = vasprintf(&event.what, format, ap);
        va_end(ap);
        larger = reallocarray(p->events, p->n + 1, sizeof *larger);
        if (larger)
                p->events = larger;
        if (n < 0 || !event.why || !larger) {
                if (n >= 0)
                        free(event.what);
                free(event.why);
                return fail_oom(e);
        }
        p->events[p->n++] = event;
        return 0;
}

static int add_text(struct prediction *p, unsigned pcr, const char *text, const char *why, struct error *e) {
        uint8_t digest[SHA384_SIZE];
        int k;

        k = hash_chunks(&(struct chunk) { text, strlen(text) }, 1, digest, e);
        return k < 0 ? k : add_event(p, pcr, EV_EFI_ACTION, digest, why, e, "\"%s\"", text);
}

static int add_separator(struct prediction *p, unsigned pcr, const char *why, struct error *e) {
        uint8_t digest[SHA384_SIZE];
        int k;

        k = hash_chunks(&(struct chunk) { "\0\0\0\0", 4 }, 1, digest, e);
        return k < 0 ? k : add_event(p, pcr, EV_SEPARATOR, digest, why, e, "00000000");
}

/* UEFI_VARIABLE_DATA. */
static int hash_variable(const char *name, const void *data, size_t size, uint8_t out[static SHA384_SIZE],
                         struct error *e) {
        uint8_t head[UEFI_VARIABLE_HEAD_MAX];
        size_t n = uefi_variable_head(name, size, head);

        return hash_chunks((struct chunk[]) { { head, n }, { data, size } }, 2, out, e);
}

/* --- PCR7 --------------------------------------------------------------------------------------------------------- */

static int add_key_lists(struct prediction *p, const struct key_lists *keys, struct error *e) {
        uint8_t digest[SHA384_SIZE], on = keys->enabled ? 1 : 0;
        int k;

        k = hash_variable("SecureBoot", &on, 1, digest, e);
        if (k == 0)
                k = add_event(p, PCR_SECURE_BOOT, EV_EFI_VARIABLE_DRIVER_CONFIG, digest,
                              on ? "Secure Boot is on" : "Secure Boot is off", e, "variable SecureBoot = %u", on);
        for (size_t i = 0; i < KEY_LISTS && k == 0; i++) {
                k = hash_variable(key_list_names[i], keys->data[i], keys->size[i], digest, e);
                if (k == 0)
                        k = add_event(p, PCR_SECURE_BOOT, EV_EFI_VARIABLE_DRIVER_CONFIG, digest,
                                      keys->size[i] ? "the keys enrolled" : "measured although it is not set", e,
                                      "variable %s, %zu bytes", key_list_names[i], keys->size[i]);
        }
        return k < 0 ? k : add_separator(p, PCR_SECURE_BOOT, "ends the Secure Boot policy", e);
}

/* An entry of db is measured when it first authorises an image, and not again. */
static int add_authority(struct prediction *p, const struct key_lists *keys, const struct pe *pe, struct error *e) {
        const struct esl_entry *entry = NULL;
        uint8_t digest[SHA384_SIZE];
        int k;

        if (!keys || !keys->enabled)
                return 0;
        k = secureboot_authority(pe, &keys->db, &keys->dbx, &entry, e);
        if (k == 0)
                k = hash_variable("db", entry->signature, entry->signature_size, digest, e);
        if (k < 0)
                return k;
        for (size_t i = 0; i < p->n; i++)
                if (p->events[i].type == EV_EFI_VARIABLE_AUTHORITY &&
                    memcmp(p->events[i].digest, digest, sizeof digest) == 0)
                        return 0;
        return add_event(p, PCR_SECURE_BOOT, EV_EFI_VARIABLE_AUTHORITY, digest,
                         "the entry of db that authorised this image, once", e, "db entry %zu (%s) for %s",
                         (size_t) (entry - keys->db.entries) + 1,
                         entry->type == ESL_X509 ? "certificate" : "image hash", pe->subject);
}

/* --- applications ------------------------------------------------------------------------------------------------- */

static int add_application(struct prediction *p, const struct key_lists *keys, const struct pe *pe, const char *why,
                           struct error *e) {
        uint8_t digest[EVP_MAX_MD_SIZE] = {};
        int k;

        k = add_authority(p, keys, pe, e);
        if (k == 0)
                k = pe_digest(pe, EVP_sha384(), digest, e);
        return k != 0 ? k
                      : add_event(p, PCR_IMAGE, EV_EFI_BOOT_SERVICES_APPLICATION, digest, why, e, "%s", pe->subject);
}

static bool section_text(const struct pe *pe, const char *name, const char **ret, size_t *ret_n) {
        const struct pe_section *s = pe_section(pe, name);
        const uint8_t *bytes;

        if (!s || pe_section_bytes(pe, s, &bytes, ret_n, NULL) < 0)
                return false;
        *ret = (const char *) bytes;
        return true;
}

/* The number behind the program's name in "#### LoaderInfo: systemd-stub 257.13-1~deb13u1 ####"; 0 where there is none.
 */
static unsigned magic_version(const struct pe *pe, const char *program) {
        char prefix[64];
        unsigned version = 0;
        const char *text;
        size_t size, n;

        n = (size_t) snprintf(prefix, sizeof prefix, "#### LoaderInfo: %s ", program);
        if (!section_text(pe, ".sdmagic", &text, &size) || size < n || memcmp(text, prefix, n) != 0)
                return 0;
        for (size_t i = n; i < size && text[i] >= '0' && text[i] <= '9' && version < 100000; i++)
                version = version * 10 + (unsigned) (text[i] - '0');
        return version;
}

static bool has_line(const char *text, size_t size, const char *key, const char *value) {
        _cleanup_free_ char *copy = strndup(text, size);
        char *state = NULL;

        for (char *line = copy ? strtok_r(copy, "\n", &state) : NULL; line; line = strtok_r(NULL, "\n", &state)) {
                size_t n = strlen(key);

                if (strncmp(line, key, n) != 0 || line[n] != '=')
                        continue;
                line += n + 1;
                if (line[0] == '"' && line[strlen(line) - 1] == '"') {
                        line[strlen(line) - 1] = 0;
                        line++;
                }
                if (streq(line, value))
                        return true;
        }
        return false;
}

unsigned stub_version(const struct pe *pe) {
        const char *text;
        unsigned version;
        size_t n;

        version = magic_version(pe, "systemd-stub");
        if (version == 0 && section_text(pe, ".osrel", &text, &n) && has_line(text, n, "ID", "amzn") &&
            has_line(text, n, "VERSION_ID", "2023"))
                version = 252;
        return version;
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
        const uint8_t *bytes;
        struct pe linux_pe = {};
        size_t n;
        int k;

        if (version >= STUB_STARTS_KERNEL_ITSELF || (version >= STUB_BYPASSES_SECURE_BOOT && secure_boot))
                return 0;
        if (asprintf(&subject, "%s:.linux", uki->subject) < 0)
                return fail_oom(e);
        k = pe_section_memory(uki, section, &owned, &bytes, &n, e);
        if (k == 0)
                k = pe_parse(bytes, n, subject, &linux_pe, e);
        if (k < 0)
                return advise_ukify(section, k, e);
        k = pe_check_machine(&linux_pe, uki->machine, e);
        return k < 0 ? k
                     : add_application(p, boot->keys, &linux_pe,
                                       owned ? "the stub hands .linux to the firmware's LoadImage(), with the zeros "
                                               "that are behind it in memory"
                                             : "the stub hands .linux to the firmware's LoadImage()",
                                       e);
}

/* --- PCR12 -------------------------------------------------------------------------------------------------------- */

static bool is_space(char c) {
        return (unsigned char) c <= ' ' || c == 0x7f;
}

/* As the stub does before it measures: white space at both ends is cut off, control characters become spaces. In place.
 */
static char *normalise_command_line(char *text) {
        size_t n;

        while (*text && is_space(*text))
                text++;
        n = strlen(text);
        while (n > 0 && is_space(text[n - 1]))
                n--;
        text[n] = 0;
        for (size_t i = 0; i < n; i++)
                if (is_space(text[i]))
                        text[i] = ' ';
        return text;
}

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
        uint8_t digest[SHA384_SIZE];
        const char *line;
        size_t n;
        int k;

        if (!copy)
                return fail_oom(e);
        line = normalise_command_line(copy);
        if (!line[0])
                return 0;
        if (to_utf16(line, &wide, &n) < 0)
                return fail(e, FAILURE_UKI, -EILSEQ, "command line", "is not UTF-8 text");
        k = hash_chunks(&(struct chunk) { wide, n }, 1, digest, e);
        return k < 0 ? k
                     : add_event(p, PCR_COMMAND_LINE, EV_IPL, digest, why, e, "\"%s\" (UTF-16, with its NUL)", line);
}

/* A command line that the boot option or a boot loader brings replaces the UKI's own, unless Secure Boot is on and the
 * UKI has one. systemd-boot measures what it passes, and before 255 it passes the UKI's own. */
static int add_passed(struct prediction *p, const struct predicted_boot *boot, size_t index, struct error *e) {
        const struct pe *uki = &boot->images[index].pe;
        unsigned loader = index > 0 ? magic_version(&boot->images[index - 1].pe, "systemd-boot") : 0;
        _cleanup_free_ char *own = NULL;
        const char *text, *passed = boot->command_line;
        size_t n;
        int k = 0;

        if (!passed && loader && loader < LOADER_LEAVES_COMMAND_LINE && section_text(uki, ".cmdline", &text, &n)) {
                passed = own = strndup(text, n);
                if (!own)
                        return fail_oom(e);
        }
        if (!passed)
                return 0;
        if (passed[0] == '@')
                return fail(e, FAILURE_USAGE, -EINVAL, passed,
                            "selects a profile of the UKI, which is measured in ways that are not predicted");
        if (loader)
                k = add_command_line(p, passed, "systemd-boot measures the command line that it passes", e);
        if (k == 0 && !(boot->keys && boot->keys->enabled && pe_section(uki, ".cmdline")))
                k = add_command_line(p, passed, "the stub measures the command line that it is passed", e);
        return k;
}

static int check_addon(const struct pe *addon, struct error *e) {
        static const char *const unpredicted[] = { ".linux", ".dtb", ".dtbauto", ".initrd", ".ucode" };

        for (size_t i = 0; i < ELEMENTS(unpredicted); i++)
                if (pe_section(addon, unpredicted[i]))
                        return fail(e, FAILURE_UKI, -ENOTSUP, addon->subject, "%s",
                                    i == 0 ? "is a UKI, not an addon: it has a .linux section"
                                           : "has more than a command line; what that adds to PCR12 is not predicted");
        return 0;
}

/* The stub passes over an addon that is for another kernel, after the firmware has measured it. */
static bool addon_applies(const struct pe *addon, const struct pe *uki) {
        const char *wanted, *have;
        size_t n, m;

        if (!section_text(addon, ".uname", &wanted, &n) || !section_text(uki, ".uname", &have, &m))
                return true;
        return strnlen(wanted, n) == strnlen(have, m) && memcmp(wanted, have, strnlen(wanted, n)) == 0;
}

static int join(char **text, const char *more, size_t n, struct error *e) {
        _cleanup_free_ char *old = *text, *one = strndup(more, n);

        *text = NULL;
        if (!one || asprintf(text, "%s%s%s", old ?: "", old ? " " : "", normalise_command_line(one)) < 0)
                return fail_oom(e);
        return 0;
}

static int add_addons(struct prediction *p, const struct predicted_boot *boot, const struct pe *uki, unsigned version,
                      struct error *e) {
        _cleanup_free_ char *text = NULL;
        int k = 0;

        if (boot->n_addons > 0 && version < STUB_LOADS_ADDONS)
                return fail(e, FAILURE_UKI, -ENOTSUP, uki->subject,
                            "its stub is version %u, which loads no addons (254 and later do)", version);
        for (size_t i = 0; i < boot->n_addons && k == 0; i++) {
                const struct pe *addon = &boot->addons[i].pe;
                const char *line;
                size_t n;

                k = check_addon(addon, e);
                if (k == 0)
                        k = add_application(p, boot->keys, addon, "the stub loads the addon with LoadImage()", e);
                if (k == 0 && addon_applies(addon, uki) && section_text(addon, ".cmdline", &line, &n))
                        k = join(&text, line, n, e);
        }
        return k < 0 || !text ? k : add_command_line(p, text, "the stub measures what the addons append", e);
}

/* --- a boot ------------------------------------------------------------------------------------------------------- */

/* The firmware ends what it measures into each of its PCRs with a separator when it is about to boot. */
static int add_separators(struct prediction *p, const struct predicted_boot *boot, struct error *e) {
        int k = 0;

        if (!boot->pcr2)
                k = add_separator(p, PCR_DRIVERS,
                                  "no driver from outside the firmware: no option ROM, none of DriverOrder", e);
        if (k == 0)
                k = add_separator(p, PCR_DRIVER_CONFIGURATION, "no configuration of a driver from outside the firmware",
                                  e);
        return k < 0 ? k : add_separator(p, PCR_IMAGE, "ends the firmware's own measurements", e);
}

static int add_attempts(struct prediction *p, const struct predicted_boot *boot, struct error *e) {
        int k;

        k = add_text(p, PCR_IMAGE, UEFI_ACTION_CALLING, "the firmware tries its first boot option", e);
        if (k == 0)
                k = add_separators(p, boot, e);
        for (unsigned i = 0; i < boot->failed_options && k == 0; i++) {
                k = add_text(p, PCR_IMAGE, UEFI_ACTION_RETURNING, "that boot option started nothing, or returned", e);
                if (k == 0)
                        k = add_text(p, PCR_IMAGE, UEFI_ACTION_CALLING, "the firmware tries the next boot option", e);
        }
        return k;
}

static int unknown_stub(const struct pe *uki, struct error *e) {
        fail(e, FAILURE_UKI, -ENOTSUP, uki->subject,
             "has a .linux section, but its stub does not tell its version (no .sdmagic section of systemd-stub)");
        fail_advice(e, "Whether firmware measures the kernel depends on it. Give --stub-version=N: the systemd version "
                       "the stub is from; 251 for a stub of your own that starts the kernel with LoadImage(), 258 for "
                       "one that starts it itself.");
        return -ENOTSUP;
}

static int add_uki(struct prediction *p, const struct predicted_boot *boot, size_t index, struct error *e) {
        const struct pe *uki = &boot->images[index].pe;
        bool last = index + 1 == boot->n_images;
        unsigned version = stub_version(uki);
        int k = 0;

        if (version && boot->stub_version && version != boot->stub_version)
                return fail(e, FAILURE_USAGE, -EINVAL, "--stub-version", "is %u, but the stub of %s says that it is %u",
                            boot->stub_version, uki->subject, version);
        version = version ?: boot->stub_version;
        if (version == 0)
                return unknown_stub(uki, e);
        if (last)
                k = add_passed(p, boot, index, e);
        if (last && k == 0)
                k = add_addons(p, boot, uki, version, e);
        return k < 0 ? k : add_kernel(p, boot, uki, version, e);
}

static int check_machines(const struct predicted_boot *boot, struct error *e) {
        int k = 0;

        for (size_t i = 1; i < boot->n_images && k == 0; i++)
                k = pe_check_machine(&boot->images[i].pe, boot->images[0].pe.machine, e);
        for (size_t i = 0; boot->n_images > 0 && i < boot->n_addons && k == 0; i++)
                k = pe_check_machine(&boot->addons[i].pe, boot->images[0].pe.machine, e);
        return k;
}

/* Only of a UKI's stub is it known that PCR12 tells which command line the kernel was given. */
static int not_a_uki(const struct predicted_boot *boot, struct error *e) {
        fail(e, FAILURE_UKI, -ENOTSUP, boot->n_images ? boot->images[boot->n_images - 1].path : "",
             "is not a UKI (it has no .linux section), and is the last image to be started: it takes no addons, what "
             "it starts in turn is not known, nor that PCR12 would tell of a command line");
        fail_advice(e, "Give the images in load order, the UKI last. A kernel without a UKI's stub cannot be bound by "
                       "PCR4 and PCR12: build a UKI of it (ukify).");
        return -ENOTSUP;
}

int predict(const struct predicted_boot *boot, struct prediction *ret, struct error *e) {
        _cleanup_prediction_ struct prediction p = {};
        bool uki = false;
        int k;

        k = check_machines(boot, e);
        if (k == 0 && boot->keys)
                k = add_key_lists(&p, boot->keys, e);
        if (k == 0)
                k = add_attempts(&p, boot, e);
        for (size_t i = 0; i < boot->n_images && k == 0; i++) {
                const struct pe *pe = &boot->images[i].pe;

                k = add_application(&p, boot->keys, pe,
                                    i == 0 ? "the boot option's application" : "started by the application before it",
                                    e);
                if (k == 0 && pe_section(pe, ".linux")) {
                        uki = i + 1 == boot->n_images;
                        k = add_uki(&p, boot, i, e);
                }
        }
        if (k == 0 && !uki)
                k = not_a_uki(boot, e);
        if (k < 0)
                return k;
        *ret = TAKE_STRUCT(p);
        return 0;
}

int predict_sections(const struct pe *uki, struct prediction *ret, struct error *e) {
        static const char *const measured[] = { ".linux",  ".osrel",   ".cmdline", ".initrd", ".ucode",
                                                ".splash", ".dtb",     ".dtbauto", ".hwids",  ".uname",
                                                ".sbat",   ".pcrpkey", ".profile" };
        _cleanup_prediction_ struct prediction p = {};
        int k = 0;

        for (size_t i = 0; i < ELEMENTS(measured) && k == 0; i++) {
                const struct pe_section *section = pe_section(uki, measured[i]);
                _cleanup_free_ uint8_t *owned = NULL;
                uint8_t digest[SHA384_SIZE];
                const uint8_t *bytes;
                size_t n;

                if (!section || pe_section_memory(uki, section, &owned, &bytes, &n, NULL) < 0)
                        continue;
                k = hash_chunks(&(struct chunk) { measured[i], strlen(measured[i]) + 1 }, 1, digest, e);
                if (k == 0)
                        k = add_event(&p, PCR_SECTIONS, EV_IPL, digest, "the name of a section", e, "\"%s\"",
                                      measured[i]);
                if (k == 0)
                        k = hash_chunks(&(struct chunk) { bytes, n }, 1, digest, e);
                if (k == 0)
                        k = add_event(&p, PCR_SECTIONS, EV_IPL, digest, "the content of a section", e, "\"%s\"",
                                      measured[i]);
        }
        if (k < 0)
                return k;
        *ret = TAKE_STRUCT(p);
        return 0;
}

int prediction_replay(const struct prediction *p, const struct predicted_boot *boot, struct reference *ret,
                      struct error *e) {
        static const uint8_t zero[SHA384_SIZE];
        static const unsigned predicted[] = { PCR_DRIVERS, PCR_DRIVER_CONFIGURATION, PCR_IMAGE, PCR_COMMAND_LINE };
        int k = 0;

        for (size_t i = 0; i < ELEMENTS(predicted); i++)
                reference_set(ret, predicted[i], zero);
        if (boot->pcr2)
                reference_set(ret, PCR_DRIVERS, boot->pcr2);
        if (boot->keys)
                reference_set(ret, PCR_SECURE_BOOT, zero);
        for (size_t i = 0; i < p->n && k == 0; i++) {
                uint8_t *pcr = ret->pcr[p->events[i].pcr];

                if (reference_has(ret, p->events[i].pcr))
                        k = hash_chunks((struct chunk[]) { { pcr, SHA384_SIZE }, { p->events[i].digest, SHA384_SIZE } },
                                        2, pcr, e);
        }
        return k;
}
