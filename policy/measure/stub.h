/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the sections of a UKI, an addon or a boot loader say of it (systemd-stub(7)), and what the stub makes of a
 * command line before it measures it. */

#include "measure/pe.h"

/* The systemd versions from which on a stub or a boot loader does something else with what is measured. */
enum {
        STUB_BYPASSES_SECURE_BOOT = 252,
        STUB_LOADS_ADDONS = 254,
        STUB_STARTS_KERNEL_ITSELF = 258,
        LOADER_LEAVES_COMMAND_LINE = 255,
};

/* The systemd version of a UKI's stub: .sdmagic, or .osrel for the stub of Amazon Linux 2023 on arm64, which lacks it.
 * 0: unknown. */
unsigned stub_version(const struct pe *pe);
/* The version of systemd-boot, if the image is one; otherwise 0. */
unsigned loader_version(const struct pe *pe);

/* The bytes of a section, which need not end in a NUL. False: there is no such section in the file. */
bool stub_section_text(const struct pe *pe, const char *name, const char **ret, size_t *ret_n);

/* The stub passes over an addon that names another kernel than the UKI's. */
bool stub_takes_addon(const struct pe *addon, const struct pe *uki);

/* White space at both ends is cut off, control characters become spaces. In place; returns where the text starts. */
char *stub_command_line(char *text);
