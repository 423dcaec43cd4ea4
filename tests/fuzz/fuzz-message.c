/* SPDX-License-Identifier: Apache-2.0 */

/* A sealed object from a hostile S3: parse the header, lay the frames out, and open what can be opened. */

#include "sealed/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The data key of the seeds: 40..5f. */
static struct secret *data_key(void) {
        struct secret *key;

        if (secret_new(DATA_KEY_SIZE, &key) < 0)
                abort();
        for (unsigned i = 0; i < DATA_KEY_SIZE; i++)
                key->data[i] = (uint8_t) (0x40 + i);
        return key;
}

static void check_geometry(const struct message_geometry *g, const struct message_header *h) {
        uint32_t last = g->n_frames - 1;

        if (g->n_frames < 1 || g->final_length > g->frame_length || message_frame_offset(g, 0) != h->size ||
            message_frame_offset(g, last) + MESSAGE_FINAL_EXTRA + g->final_length != g->object_size ||
            (uint64_t) last * g->frame_length + g->final_length != g->plaintext_size)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_message_header_ struct message_header *h = NULL;
        _cleanup_secret_ struct secret *key = data_key();
        _cleanup_free_ uint8_t *out = NULL;
        struct message_geometry g;
        struct error e = { 0 };
        size_t n;

        if (message_header_parse(data, size, "fuzz", &h, &e) < 0)
                return e.failure == FAILURE_NONE ? (abort(), 0) : 0;
        if (h->size > size || h->body_size + MESSAGE_TAG_SIZE != h->size || memcmp(h->bytes, data, h->size) != 0)
                abort();
        for (uint64_t object = size; object < UINT64_MAX / 2; object = 3 * object + 1)
                if (message_geometry(h, object, "fuzz", &g, &e) == 0)
                        check_geometry(&g, h);
        if (message_open(h, data, size, key, true, "fuzz", &out, &n, &e) == 0 && out[n] != 0)
                abort();
        return 0;
}
