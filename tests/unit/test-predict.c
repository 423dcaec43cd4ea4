/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "basic/encode.h"
#include "basic/json.h"
#include "fixture.h"
#include "measure/predict.h"
#include "measure/stub.h"
#include "measure/uefi.h"
#include "pe-image.h"

static void test_stub_versions(void **state _unused_) {
        static const struct {
                const char *magic, *release;
                unsigned version;
        } cases[] = {
                { "#### LoaderInfo: systemd-stub 257.13-1~deb13u1 ####", "", 257 },
                { "#### LoaderInfo: systemd-stub 252 ####", "", 252 },
                { "#### LoaderInfo: systemd-stub 258~rc1 ####", "", 258 },
                { "#### LoaderInfo: systemd-boot 257 ####", "", 0 },
                { "#### LoaderInfo: systemd-stub v257 ####", "", 0 },
                { "", "ID=\"amzn\"\nVERSION_ID=\"2023\"\n", 252 },
                { "", "ID=amzn\nVERSION_ID=2023", 252 },
                { "", "ID=\"amzn\"\nVERSION_ID=\"2024\"\n", 0 },
                { "", "XID=\"amzn\"\nVERSION_ID=\"2023\"\n", 0 },
                { "", "ID=debian\n", 0 },
                { "#### LoaderInfo: systemd-stub 258 ####", "ID=amzn\nVERSION_ID=2023\n", 258 },
                { "", "", 0 },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                uint8_t image[IMAGE_SIZE] = {};
                struct error e = {};
                struct pe pe;

                make_image(image);
                memset(image + SECTIONS, 0, 80);
                put_section(image, 0, ".sdmagic", (uint32_t) strlen(cases[i].magic), 0x200, 0x200);
                put_section(image, 1, ".osrel", (uint32_t) strlen(cases[i].release), 0x200, 0x400);
                memcpy(image + 0x200, cases[i].magic, strlen(cases[i].magic));
                memcpy(image + 0x400, cases[i].release, strlen(cases[i].release));
                assert_ok(pe_parse(image, sizeof image, "t", &pe, &e), &e);
                assert_int_equal(stub_version(&pe), cases[i].version);
        }
}

static void test_addons_of_another_kernel(void **state _unused_) {
        static const struct {
                const char *addon, *uki;
                bool taken;
        } cases[] = {
                { "6.1.0", "6.1.0", true },    { "6.1.0", "6.1.1", false }, { "6.1", "6.1.0", false },
                { "6.1.0\0x", "6.1.0", true }, { "6.1.0", NULL, true },     { NULL, "6.1.0", true },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                const char *names[2] = { cases[i].addon, cases[i].uki };
                uint8_t images[2][IMAGE_SIZE];
                struct error e = {};
                struct pe pes[2];

                for (size_t j = 0; j < 2; j++) {
                        make_image(images[j]);
                        memset(images[j] + SECTIONS, 0, 80);
                        put_section(images[j], 0, names[j] ? ".uname" : ".osrel", 8, 0x200, 0x200);
                        put_section(images[j], 1, ".linux", 0x123, 0x200, 0x400);
                        memset(images[j] + 0x200, 0, 8);
                        if (names[j])
                                memcpy(images[j] + 0x200, names[j], strlen(names[j]));
                        assert_ok(pe_parse(images[j], IMAGE_SIZE, "t", &pes[j], &e), &e);
                }
                assert_int_equal(stub_takes_addon(&pes[0], &pes[1]), cases[i].taken);
        }
}

static void test_command_lines_as_the_stub_measures_them(void **state _unused_) {
        static const struct {
                const char *given, *measured;
        } cases[] = {
                { "quiet", "quiet" }, { " \t quiet \n", "quiet" },
                { "a  b", "a  b" },   { "a\tb\nc\x7f", "a b c" },
                { "", "" },           { " \x01 ", "" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                char text[32];

                snprintf(text, sizeof text, "%s", cases[i].given);
                assert_string_equal(stub_command_line(text), cases[i].measured);
        }
}

/* The GUID is the owner's of the variable: db and dbx are not global variables (UEFI 2.10, 3.3 and 32.6.1). */
static void test_variables(void **state _unused_) {
        static const struct {
                const char *name;
                uint8_t guid;
        } cases[] = { { "SecureBoot", 0x61 }, { "PK", 0x61 }, { "KEK", 0x61 }, { "db", 0xcb }, { "dbx", 0xcb } };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                uint8_t head[UEFI_VARIABLE_HEAD_MAX];
                size_t n = uefi_variable_head(cases[i].name, 0x102, head), length = strlen(cases[i].name);

                assert_int_equal(n, 32 + 2 * length);
                assert_int_equal(head[0], cases[i].guid);
                assert_int_equal(head[16], length);
                assert_int_equal(head[24], 2);
                assert_int_equal(head[25], 1);
                assert_int_equal(head[32], cases[i].name[0]);
                assert_int_equal(head[33], 0);
        }
}

