/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Libraries read the environment, each for its own purposes: OPENSSL_CONF names code to load, SSLKEYLOGFILE a file
 * for TLS keys, TSS2_LOGFILE one for TPM commands, GCONV_PATH, LOCALDOMAIN, RES_OPTIONS and many more. A program
 * whose settings are all in its configuration keeps what it needs, by name, and has no list of what is dangerous
 * to keep up to date. */

#include "basic/macros.h"

/* Removes every variable but these, which end with NULL. For the first line of a program: before any library is
 * used, and before there are threads. What acts before main() is beyond its reach (LD_PRELOAD, GLIBC_TUNABLES):
 * whoever starts the program has to leave that out. -ENOMEM. */
int environment_keep(const char *const names[]);
