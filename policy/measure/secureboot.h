/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which entry of db lets an image start, by EDK2's rules (DxeImageVerificationLib), because firmware measures that
 * entry into PCR7: signatures in the order of the image's table; for each, the X.509 entries of db in their order, then
 * the image's hash. A signature counts when its certificate chain reaches the entry, at any time and for any purpose:
 * db entries are trust anchors even where they are not self-signed. An entry of dbx that matches the image or one of
 * its chains forbids it. More than 16 signatures are refused. */

#include "measure/esl.h"
#include "measure/pe.h"

/* *ret points into db. FAILURE_UKI when dbx forbids the image, or nothing in db authorises it. */
int secureboot_authority(const struct pe *pe, const struct esl *db, const struct esl *dbx, const struct esl_entry **ret,
                         struct error *e);
