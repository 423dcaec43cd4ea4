/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Libraries read the environment, too: OPENSSL_CONF names code to load, SSLKEYLOGFILE a file for TLS keys, TSS2_LOGFILE
 * one for TPM commands; there are many more. A program whose settings are all in its configuration keeps only the
 * variables that it names, so that no list of dangerous variables has to be kept up to date. */

#include "basic/macros.h"

/* Removes every variable but these; NULL ends the list. Call first in main(), before any library is used and before
 * there are threads. It cannot undo what acts before main() (LD_PRELOAD, GLIBC_TUNABLES): who starts the program must
 * not set those. -ENOMEM. */
int environment_keep(const char *const names[]);
