/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A new RSA-2048 key, its private numbers in the secure heap (call secret_init() before).
 *
 * OpenSSL 3 makes such a key in 150-450 ms: it constructs each prime from two smaller ones (FIPS 186-4, B.3.6). Here
 * OpenSSL searches random numbers for two primes (B.3.3, as it did before 3.0), which takes a third of that, and
 * several threads search for them side by side. What FIPS 186-4 asks of the numbers holds for both: size, tests of
 * primality, distance of the primes, size of the private exponent. The finished key encrypts and decrypts once before
 * it is used. */

#include <openssl/types.h>

#include "basic/macros.h"

enum { RSA_KEY_BITS = 2048 };

/* The time varies by chance: 50-200 ms of CPU. Takes up to four CPUs. -EIO: OpenSSL failed. */
int rsa_key_new(EVP_PKEY **ret);
