/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/crc32c.h"

#include <endian.h>
#include <pthread.h>
#if defined(__aarch64__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

/* Eight bytes at a time: table[k][b] is what byte b does when k more bytes follow it. */
static uint32_t table[8][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_table(void) {
        for (uint32_t b = 0; b < 256; b++) {
                uint32_t crc = b;

                for (unsigned bit = 0; bit < 8; bit++)
                        crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
                table[0][b] = crc;
        }
        for (uint32_t b = 0; b < 256; b++)
                for (unsigned k = 1; k < 8; k++)
                        table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 255];
}

static uint32_t by_table(uint32_t crc, const uint8_t *p, size_t n) {
        pthread_once(&once, make_table);
        for (; n >= 8; p += 8, n -= 8) {
                uint64_t v;

                memcpy(&v, p, sizeof v);
                v = le64toh(v) ^ crc;
                crc = 0;
                for (unsigned k = 0; k < 8; k++)
                        crc ^= table[7 - k][v >> 8 * k & 255];
        }
        for (; n > 0; n--)
                crc = crc >> 8 ^ table[0][(crc ^ *p++) & 255];
        return crc;
}

#if defined(__x86_64__)
static bool has_instruction(void) {
        return __builtin_cpu_supports("sse4.2");
}

__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *p, size_t n) {
        uint64_t c = crc;

        for (; n >= 8; p += 8, n -= 8) {
                uint64_t v;

                memcpy(&v, p, sizeof v);
                c = __builtin_ia32_crc32di(c, v);
        }
        crc = (uint32_t) c;
        for (; n > 0; n--)
                crc = __builtin_ia32_crc32qi(crc, *p++);
        return crc;
}
#elif defined(__aarch64__)
static bool has_instruction(void) {
        return getauxval(AT_HWCAP) & HWCAP_CRC32;
}

__attribute__((target("+crc"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *p, size_t n) {
        for (; n >= 8; p += 8, n -= 8) {
                uint64_t v;

                memcpy(&v, p, sizeof v);
                crc = __crc32cd(crc, v);
        }
        for (; n > 0; n--)
                crc = __crc32cb(crc, *p++);
        return crc;
}
#else
static bool has_instruction(void) {
        return false;
}
#define by_instruction by_table
#endif

uint32_t crc32c(const void *data, size_t n) {
        return ~(has_instruction() ? by_instruction : by_table)(UINT32_MAX, data, n);
}

uint32_t crc32c_portable(const void *data, size_t n) {
        return ~by_table(UINT32_MAX, data, n);
}
