/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "basic/encode.h"
#include "verify/reference.h"

#define HEX8 "00112233445566ff"
#define HEX96 HEX8 HEX8 HEX8 HEX8 HEX8 HEX8
#define SET(inside) "{\"Measurements\": {" inside "}}"

static void test_accepts(void **state _unused_) {
        static const struct {
                const char *text;
                size_t sets;
                uint32_t present;
                enum secure_boot secure_boot;
        } cases[] = {
                { SET("\"HashAlgorithm\": \"SHA384 { ... }\", \"PCR4\": \"" HEX96 "\", \"PCR12\": \"" HEX96 "\""), 1,
                  0x1010 },
                { SET("\"HashAlgorithm\": \"Sha384 { ... }\", \"PCR0\": \"" HEX96 "\", \"PCR8\": \"" HEX96 "\""), 1,
                  0x101 },
                { SET("\"PCR31\": \"" HEX96 "\""), 1, UINT32_C(1) << 31 },
                { "[" SET("\"PCR4\": \"" HEX96 "\"") ", " SET("\"PCR4\": \"" HEX96 "\"") "]", 2, 0x10 },
                { "{\"SecureBoot\": true, \"Measurements\": {\"PCR7\": \"" HEX96 "\"}}", 1, 0x80, SECURE_BOOT_ON },
                { "{\"Measurements\": {\"PCR7\": \"" HEX96 "\"}, \"SecureBoot\": false}", 1, 0x80, SECURE_BOOT_OFF },
                { "{\"Measurements\": {\"PCR7\": \"" HEX96 "\"}, \"Other\": 1}", 1, 0x80, SECURE_BOOT_NOT_SAID },
                { SET("\"HashAlgorithm\": \"SHA-384\", \"PCR4\": \"0x" HEX96 "\", \"PCR8\": null"), 1, 0x10,
                  SECURE_BOOT_NOT_SAID },
                { SET("\"HashAlgorithm\": \"sha_384\", \"PCR4\": \"0X" HEX96 "\""), 1, 0x10, SECURE_BOOT_NOT_SAID },
                { "{\"HashAlgorithm\": \"SHA384 { ... }\", \"PCR4\": \"" HEX96 "\", \"PCR7\": \"" HEX96 "\"}", 1, 0x90,
                  SECURE_BOOT_NOT_SAID },
                { "Start building the Enclave Image...\nUsing the locally available Docker image...\r\n"
                  "Enclave Image successfully created.\n" SET("\"PCR0\": \"" HEX96 "\"") "\n",
                  1, 1, SECURE_BOOT_NOT_SAID },
                { "\xef\xbb\xbf" SET("\"PCR7\": \"" HEX96 "\", \"Firmware\": {}, \"Tool\": \"x 2.0\"") "\r\n", 1, 0x80,
                  SECURE_BOOT_NOT_SAID },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_references_ struct references r = {};
                struct error e;

                assert_ok(references_parse(&r, cases[i].text, strlen(cases[i].text), "t", &e), &e);
                assert_int_equal(r.n, cases[i].sets);
                assert_int_equal(r.items[0].present, cases[i].present);
                assert_int_equal(r.items[0].secure_boot, cases[i].secure_boot);
        }
}

