/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What an object is that is no sealed file: what was made of one on its way to S3, or what else it is. For messages
 * only. */

#include "basic/macros.h"

/* "base64 text of a sealed file", from its first bytes; NULL when they tell nothing. */
const char *other_format(const uint8_t *data, size_t size);
