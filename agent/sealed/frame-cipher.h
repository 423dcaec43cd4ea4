/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The cipher of sealed/frame.h from inside, for it and for policy/owner/frame-write.c, which makes the tags of frames.
 */

#include <openssl/evp.h>

#include "sealed/frame.h"

struct frame_cipher {
        EVP_CIPHER_CTX *ctx;
        uint8_t id[MESSAGE_ID_SIZE];
};