static void test_refuses(void **state _unused_) {
        static const struct {
                const char *text, *why;
        } cases[] = {
                { "", "not valid JSON" },
                { "[]", "holds 0 sets" },
                { "{}", "no \"Measurements\"" },
                { "{\"Measurements\": []}", "no \"Measurements\"" },
                { SET(""), "holds no PCR" },
                { SET("\"Firmware\": {}"), "holds no PCR" },
                { SET("\"PCR 4\": \"" HEX96 "\""), "unknown measurement \"PCR 4\"" },
                { SET("\"Pcr4\": \"" HEX96 "\""), "unknown measurement \"Pcr4\"" },
                { SET("\"PCR4\": \"00\""), "PCR4 is not 96 hex digits" },
                { SET("\"PCR4\": \"" HEX96 "0\""), "PCR4 is not 96 hex digits" },
                { SET("\"PCR4\": \"" HEX8 HEX8 HEX8 HEX8 HEX8 "zz112233445566ff\""), "PCR4 is not 96 hex digits" },
                { SET("\"PCR4\": \"0x" HEX96 "0\""), "PCR4 is not 96 hex digits" },
                { SET("\"PCR4\": null"), "holds no PCR" },
                { "Enclave Image successfully created.\n", "not valid JSON" },
                { "Enclave Image successfully created.\n\n[1", "not valid JSON" },
                { "{\"PCR4\": \"" HEX96 "\", \"Measurements\": 1}", "no \"Measurements\"" },
                { SET("\"HashAlgorithm\": \"SHA3-384\", \"PCR4\": \"" HEX96 "\""), "SHA-384 bank only" },
                { SET("\"PCR4\": 4"), "PCR4 is not 96 hex digits" },
                { SET("\"PCR04\": \"" HEX96 "\""), "unknown measurement \"PCR04\"" },
                { SET("\"PCR32\": \"" HEX96 "\""), "unknown measurement \"PCR32\"" },
                { SET("\"pcr4\": \"" HEX96 "\""), "unknown measurement \"pcr4\"" },
                { SET("\"HashAlgorithm\": \"SHA256\", \"PCR4\": \"" HEX96 "\""), "SHA-384 bank only" },
                { SET("\"PCR4\": \"" HEX96 "\", \"PCR4\": \"" HEX96 "\""), "same key twice" },
                { "{\"SecureBoot\": \"off\", \"Measurements\": {\"PCR7\": \"" HEX96 "\"}}", "neither true nor false" },
                { "[" SET("\"PCR4\": \"" HEX96 "\"") ", {}]", "no \"Measurements\"" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                struct references r = {};
                struct error e;

                assert_refused(references_parse(&r, cases[i].text, strlen(cases[i].text), "t", &e), &e, FAILURE_USAGE,
                               cases[i].why);
                assert_int_equal(r.n, 0);
                references_done(&r);
        }
}

static void test_round_trip(void **state _unused_) {
        _cleanup_references_ struct references r = {};
        _cleanup_json_ json_object *o = NULL;
        struct reference written = {};
        uint8_t value[SHA384_SIZE];
        const char *text;
        struct error e;

        for (unsigned pcr = 0; pcr < 24; pcr++) {
                memset(value, (int) pcr, sizeof value);
                reference_set(&written, pcr, value);
        }
        written.secure_boot = SECURE_BOOT_OFF;
        assert_ok(reference_to_json(&written, &o, &e), &e);
        text = json_object_to_json_string(o);
        assert_ok(references_parse(&r, text, strlen(text), "t", &e), &e);
        assert_int_equal(r.items[0].present, 0xffffff);
        assert_int_equal(r.items[0].secure_boot, SECURE_BOOT_OFF);
        assert_memory_equal(r.items[0].pcr, written.pcr, sizeof written.pcr);
        assert_true(reference_has(&r.items[0], 23));
        assert_false(reference_has(&r.items[0], 24));
        assert_false(reference_has(&r.items[0], 99));
}

/* As a published attestation document of an EC2 instance has it. */
static void test_the_firmware_alone(void **state _unused_) {
        static const char published[] = "518923b0f955d08da077c96aaba522b9decede61c599cea6c41889cfbea4ae4d"
                                        "50529d96fe4d1afdafb65e7f95bf23c4";
        uint8_t value[SHA384_SIZE];
        char hex[2 * SHA384_SIZE + 1];

        reference_firmware_alone(value);
        hex_encode(value, sizeof value, hex);
        assert_string_equal(hex, published);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_accepts),
                cmocka_unit_test(test_refuses),
                cmocka_unit_test(test_round_trip),
                cmocka_unit_test(test_the_firmware_alone),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
