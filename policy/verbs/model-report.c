/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/model-report.h"

#include "basic/encode.h"
#include "basic/utf8.h"
#include "verbs/command.h"

static json_object *hex_string(const char *prefix, const uint8_t *digest, size_t n) {
        char text[8 + 2 * MODEL_DIGEST];

        snprintf(text, sizeof text, "%s", prefix);
        hex_encode(digest, n, text + strlen(prefix));
        return json_object_new_string(text);
}

int measured_to_json(const uint8_t digest[static MODEL_DIGEST], json_object **ret, struct error *e) {
        json_object *o = json_object_new_object();
        uint8_t pcr[MODEL_DIGEST];
        int r;

        if (!o)
                return fail_oom(e);
        r = model_pcr15(digest, pcr, e);
        if (r < 0) {
                json_object_put(o);
                return r;
        }
        json_object_object_add(o, "digest", hex_string("sha384:", digest, MODEL_DIGEST));
        json_object_object_add(o, "pcr15", hex_string("", pcr, sizeof pcr));
        *ret = o;
        return 0;
}

int model_to_json(const struct model *m, json_object **ret, struct error *e) {
        json_object *files = json_object_new_array();
        json_object *o;
        int r;

        if (!files)
                return fail_oom(e);
        r = measured_to_json(m->digest, &o, e);
        if (r < 0) {
                json_object_put(files);
                return r;
        }
        if (m->name)
                json_object_object_add(o, "name", json_object_new_string(m->name));
        if (m->version)
                json_object_object_add(o, "version", json_object_new_string(m->version));
        json_object_object_add(o, "bytes", json_object_new_int64((int64_t) model_size(m)));
        for (size_t i = 0; i < m->n_files; i++) {
                json_object *f = json_object_new_object();

                json_object_object_add(f, "path", json_object_new_string(m->files[i].path));
                json_object_object_add(f, "size", json_object_new_int64((int64_t) m->files[i].size));
                json_object_object_add(f, "digest", hex_string("sha256:", m->files[i].digest, VERITY_DIGEST));
                json_object_array_add(files, f);
        }
        json_object_object_add(o, "files", files);
        *ret = o;
        return 0;
}

int measured_print(FILE *f, const uint8_t digest[static MODEL_DIGEST], struct error *e) {
        char hex[2 * MODEL_DIGEST + 1], pcr_hex[2 * MODEL_DIGEST + 1];
        uint8_t pcr[MODEL_DIGEST];
        int r;

        r = model_pcr15(digest, pcr, e);
        if (r < 0)
                return r;
        hex_encode(digest, MODEL_DIGEST, hex);
        hex_encode(pcr, sizeof pcr, pcr_hex);
        fprintf(f, "digest  sha384:%s\nPCR15   %s\n", hex, pcr_hex);
        return 0;
}

enum { LEFT_OUT_NAMED = 8 };

void left_out_print(const char *verb, const struct source *s) {
        if (s->n_left_out == 0)
                return;
        fprintf(stderr, PROGRAM " %s: left out as bookkeeping:", verb);
        for (size_t i = 0; i < MIN_OF(s->n_left_out, (size_t) LEFT_OUT_NAMED); i++) {
                char name[256];

                snprintf(name, sizeof name, "%s", s->left_out[i]);
                utf8_make_printable(name);
                fprintf(stderr, "%s %s", i > 0 ? "," : "", name);
        }
        if (s->n_left_out > LEFT_OUT_NAMED)
                fprintf(stderr, " and %zu more", s->n_left_out - LEFT_OUT_NAMED);
        fprintf(stderr, " (--all takes every file)\n");
}

int left_out_to_json(const struct source *s, json_object *o, struct error *e) {
        json_object *list = json_object_new_array();

        if (!list)
                return fail_oom(e);
        for (size_t i = 0; i < s->n_left_out; i++) {
                _cleanup_free_ char *name = strdup(s->left_out[i]);

                if (!name) {
                        json_object_put(list);
                        return fail_oom(e);
                }
                utf8_make_printable(name);
                json_object_array_add(list, json_object_new_string(name));
        }
        json_object_object_add(o, "left_out", list);
        return 0;
}

int model_print_json(json_object *o, struct error *e) {
        return command_print_json(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED, e);
}
