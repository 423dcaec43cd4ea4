/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Writes the manifest of a model. Its format is in sealed/model.h. */

#include "sealed/model.h"

/* The files must be sorted, and have their digests and objects; the model its digest. The caller frees *ret. */
int manifest_write(const struct model *m, char **ret, struct error *e);
