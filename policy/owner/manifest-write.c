/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/manifest-write.h"

#include "basic/encode.h"
#include "basic/json.h"

static json_object *digest_text(const char *prefix, const uint8_t *digest, size_t n) {
        char text[8 + 2 * MODEL_DIGEST];

        snprintf(text, sizeof text, "%s", prefix);
        hex_encode(digest, n, text + strlen(prefix));
        return json_object_new_string(text);
}

int manifest_write(const struct model *m, char **ret, struct error *e) {
        _cleanup_json_ json_object *o = json_object_new_object();
        json_object *files = json_object_new_array();
        const char *text;

        if (!o || !files)
                return fail_oom(e);
        json_object_object_add(o, "sealboot", json_object_new_int(1));
        json_object_object_add(o, "name", json_object_new_string(m->name));
        json_object_object_add(o, "version", json_object_new_string(m->version));
        json_object_object_add(o, "digest", digest_text("sha384:", m->digest, MODEL_DIGEST));
        json_object_object_add(o, "files", files);
        for (size_t i = 0; i < m->n_files; i++) {
                json_object *f = json_object_new_object();

                json_object_object_add(f, "path", json_object_new_string(m->files[i].path));
                json_object_object_add(f, "size", json_object_new_int64((int64_t) m->files[i].size));
                json_object_object_add(f, "digest", digest_text("sha256:", m->files[i].digest, VERITY_DIGEST));
                json_object_object_add(f, "object", json_object_new_string(m->files[i].object));
                json_object_array_add(files, f);
        }
        text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
                                                         JSON_C_TO_STRING_NOSLASHESCAPE);
        *ret = text ? strdup(text) : NULL;
        return *ret ? 0 : fail_oom(e);
}
