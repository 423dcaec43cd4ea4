/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The whole configuration of the nginx that ends TLS in the image. It follows from gate.json alone, so that a recipe
 * bakes it in at build time and the measured image holds the one that runs. nginx decides by the location that a
 * request falls into, asks the gate about every request, and passes to the inference server what the allow-list lets
 * through. */

#include "gate/gate-config.h"

/* Where the gate keeps key, certificate and sockets. */
#define GATE_DIRECTORY "/run/sealboot-gate"

void nginx_print(FILE *f, const struct gate_config *c, const char *directory);
