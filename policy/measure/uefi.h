/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What every UEFI firmware measures byte for byte in the same form (TCG PC Client Platform Firmware
 * Profile 1.06, 10.4), for the side that predicts it and the side that looks for it in a log. */

#include <stddef.h>
#include <stdint.h>

/* Into PCR4, around each boot option that firmware tries. */
#define UEFI_ACTION_CALLING "Calling EFI Application from Boot Option"
#define UEFI_ACTION_RETURNING "Returning from EFI Application from Boot Option"

/* What is hashed of a variable before its data: GUID, number of characters, number of bytes, name in UTF-16 without a
 * NUL. `name` is one of Secure Boot's variables, of which db and dbx have a GUID of their own. Returns how many bytes
 * were written. */
enum { UEFI_NAME_MAX = 16, UEFI_VARIABLE_HEAD_MAX = 16 + 8 + 8 + 2 * UEFI_NAME_MAX };
size_t uefi_variable_head(const char *name, size_t data_size, uint8_t out[static UEFI_VARIABLE_HEAD_MAX]);
