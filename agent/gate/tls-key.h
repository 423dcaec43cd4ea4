/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The TLS key of this boot: ECDSA P-256, with a self-signed certificate that means nothing but its key. A document
 * whose user_data is that of verify/tls.h binds the key to this image. */

#include "basic/failure.h"
#include "verify/sealboot-verify.h"

/* Makes key.pem and certificate.pem in this directory, or finds those that an earlier run of this boot has made: a gate
 * that is started again must go on proving the key that nginx has. The files are for the directory's group; the private
 * key is wiped from this process's memory before this returns. Gives the user_data that binds the key. FAILURE_IO,
 * FAILURE_INTERNAL. */
int tls_key_make(const char *directory, uint8_t ret_user_data[static SEALBOOT_TLS_USER_DATA_SIZE], struct error *e);
