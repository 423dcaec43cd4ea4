/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "evidence/cbor.h"

#define BYTES(...) { __VA_ARGS__ }, sizeof((uint8_t[]) { __VA_ARGS__ })

static void test_heads(void **state) {
        static const struct {
                uint8_t bytes[16];
                size_t n;
                enum cbor_kind kind;
                uint64_t value;
                size_t size;
        } table[] = {
                { BYTES(0x00), CBOR_UINT, 0, 0 },
                { BYTES(0x17), CBOR_UINT, 23, 0 },
                { BYTES(0x18, 0xff), CBOR_UINT, 255, 0 },
                { BYTES(0x19, 0x01, 0x00), CBOR_UINT, 256, 0 },
                { BYTES(0x1a, 0xff, 0xff, 0xff, 0xff), CBOR_UINT, UINT32_MAX, 0 },
                { BYTES(0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), CBOR_UINT, UINT64_MAX, 0 },
                { BYTES(0x38, 0x22), CBOR_NINT, 34, 0 }, /* -35: ES384 */
                { BYTES(0x40), CBOR_BYTES, 0, 0 },
                { BYTES(0x43, 1, 2, 3), CBOR_BYTES, 0, 3 },
                { BYTES(0x62, 0xc3, 0xa9), CBOR_TEXT, 0, 2 },
                { BYTES(0x64, 0xf0, 0x9f, 0xa6, 0x8a), CBOR_TEXT, 0, 4 },
                { BYTES(0x80), CBOR_ARRAY, 0, 0 },
                { BYTES(0xa0), CBOR_MAP, 0, 0 },
                { BYTES(0xd2), CBOR_TAG, 18, 0 },
                { BYTES(0xf4), CBOR_BOOL, 0, 0 },
                { BYTES(0xf5), CBOR_BOOL, 1, 0 },
                { BYTES(0xf6), CBOR_NULL, 0, 0 },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct reader r = reader_over(table[i].bytes, table[i].n);
                struct cbor_item item;

                assert_int_equal(cbor_take(&r, &item), 0);
                assert_int_equal(reader_left(&r), 0);
                assert_int_equal(item.kind, table[i].kind);
                assert_true(item.value == table[i].value);
                assert_int_equal(item.size, table[i].size);
                for (size_t n = 0; n < table[i].n; n++) {
                        struct reader cut = reader_over(table[i].bytes, n);

                        assert_int_equal(cbor_take(&cut, &item), -EBADMSG);
                        assert_int_equal(cut.offset, 0);
                }
        }
}

