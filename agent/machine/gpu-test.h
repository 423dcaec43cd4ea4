/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "basic/macros.h"

/* Checks on a running machine what no machine without a GPU can show: that the driver knows every GPU, runs its
 * firmware, and computes, with the kernel locked down; or that the driver of Neuron devices has started each. Prints a
 * line "gpu-test: PASS NAME: WHAT" or "gpu-test: FAIL NAME: WHY" for each check, and at the end "gpu-test: N of M".
 * Reads /sys, /proc and /dev below `root`, "" on a machine. Returns 0 when every check passed, -EIO otherwise. */
int gpu_test(const char *root, FILE *out);
