/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* SIGTERM, SIGINT, SIGHUP: the boot is given up. Waits for a step that must not be cut (an NV index is defined; PCR15
 * was extended), removes plaintext, reports, and exits with FAILURE_STOPPED. Call before any other thread exists: all
 * of them must hold these signals back. */

#include "boot/boot.h"

int boot_catch_stop(struct boot *b);

/* Tells the console, the journal, the service manager and the boot report. */
void boot_failed(struct boot *b, const struct error *failure);
