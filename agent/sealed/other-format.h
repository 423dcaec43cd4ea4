/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Tells what an object is if it is not a sealed file: a sealed file that was changed on its way to S3, or a file of
 * another format. For messages only. */

#include "basic/macros.h"

/* "the base64 text of a sealed file", by the first bytes; NULL: not known. */
const char *other_format(const uint8_t *data, size_t size);
