/* SPDX-License-Identifier: Apache-2.0 */

/* A key list (its size in four bytes, then the list) and an image: what would boot it, and what would be measured. */

#include "basic/reader.h"
#include "measure/predict.h"
#include "measure/secureboot.h"
#include "measure/stub.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void boot(const struct measured_image *image, const struct key_lists *keys) {
        _cleanup_prediction_ struct prediction p = {}, sections = {};
        struct reference reference = {};
        struct error e = {};
        struct predicted_boot b = { .images = image, .n_images = 1, .keys = keys, .command_line = "fuzz=1" };

        if (predict(&b, &p, &e) == 0 &&
            (prediction_replay(&p, &b, &reference, &e) < 0 || !reference_has(&reference, 4)))
                abort();
        b.stub_version = stub_version(&image->pe) ?: 257;
        b.addons = image;
        b.n_addons = 1;
        prediction_done(&p);
        (void) predict(&b, &p, &e);
        (void) predict_sections(&image->pe, &sections, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_esl_ struct esl db = {};
        struct reader r = reader_over(data, size), list;
        struct measured_image image = { .path = "fuzz" };
        struct key_lists keys = { .enabled = true };
        struct error e = {};
        uint32_t n;

        if (reader_le32(&r, &n) < 0 || reader_sub(&r, n, &list) < 0 ||
            esl_parse(list.data, list.size, "db", &db, &e) < 0)
                return 0;
        if (db.n > 8 || pe_parse(r.data + r.offset, reader_left(&r), "fuzz", &image.pe, &e) < 0)
                return 0;
        keys.db = db;
        keys.data[KEY_DB] = db.bytes;
        keys.size[KEY_DB] = db.size;
        boot(&image, NULL);
        boot(&image, &keys);
        return 0;
}
