/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "fixture.h"
#include "pe-image.h"

static void test_reads(void **state _unused_) {
        uint8_t image[IMAGE_SIZE];
        const uint8_t *bytes;
        struct error e = {};
        struct pe pe;
        size_t n;

        make_image(image);
        assert_ok(pe_parse(image, sizeof image, "t", &pe, &e), &e);
        assert_int_equal(pe.machine, PE_MACHINE_X64);
        assert_int_equal(pe.n_sections, 2);
        assert_null(pe_section(&pe, ".initrd"));
        assert_ok(pe_section_bytes(&pe, pe_section(&pe, ".linux"), &bytes, &n, &e), &e);
        assert_int_equal(n, 0x123);
        assert_ptr_equal(bytes, image + 0x400);
        put(image, COFF, PE_MACHINE_ARM64, 2);
        assert_ok(pe_parse(image, sizeof image, "t", &pe, &e), &e);
        /* Fewer directories than would hold one for certificates: nothing is left out of the hash for it. */
        put(image, DIRECTORIES, 4, 4);
        assert_ok(pe_parse(image, sizeof image, "t", &pe, &e), &e);
        assert_int_equal(pe.directory_offset, 0);
}

static void test_refuses(void **state _unused_) {
        static const struct {
                size_t at, n;
                uint64_t value;
                const char *words;
        } cases[] = {
                { 0, 2, 0x5a4e, "does not start with \"MZ\"" },
                { 60, 4, 0x5fe, "the PE signature is missing" },
                { 60, 4, 0xffffffff, "the PE signature is missing" },
                { 0x40, 4, 0x4551, "the PE signature is missing" },
                { COFF, 2, 0x14c, "machine type 0x014c" },
                { COFF, 2, 0x1c0, "machine type 0x01c0" },
                { COFF + 2, 2, 0, "has 0 sections" },
                { COFF + 2, 2, 97, "has 97 sections" },
                { COFF + 2, 2, 96, "cut short in its section table" },
                { COFF + 16, 2, 0, "optional header that is too short" },
                { COFF + 16, 2, 111, "optional header that is too short" },
                { COFF + 16, 2, 112, "more data directories than" },
                { COFF + 16, 2, 0xffff, "cut short in its section table" },
                { OPTIONAL, 2, 0x10b, "not a PE32+ image" },
                { OPTIONAL + 60, 4, 0, "SizeOfHeaders" },
                { OPTIONAL + 60, 4, 0x601, "SizeOfHeaders" },
                { OPTIONAL + 60, 4, 0xffffffff, "SizeOfHeaders" },
                { OPTIONAL + 60, 4, 0x201, "section .text overlaps" },
                { DIRECTORIES, 4, 17, "more data directories than" },
                { DIRECTORIES, 4, 0xffffffff, "more data directories than" },
                { CERTIFICATES, 8, UINT64_C(0x8000000500), "does not end where the file ends" },
                { CERTIFICATES, 8, UINT64_C(0x10000000601), "does not end where the file ends" },
                { CERTIFICATES, 8, UINT64_C(0x60000000000), "inside its headers" },
                { CERTIFICATES, 8, UINT64_C(0x20000000400),
                  "section .linux ends after the file, or inside the signatures" },
                { SECTIONS + 16, 4, 0x201, "section .linux overlaps" },
                { SECTIONS + 20, 4, 0x1ff, "section .text overlaps" },
                { SECTIONS + 40 + 16, 4, 0x201, "section .linux ends after the file" },
                { SECTIONS + 40 + 16, 4, 0xffffffff, "section .linux ends after the file" },
                { SECTIONS + 40 + 20, 4, 0xffffffff, "section .linux ends after the file" },
                { SECTIONS + 40 + 20, 4, 0x3ff, "section .linux overlaps" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                uint8_t image[IMAGE_SIZE];
                struct error e = {};
                struct pe pe = {};

                make_image(image);
                put(image, cases[i].at, cases[i].value, cases[i].n);
                assert_refused(pe_parse(image, sizeof image, "t", &pe, &e), &e, FAILURE_UKI, cases[i].words);
                assert_null(pe.data);
        }
}

static void test_refuses_every_truncation(void **state _unused_) {
        uint8_t image[IMAGE_SIZE];
        struct error e = {};
        struct pe pe;

        make_image(image);
        for (size_t n = 0; n < sizeof image; n++) {
                _cleanup_free_ uint8_t *exact = malloc(n + 1); /* so that a sanitizer sees a read beyond the end */

                memcpy(exact, image, n);
                assert_int_equal(pe_parse(exact, n, "t", &pe, &e), -EBADMSG);
                assert_int_equal(e.failure, FAILURE_UKI);
        }
}

static void test_section_larger_in_memory(void **state _unused_) {
        uint8_t image[IMAGE_SIZE];
        const uint8_t *bytes;
        struct error e = {};
        struct pe pe;
        size_t n;

        make_image(image);
        put(image, SECTIONS + 40 + 8, 0x201, 4);
        assert_ok(pe_parse(image, sizeof image, "t", &pe, &e), &e);
        assert_refused(pe_section_bytes(&pe, pe_section(&pe, ".linux"), &bytes, &n, &e), &e, FAILURE_UKI,
                       "larger in memory");
}

/* The firmware loads what the file has and zeros behind it; how many of these may be is bounded. */
static void test_section_as_it_is_in_memory(void **state _unused_) {
        static const uint8_t zeros[0x200];
        _cleanup_free_ uint8_t *borrowed = NULL, *owned = NULL, *none = NULL;
        uint8_t image[IMAGE_SIZE];
        const uint8_t *bytes, *file;
        struct error e = {};
        struct pe pe;
        size_t n, m;

        make_image(image);
        assert_ok(pe_parse(image, sizeof image, "t", &pe, &e), &e);
        assert_ok(pe_section_memory(&pe, pe_section(&pe, ".linux"), &borrowed, &file, &m, &e), &e);
        assert_null(borrowed);
        assert_ptr_equal(file, pe.data + pe_section(&pe, ".linux")->raw_offset);

        put(image, SECTIONS + 40 + 8, 0x400, 4);
        assert_ok(pe_parse(image, sizeof image, "t", &pe, &e), &e);
        assert_ok(pe_section_memory(&pe, pe_section(&pe, ".linux"), &owned, &bytes, &n, &e), &e);
        assert_int_equal(n, 0x400);
        assert_int_equal(pe_section(&pe, ".linux")->raw_size, 0x200);
        assert_memory_equal(bytes, file, 0x200);
        assert_memory_equal(bytes + 0x200, zeros, 0x200);

        put(image, SECTIONS + 40 + 8, 0xffffffff, 4);
        assert_ok(pe_parse(image, sizeof image, "t", &pe, &e), &e);
        assert_refused(pe_section_memory(&pe, pe_section(&pe, ".linux"), &none, &bytes, &n, &e), &e, FAILURE_UKI,
                       "by more than 256 MiB");
        assert_null(none);
}

static void digest_of(const uint8_t *image, size_t n, uint8_t out[static EVP_MAX_MD_SIZE]) {
        struct error e = {};
        struct pe pe;

        assert_ok(pe_parse(image, n, "t", &pe, &e), &e);
        assert_ok(pe_digest(&pe, EVP_sha384(), out, &e), &e);
}

/* Everything is covered but the checksum, the certificates' directory entry, and the certificates. */
static void test_digest_covers_every_byte(void **state _unused_) {
        uint8_t image[IMAGE_SIZE + 3], before[EVP_MAX_MD_SIZE], after[EVP_MAX_MD_SIZE];
        struct error e = {};

        make_image(image);
        memcpy(image + IMAGE_SIZE, "end", 3); /* behind the last section, and not a multiple of eight */
        digest_of(image, sizeof image, before);
        for (size_t at = 0; at < sizeof image; at++) {
                bool left_out =
                        (at >= OPTIONAL + 64 && at < OPTIONAL + 68) || (at >= CERTIFICATES && at < CERTIFICATES + 8);
                struct pe pe;

                image[at] ^= 0x10;
                if (pe_parse(image, sizeof image, "t", &pe, &e) == 0) {
                        assert_ok(pe_digest(&pe, EVP_sha384(), after, &e), &e);
                        assert_int_equal(memcmp(before, after, 48) == 0, left_out);
                }
                image[at] ^= 0x10;
        }
}

static void test_signing_does_not_change_the_digest(void **state _unused_) {
        static const char *const names[] = { "debian13-signed-A", "debian13-signed-unrelated-A",
                                             "debian13-signed-leaf" };
        uint8_t bare[EVP_MAX_MD_SIZE], with_signature[EVP_MAX_MD_SIZE];
        _cleanup_free_ uint8_t *image = NULL;
        size_t n;

        image = read_fixture("fixtures/measure/debian13.efi", &n);
        digest_of(image, n, bare);
        for (size_t i = 0; i < ELEMENTS(names); i++) {
                _cleanup_free_ uint8_t *other = NULL;
                char path[100];

                snprintf(path, sizeof path, "fixtures/measure/%s.efi", names[i]);
                other = read_fixture(path, &n);
                digest_of(other, n, with_signature);
                assert_memory_equal(bare, with_signature, 48);
        }
}

static void test_refuses_other_signatures(void **state _unused_) {
        static const struct {
                uint32_t length;
                uint16_t revision, type;
                const char *words;
        } cases[] = {
                { 0x1000, 0x200, 2, "malformed attribute certificate table" },
                { 8, 0x200, 2, "malformed attribute certificate table" },
                { 0, 0x200, 2, "malformed attribute certificate table" },
                { 24, 0x100, 2, "type 0x0002, revision 0x0100" },
                { 24, 0x200, 0xef1, "type 0x0ef1" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                uint8_t image[IMAGE_SIZE + 24] = {};
                struct error e = {};
                const uint8_t *bytes;
                size_t offset = 0, n;
                struct pe pe;

                make_image(image);
                put(image, CERTIFICATES, IMAGE_SIZE, 4);
                put(image, CERTIFICATES + 4, 24, 4);
                put(image, IMAGE_SIZE, cases[i].length, 4);
                put(image, IMAGE_SIZE + 4, cases[i].revision, 2);
                put(image, IMAGE_SIZE + 6, cases[i].type, 2);
                assert_ok(pe_parse(image, sizeof image, "t", &pe, &e), &e);
                assert_refused(pe_next_signature(&pe, &offset, &bytes, &n, &e), &e, FAILURE_UKI, cases[i].words);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_reads),
                cmocka_unit_test(test_refuses),
                cmocka_unit_test(test_refuses_every_truncation),
                cmocka_unit_test(test_section_larger_in_memory),
                cmocka_unit_test(test_section_as_it_is_in_memory),
                cmocka_unit_test(test_digest_covers_every_byte),
                cmocka_unit_test(test_signing_does_not_change_the_digest),
                cmocka_unit_test(test_refuses_other_signatures),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
