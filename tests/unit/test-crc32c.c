/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "owner/crc32c.h"

/* RFC 3720, appendix B.4, and the check value of the catalogue of CRCs. */
static void test_known_answers(void **state) {
        static const uint8_t zeros[32] = { 0 };
        uint8_t ones[32], up[32], down[32];

        (void) state;
        for (uint8_t i = 0; i < 32; i++) {
                ones[i] = 0xff;
                up[i] = i;
                down[i] = (uint8_t) (31 - i);
        }
        const struct {
                const void *data;
                size_t n;
                uint32_t crc;
        } table[] = {
                { "", 0, 0 },
                { "a", 1, 0xc1d04330 },
                { "123456789", 9, 0xe3069283 },
                { zeros, 32, 0x8a9136aa },
                { ones, 32, 0x62a8ab43 },
                { up, 32, 0x46dd794e },
                { down, 32, 0x113fdb5c },
        };
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                assert_int_equal(crc32c(table[i].data, table[i].n), table[i].crc);
                assert_int_equal(crc32c_portable(table[i].data, table[i].n), table[i].crc);
        }
}

static uint32_t bit_by_bit(const uint8_t *p, size_t n) {
        uint32_t crc = UINT32_MAX;

        for (size_t i = 0; i < n; i++) {
                crc ^= p[i];
                for (unsigned bit = 0; bit < 8; bit++)
                        crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
        }
        return ~crc;
}

/* Every length and alignment that the eight bytes of a step can meet. */
static void test_lengths(void **state) {
        uint8_t data[256];

        (void) state;
        for (size_t i = 0; i < sizeof data; i++)
                data[i] = (uint8_t) (i * 167 + (i >> 3));
        for (size_t start = 0; start < 9; start++)
                for (size_t n = 0; n + start <= sizeof data; n++) {
                        uint32_t expected = bit_by_bit(data + start, n);

                        assert_int_equal(crc32c(data + start, n), expected);
                        assert_int_equal(crc32c_portable(data + start, n), expected);
                }
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_known_answers), cmocka_unit_test(test_lengths) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