/* --- boots -------------------------------------------------------------------------------------------------------- */

struct image_file {
        uint8_t *data;
        struct measured_image image;
};

static void image_file_done(struct image_file *f) {
        free(f->data);
}

static void read_image(const char *name, struct image_file *ret) {
        struct error e = {};
        char path[100];
        size_t n;

        snprintf(path, sizeof path, "fixtures/measure/%s", name);
        ret->data = read_fixture(path, &n);
        ret->image.path = "image.efi";
        assert_ok(pe_parse(ret->data, n, "image.efi", &ret->image.pe, &e), &e);
}

/* What the TPM of that boot held, from the fixture that was recorded with it. */
static void recorded_pcr(const char *boot, unsigned pcr, uint8_t ret[static SHA384_SIZE]) {
        _cleanup_json_ json_object *all = NULL;
        _cleanup_free_ uint8_t *text = NULL;
        struct error e = {};
        size_t n;

        text = read_fixture("fixtures/measure/cases.json", &n);
        assert_ok(json_parse((const char *) text, n, FAILURE_IO, "cases.json", &all, &e), &e);
        for (size_t i = 0; i < json_object_array_length(all); i++) {
                json_object *one = json_object_array_get_idx(all, i), *name, *pcrs, *bank;

                assert_true(json_object_object_get_ex(one, "name", &name));
                if (!streq(json_object_get_string(name), boot))
                        continue;
                assert_true(json_object_object_get_ex(one, "pcrs", &pcrs));
                assert_true(json_object_object_get_ex(pcrs, "sha384", &bank));
                assert_int_equal(hex_decode(json_object_get_string(json_object_array_get_idx(bank, pcr)), ret,
                                            SHA384_SIZE),
                                 0);
                return;
        }
        fail_msg("cases.json has no boot %s", boot);
}

static void test_predicts_what_a_tpm_held(void **state _unused_) {
        static const unsigned pcrs[] = { PCR_DRIVERS, PCR_DRIVER_CONFIGURATION, PCR_IMAGE, PCR_COMMAND_LINE };
        static const struct {
                const char *boot, *image, *addon, *command_line;
                unsigned failed_options, stub_version;
        } cases[] = {
                { .boot = "debian12", .image = "debian12.efi" },
                { .boot = "debian13", .image = "debian13.efi" },
                { .boot = "debian13-addon", .image = "debian13.efi", .addon = "addon.efi" },
                { .boot = "debian13-appended", .image = "debian13.efi", .command_line = "init=/bin/sh" },
                { .boot = "debian12-blank-first", .image = "debian12.efi", .failed_options = 1 },
                { .boot = "handmade", .image = "handmade.efi", .stub_version = 251 },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_(image_file_done) struct image_file uki = {}, addon = {};
                _cleanup_prediction_ struct prediction p = {};
                struct reference reference = {};
                struct error e = {};

                read_image(cases[i].image, &uki);
                if (cases[i].addon)
                        read_image(cases[i].addon, &addon);
                const struct predicted_boot boot = {
                        .images = &uki.image,
                        .n_images = 1,
                        .addons = &addon.image,
                        .n_addons = cases[i].addon ? 1 : 0,
                        .command_line = cases[i].command_line,
                        .failed_options = cases[i].failed_options,
                        .stub_version = cases[i].stub_version,
                };
                assert_ok(predict(&boot, &p, &e), &e);
                assert_ok(prediction_replay(&p, &boot, &reference, &e), &e);
                for (size_t j = 0; j < ELEMENTS(pcrs); j++) {
                        uint8_t held[SHA384_SIZE];

                        recorded_pcr(cases[i].boot, pcrs[j], held);
                        assert_true(reference_has(&reference, pcrs[j]));
                        assert_memory_equal(reference.pcr[pcrs[j]], held, SHA384_SIZE);
                }
                assert_false(reference_has(&reference, PCR_SECURE_BOOT));
        }
}

