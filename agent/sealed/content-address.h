/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Paths that state the SHA-256 of their file: "blobs/sha256-<64 lower-case hex digits>", alone or below directories.
 * Ollama's store has such files. Ollama compares a file with its name only when it downloads the file, so a model that
 * brings such a store has to be checked by the program that unseals it. */

#include "basic/macros.h"

enum { CONTENT_ADDRESS_SIZE = 32 };

/* False: the path states no SHA-256. */
bool content_address(const char *path, uint8_t ret[static CONTENT_ADDRESS_SIZE]);
