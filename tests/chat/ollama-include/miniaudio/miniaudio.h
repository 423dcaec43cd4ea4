/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Stands in for miniaudio, which the zip file of a Go module lacks: directories named vendor are left out of it. The
 * Ollama that is built with it decodes no audio. */

#include <stddef.h>

typedef unsigned long long ma_uint64;
typedef int ma_result;
typedef struct {
        int unused;
} ma_decoder_config;
typedef struct {
        int unused;
} ma_decoder;
enum { MA_SUCCESS = 0, MA_ERROR = -1, ma_format_f32 = 5 };

static inline ma_decoder_config ma_decoder_config_init(int format, unsigned channels, unsigned rate) {
        ma_decoder_config c = { 0 };

        (void) format;
        (void) channels;
        (void) rate;
        return c;
}

static inline ma_result ma_decoder_init_memory(const void *data, size_t n, const ma_decoder_config *c, ma_decoder *d) {
        (void) data;
        (void) n;
        (void) c;
        (void) d;
        return MA_ERROR;
}

static inline ma_result ma_decoder_get_length_in_pcm_frames(ma_decoder *d, ma_uint64 *n) {
        (void) d;
        *n = 0;
        return MA_ERROR;
}

static inline ma_result ma_decoder_read_pcm_frames(ma_decoder *d, void *p, ma_uint64 n, ma_uint64 *read) {
        (void) d;
        (void) p;
        (void) n;
        *read = 0;
        return MA_ERROR;
}

static inline ma_result ma_decoder_uninit(ma_decoder *d) {
        (void) d;
        return MA_SUCCESS;
}
