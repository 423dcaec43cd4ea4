/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* CRC-32C (Castagnoli), RFC 3720, appendix B.4: the cheapest of the checksums that S3 accepts with an upload. The CPU's
 * own instruction computes it where there is one. */

#include "basic/macros.h"

uint32_t crc32c(const void *data, size_t n);

/* The same without the instruction: for tests. */
uint32_t crc32c_portable(const void *data, size_t n);