static void test_refuses_boots_that_it_cannot_predict(void **state _unused_) {
        static const struct {
                const char *first, *second, *addon, *command_line;
                unsigned stub_version;
                enum failure failure;
                const char *words;
        } cases[] = {
                { .failure = FAILURE_UKI, .words = "is not a UKI" },
                { .first = "addon.efi", .failure = FAILURE_UKI, .words = "is not a UKI" },
                { .first = "debian13.efi", .second = "addon.efi", .failure = FAILURE_UKI, .words = "is not a UKI" },
                { .first = "handmade.efi", .failure = FAILURE_UKI, .words = "does not tell its version" },
                { .first = "debian13.efi",
                  .stub_version = 258,
                  .failure = FAILURE_USAGE,
                  .words = "is 258, but the stub of image.efi says that it is 257" },
                { .first = "debian13.efi",
                  .second = "debian13-aa64.efi",
                  .failure = FAILURE_UKI,
                  .words = "is for arm64, where x86-64 is started" },
                { .first = "debian13-aa64.efi",
                  .addon = "addon.efi",
                  .failure = FAILURE_UKI,
                  .words = "is for x86-64, where arm64 is started" },
                { .first = "debian12.efi",
                  .addon = "addon.efi",
                  .failure = FAILURE_UKI,
                  .words = "its stub is version 252, which loads no addons" },
                { .first = "debian13.efi",
                  .addon = "debian13.efi",
                  .failure = FAILURE_UKI,
                  .words = "is a UKI, not an addon" },
                { .first = "debian13.efi",
                  .command_line = "@1 quiet",
                  .failure = FAILURE_USAGE,
                  .words = "selects a profile of the UKI" },
                { .first = "debian13.efi",
                  .command_line = "\xff",
                  .failure = FAILURE_UKI,
                  .words = "is not UTF-8 text" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_(image_file_done) struct image_file first = {}, second = {}, addon = {};
                struct measured_image images[2];
                struct prediction p = {};
                struct error e = {};

                if (cases[i].first)
                        read_image(cases[i].first, &first);
                if (cases[i].second)
                        read_image(cases[i].second, &second);
                if (cases[i].addon)
                        read_image(cases[i].addon, &addon);
                images[0] = first.image;
                images[1] = second.image;
                const struct predicted_boot boot = {
                        .images = images,
                        .n_images = cases[i].second  ? 2
                                    : cases[i].first ? 1
                                                     : 0,
                        .addons = &addon.image,
                        .n_addons = cases[i].addon ? 1 : 0,
                        .command_line = cases[i].command_line,
                        .stub_version = cases[i].stub_version,
                };
                assert_refused(predict(&boot, &p, &e), &e, cases[i].failure, cases[i].words);
                assert_null(p.events);
        }
}

static void test_sections_are_a_name_and_a_content(void **state _unused_) {
        _cleanup_(image_file_done) struct image_file uki = {};
        _cleanup_prediction_ struct prediction p = {};
        uint8_t name[SHA384_SIZE];
        struct error e = {};

        read_image("debian13.efi", &uki);
        assert_ok(predict_sections(&uki.image.pe, &p, &e), &e);
        assert_true(p.n >= 2 && p.n % 2 == 0);
        assert_ok(sha384_of(".linux", sizeof ".linux", NULL, 0, name, &e), &e);
        assert_memory_equal(p.events[0].digest, name, sizeof name);
        for (size_t i = 0; i < p.n; i += 2) {
                assert_int_equal(p.events[i].pcr, PCR_SECTIONS);
                assert_int_equal(p.events[i + 1].pcr, PCR_SECTIONS);
                assert_string_equal(p.events[i].what, p.events[i + 1].what);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_stub_versions),
                cmocka_unit_test(test_addons_of_another_kernel),
                cmocka_unit_test(test_command_lines_as_the_stub_measures_them),
                cmocka_unit_test(test_variables),
                cmocka_unit_test(test_predicts_what_a_tpm_held),
                cmocka_unit_test(test_refuses_boots_that_it_cannot_predict),
                cmocka_unit_test(test_sections_are_a_name_and_a_content),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
