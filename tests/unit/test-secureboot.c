/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "fixture.h"
#include "measure/secureboot.h"
#include "pe-image.h"

static void test_authority(void **state _unused_) {
        static const struct {
                const char *image, *db, *dbx;
                int entry; /* of db, from 0; -1: refused */
                const char *words;
        } cases[] = {
                { "debian13-signed-A", "db-A", NULL, 0, NULL },
                { "debian13-signed-A", "db-AB", NULL, 0, NULL },
                { "debian13-signed-A", "db-lists", NULL, 4, NULL },
                { "debian13-signed-A", "db-one-list", NULL, 1, NULL },
                { "debian13-signed-A", "db-A", "dbx", 0, NULL },
                { "debian13-signed-leaf", "db-CA", NULL, 0, NULL },
                { "debian13-signed-unrelated-A", "db-A", NULL, 0, NULL },
                { "debian13-signed-unrelated-A", "db-lists", NULL, 0, NULL },
                { "debian13", "db-hash", NULL, 1, NULL },
                { "debian13-signed-A", "db-hash", NULL, 1, NULL },
                { "debian13-signed-A", "db-CA", NULL, -1, "none of its signatures chains to an entry of db" },
                { "debian13-signed-leaf", "db-A", NULL, -1, "none of its signatures" },
                { "debian13", "db-A", NULL, -1, "it is not signed" },
                { "debian13-signed-A", "db-A", "db-A", -1, "dbx forbids it" },
                { "debian13-signed-A", "db-A", "db-hash", -1, "dbx forbids it" },
                { "debian13", "db-hash", "db-hash", -1, "dbx forbids it" },
                { "debian13-signed-leaf", "db-CA", "db-CA", -1, "dbx forbids it" },
                { "debian13-signed-unrelated-A", "db-A", "dbx", -1, "dbx forbids it" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_free_ uint8_t *image = NULL, *db_data = NULL, *dbx_data = NULL;
                _cleanup_esl_ struct esl db = {}, dbx = {};
                const struct esl_entry *entry = NULL;
                struct error e = {};
                char path[100];
                struct pe pe;
                size_t n;

                snprintf(path, sizeof path, "fixtures/measure/%s.efi", cases[i].image);
                image = read_fixture(path, &n);
                assert_ok(pe_parse(image, n, path, &pe, &e), &e);
                snprintf(path, sizeof path, "fixtures/measure/%s.esl", cases[i].db);
                db_data = read_fixture(path, &n);
                assert_ok(esl_parse(db_data, n, path, &db, &e), &e);
                if (cases[i].dbx) {
                        snprintf(path, sizeof path, "fixtures/measure/%s.esl", cases[i].dbx);
                        dbx_data = read_fixture(path, &n);
                        assert_ok(esl_parse(dbx_data, n, path, &dbx, &e), &e);
                }
                if (cases[i].entry < 0) {
                        assert_refused(secureboot_authority(&pe, &db, &dbx, &entry, &e), &e, FAILURE_UKI,
                                       cases[i].words);
                        continue;
                }
                assert_ok(secureboot_authority(&pe, &db, &dbx, &entry, &e), &e);
                assert_int_equal(entry - db.entries, cases[i].entry);
        }
}

/* Every signature costs work with every entry of the key lists. */
static void test_number_of_signatures(void **state _unused_) {
        _cleanup_free_ uint8_t *image = NULL, *db_data = NULL, *many = NULL;
        _cleanup_esl_ struct esl db = {};
        const struct esl_entry *entry = NULL;
        struct error e = {};
        size_t n, m;
        struct pe pe;

        image = read_fixture("fixtures/measure/debian13-signed-A.efi", &n);
        db_data = read_fixture("fixtures/measure/db-A.esl", &m);
        assert_ok(esl_parse(db_data, m, "db", &db, &e), &e);
        assert_ok(pe_parse(image, n, "t", &pe, &e), &e);
        many = malloc(n + 16 * pe.certificates_size);
        memcpy(many, image, n);
        for (size_t i = 1; i <= 16; i++) {
                struct pe larger;

                memcpy(many + n + (i - 1) * pe.certificates_size, image + pe.certificates_offset, pe.certificates_size);
                put(many, pe.directory_offset + 4, (i + 1) * pe.certificates_size, 4);
                assert_ok(pe_parse(many, n + i * pe.certificates_size, "t", &larger, &e), &e);
                if (i < 16)
                        assert_ok(secureboot_authority(&larger, &db, &(struct esl) {}, &entry, &e), &e);
                else
                        assert_refused(secureboot_authority(&larger, &db, &(struct esl) {}, &entry, &e), &e,
                                       FAILURE_UKI, "more than 16 signatures");
        }
}

/* A signature must be over this image: one changed byte and it authorises nothing. */
static void test_signature_of_another_image(void **state _unused_) {
        _cleanup_free_ uint8_t *image = NULL, *db_data = NULL;
        _cleanup_esl_ struct esl db = {};
        const struct esl_entry *entry;
        const struct esl none = {};
        struct error e = {};
        struct pe pe;
        size_t n, m;

        image = read_fixture("fixtures/measure/debian13-signed-A.efi", &n);
        db_data = read_fixture("fixtures/measure/db-A.esl", &m);
        assert_ok(esl_parse(db_data, m, "db", &db, &e), &e);
        assert_ok(pe_parse(image, n, "t", &pe, &e), &e);
        image[pe_section(&pe, ".linux")->raw_offset + 8] ^= 1;
        assert_refused(secureboot_authority(&pe, &db, &none, &entry, &e), &e, FAILURE_UKI, "none of its signatures");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_authority),
                cmocka_unit_test(test_number_of_signatures),
                cmocka_unit_test(test_signature_of_another_image),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