static void test_refused_heads(void **state) {
        static const struct {
                uint8_t bytes[16];
                size_t n;
        } table[] = {
                { BYTES(0x1c) }, /* reserved additional information */
                { BYTES(0x3f) },
                { BYTES(0x5f, 0x41, 0, 0xff) }, /* indefinite lengths */
                { BYTES(0x7f, 0x61, 'a', 0xff) },
                { BYTES(0x9f, 0xff) },
                { BYTES(0xff) },
                { BYTES(0xf7) },             /* undefined */
                { BYTES(0xf0) },             /* simple(16) */
                { BYTES(0xf8, 0x20) },       /* simple(32) */
                { BYTES(0xf9, 0x3c, 0x00) }, /* floats */
                { BYTES(0xfa, 0x3f, 0x80, 0, 0) },
                { BYTES(0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0) },
                { BYTES(0x61, 0x00) }, /* NUL in text */
                { BYTES(0x61, 0x80) }, /* not UTF-8: lone continuation, overlong, surrogate, too large, cut */
                { BYTES(0x62, 0xc0, 0x80) },
                { BYTES(0x63, 0xe0, 0x80, 0x80) },
                { BYTES(0x63, 0xed, 0xa0, 0x80) },
                { BYTES(0x64, 0xf4, 0x90, 0x80, 0x80) },
                { BYTES(0x64, 0xf0, 0x80, 0x80, 0x80) },
                { BYTES(0x61, 0xc3) },
                { BYTES(0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) }, /* lengths that wrap */
                { BYTES(0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf6) },
                { BYTES(0x7b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct reader r = reader_over(table[i].bytes, table[i].n);
                struct cbor_item item;

                assert_int_equal(cbor_take(&r, &item), -EBADMSG);
                assert_int_equal(r.offset, 0);
                assert_int_equal(cbor_skip(&r), -EBADMSG);
        }
}

/* AWS signs attestation payloads that are maps of indefinite length. */
static void test_maps_may_be_open(void **state) {
        static const uint8_t map[] = { 0xbf, 0x61, 'a', 0x01, 0x61, 'b', 0xbf, 0x61, 'c', 0xf6, 0xff, 0xff, 0x05 };
        static const struct {
                uint8_t bytes[16];
                size_t n;
        } refused[] = {
                { BYTES(0xbf) },
                { BYTES(0xbf, 0x01, 0xff) }, /* a break where a value belongs */
                { BYTES(0xbf, 0x01, 0x02) }, /* no break */
                { BYTES(0x81, 0xff) },       /* a break in what is not open */
                { BYTES(0xa1, 0x01, 0xff) },
                { BYTES(0xc1, 0xff) },
                { BYTES(0xbf, 0x01, 0x82, 0x01, 0xff, 0xff) },
        };
        struct cbor_item a = { .value = 0 }, b = { .value = 0 };
        const struct cbor_field fields[] = {
                { .key = "a", .kind = CBOR_UINT, .required = true, .ret = &a },
                { .key = "b", .kind = CBOR_MAP, .required = true, .ret = &b },
        };
        struct reader r = reader_over(map, sizeof map);
        size_t n;

        (void) state;
        assert_int_equal(cbor_measure(map, sizeof map, &n), 0);
        assert_int_equal(n, sizeof map - 1);
        for (size_t i = 0; i < sizeof map - 1; i++) {
                assert_int_equal(cbor_measure(map, i, &n), -EAGAIN);
                assert_true(n > i && n < sizeof map);
        }
        assert_int_equal(cbor_take_fields(&r, fields, ELEMENTS(fields), NULL), 0);
        assert_int_equal(reader_left(&r), 1);
        assert_true(a.value == 1);
        assert_int_equal(b.size, 5);
        assert_int_equal(b.data[0], 0xbf);
        for (size_t i = 0; i < ELEMENTS(refused); i++) {
                r = reader_over(refused[i].bytes, refused[i].n);
                assert_int_equal(cbor_skip(&r), -EBADMSG);
                assert_int_equal(r.offset, 0);
        }
}

static void test_counts_are_not_trusted(void **state) {
        static const struct {
                uint8_t bytes[16];
                size_t n;
        } table[] = {
                { BYTES(0x82, 0x00) },
                { BYTES(0x9a, 0xff, 0xff, 0xff, 0xff, 0x00) },
                { BYTES(0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00) },
                { BYTES(0xa2, 0x00, 0x00, 0x00) },
                { BYTES(0xbb, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00) },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct reader r = reader_over(table[i].bytes, table[i].n);
                size_t n;

                assert_int_equal(cbor_take_array(&r, &n), -EBADMSG);
                assert_int_equal(cbor_take_map(&r, &n), -EBADMSG);
                assert_int_equal(cbor_skip(&r), -EBADMSG);
                assert_int_equal(r.offset, 0);
        }
}

static void test_skip_stops_at_sixteen_levels(void **state) {
        uint8_t nested[32];
        struct reader r;

        (void) state;
        memset(nested, 0x81, sizeof nested);
        nested[15] = 0x00;
        r = reader_over(nested, 16);
        assert_int_equal(cbor_skip(&r), 0);
        assert_int_equal(r.offset, 16);
        nested[15] = 0x81;
        nested[16] = 0x00;
        r = reader_over(nested, 17);
        assert_int_equal(cbor_skip(&r), -EBADMSG);
}

/* Every prefix of a NitroTPM's answer says how much more it wants, never more than there is. */
static void test_measure_leads_to_the_end(void **state) {
        static const uint8_t answer[] = {
                0xa1, 0x6b, 'A', 't', 't', 'e', 's', 't', 'a',  't', 'i', 'o', 'n', 0xa1, 0x68,
                'd',  'o',  'c', 'u', 'm', 'e', 'n', 't', 0x44, 1,   2,   3,   4,   0xff, 0xff,
        };
        static const uint8_t large_map[] = { 0xbb, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
        static const uint8_t large_string[] = { 0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
        size_t whole = sizeof answer - 2, n, steps = 0;

        (void) state;
        for (size_t i = 0; i < whole; i++) {
                assert_int_equal(cbor_measure(answer, i, &n), -EAGAIN);
                assert_in_range(n, i + 1, whole);
        }
        assert_int_equal(cbor_measure(answer, whole, &n), 0);
        assert_int_equal(n, whole);
        assert_int_equal(cbor_measure(answer, sizeof answer, &n), 0);
        assert_int_equal(n, whole);
        for (n = 1; cbor_measure(answer, n, &n) == -EAGAIN; steps++)
                ;
        assert_int_equal(n, whole);
        assert_in_range(steps, 1, 8);
        assert_int_equal(cbor_measure((uint8_t[]) { 0x83, 0xa2, 0x00 }, 3, &n), -EAGAIN);
        assert_int_equal(n, 8);
        assert_int_equal(cbor_measure(large_map, sizeof large_map, &n), -EBADMSG);
        assert_int_equal(cbor_measure((uint8_t[]) { 0x81, 0xff }, 2, &n), -EBADMSG);
        assert_int_equal(cbor_measure(large_string, sizeof large_string, &n), -EBADMSG);
}

static void test_fields(void **state) {
        static const struct {
                uint8_t bytes[24];
                size_t n;
                const char *wrong;
        } table[] = {
                { BYTES(0xa2, 0x61, 'a', 0x01, 0x61, 'b', 0x41, 9), NULL },
                { BYTES(0xa2, 0x61, 'b', 0x41, 9, 0x61, 'a', 0x01), NULL },
                { BYTES(0xa2, 0x61, 'a', 0x01, 0x61, 'b', 0xf6), NULL },
                { BYTES(0xa2, 0x61, 'a', 0x01, 0x61, 'l', 0x82, 0x01, 0x81, 0x02), NULL },
                { BYTES(0xa1, 0x61, 'a', 0xf6), "a" },                           /* null where it may not be */
                { BYTES(0xa1, 0x61, 'b', 0x41, 9), "a" },                        /* missing */
                { BYTES(0xa2, 0x61, 'a', 0x01, 0x61, 'a', 0x01), "a" },          /* twice */
                { BYTES(0xa2, 0x61, 'a', 0x01, 0x61, 'b', 0x43, 1, 2, 3), "b" }, /* too long */
                { BYTES(0xa2, 0x61, 'a', 0x01, 0x61, 'b', 0x40), "b" },          /* too short */
                { BYTES(0xa2, 0x61, 'a', 0x01, 0x61, 'b', 0x61, 'x'), "b" },     /* text for bytes */
                { BYTES(0xa2, 0x61, 'a', 0x01, 0x61, 'z', 0x01), "an unknown key" },
                { BYTES(0xa2, 0x61, 'a', 0x01, 0x62, 'a', 'b', 0x01), "an unknown key" },
                { BYTES(0xa2, 0x61, 'a', 0x01, 0x60, 0x01), "an unknown key" },
                { BYTES(0xa2, 0x61, 'a', 0x01, 0x41, 'b', 0x01), "a key that is not text" },
                { BYTES(0xa2, 0x61, 'a', 0x01), "not a map" },
                { BYTES(0x82, 0x61, 'a', 0x01), "not a map" },
                { BYTES(0xa2, 0x61, 'a', 0x01, 0x61, 'l', 0x82, 0x01, 0x82, 0x02), "l" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct cbor_item a = { .value = 0 }, b = { .value = 0 }, l = { .value = 0 };
                const struct cbor_field fields[] = {
                        { .key = "a", .kind = CBOR_UINT, .required = true, .ret = &a },
                        { .key = "b", .kind = CBOR_BYTES, .nullable = true, .min = 1, .max = 2, .ret = &b },
                        { .key = "l", .kind = CBOR_ARRAY, .ret = &l },
                };
                struct reader r = reader_over(table[i].bytes, table[i].n);
                const char *wrong = NULL;

                if (table[i].wrong) {
                        assert_int_equal(cbor_take_fields(&r, fields, ELEMENTS(fields), &wrong), -EBADMSG);
                        assert_string_equal(wrong, table[i].wrong);
                        assert_int_equal(r.offset, 0);
                        continue;
                }
                assert_int_equal(cbor_take_fields(&r, fields, ELEMENTS(fields), &wrong), 0);
                assert_int_equal(reader_left(&r), 0);
                assert_int_equal(a.value, 1);
                if (l.data) {
                        assert_int_equal(l.value, 2);
                        assert_int_equal(l.size, 4);
                        assert_memory_equal(l.data, ((uint8_t[]) { 0x82, 0x01, 0x81, 0x02 }), 4);
                }
        }
}

static void test_heads_are_written_shortest(void **state) {
        /* clang-format off */
        static const struct {
                size_t n;
                uint8_t head[5];
                size_t size;
        } table[] = {
                { 0, BYTES(0x40) },          { 23, BYTES(0x57) },
                { 24, BYTES(0x58, 24) },     { 255, BYTES(0x58, 255) },
                { 256, BYTES(0x59, 1, 0) },  { 65535, BYTES(0x59, 255, 255) },
                { 65536, BYTES(0x5a, 0, 1, 0, 0) },
        };
        /* clang-format on */
        static uint8_t out[65536 + 5], zeros[65536];

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct cbor_writer w = { .data = out, .room = table[i].size + table[i].n };
                struct cbor_writer small = { .data = out, .room = w.room - 1 };

                assert_int_equal(cbor_put_bytes(&small, zeros, table[i].n), -ENOBUFS);
                assert_int_equal(cbor_put_bytes(&w, zeros, table[i].n), 0);
                assert_int_equal(w.size, w.room);
                assert_memory_equal(out, table[i].head, table[i].size);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_heads),
                cmocka_unit_test(test_refused_heads),
                cmocka_unit_test(test_maps_may_be_open),
                cmocka_unit_test(test_counts_are_not_trusted),
                cmocka_unit_test(test_skip_stops_at_sixteen_levels),
                cmocka_unit_test(test_measure_leads_to_the_end),
                cmocka_unit_test(test_fields),
                cmocka_unit_test(test_heads_are_written_shortest),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
