/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot inspect: what a sealed object says of itself, read without any key. */

#include "basic/encode.h"
#include "basic/utf8.h"
#include "owner/message-end.h"
#include "owner/progress.h"
#include "sealed/model.h"
#include "verbs/command.h"
#include "verbs/model-report.h"

struct arguments {
        bool json;
};

static const struct option_row option_rows[] = {
        OPTION_JSON(struct arguments, json),
        OPTION_HELP,
        {},
};

static const struct command_line command_line = {
        .program = PROGRAM " inspect",
        .usage = "Usage: sealboot inspect [OPTION...] s3://BUCKET/OBJECT | s3://BUCKET/PREFIX/ | FILE | DIRECTORY/\n\n"
                 "Show what a sealed object says of itself: key, encryption context, frames; for a sealed model,\n"
                 "show its manifest object. No key is needed, and only the header and the head of the last frame\n"
                 "are read, so nothing of this is authenticated. A file that is no sealed object is named by its\n"
                 "format (base64, gzip, ...), or by how many bytes are missing or left over.",
        .rows = option_rows,
        .more = "Exit codes: 0; 2 usage; 13-15 credentials, clock, network; 40-44 S3; 50 not a sealed object,\n"
                "truncated, or with bytes behind it; 51 sealed in a way that sealboot does not open; 61 local\n"
                "files.\n\n"
                "Example: sealboot inspect s3://models/llama/3.1/",
        .operands_min = 1,
        .operands_max = 1,
        .needed = "one sealed object or model is needed",
};

struct inspected {
        char *subject;
        struct message_header *header;
        struct message_geometry geometry;
};

static void inspected_done(struct inspected *i) {
        free(i->subject);
        message_header_free(i->header);
}

static int inspect(const char *text, struct inspected *i, struct error *e) {
        _cleanup_place_ struct place p = {};
        _cleanup_owner_ struct owner *owner = NULL;
        const char *name;
        uint64_t size = 0;
        int r;

        r = place_parse(text, &p, e);
        if (r < 0)
                return r;
        name = p.is_model ? MODEL_MANIFEST_OBJECT : NULL;
        r = place_subject(&p, name, &i->subject, e);
        if (r < 0)
                return r;
        r = p.bucket ? owner_new(&owner, e) : 0;
        if (r < 0)
                return r;
        r = place_read_header(&p, owner, name, &i->header, &size, e);
        if (r < 0)
                return r;
        r = message_end_check(&p, owner, name, i->header, size, e);
        return r < 0 ? r : message_geometry(i->header, size, i->subject, &i->geometry, e);
}

/* The key ARN. Other providers than KMS may have bytes there that are not text. */
static const char *key_name(const struct message_data_key *k) {
        return strlen(k->info) == k->info_size && utf8_valid(k->info, k->info_size) ? k->info : "(not text)";
}

/* The kind of object as JSON has it, and in words. */
static const char *kind(const struct message_header *h, const char **ret_words) {
        if (message_header_context(h, MODEL_MARK_CONTEXT)) {
                *ret_words = "one object of a model with a manifest";
                return MODEL_MARK_MANIFEST;
        }
        if (model_is_single(h)) {
                *ret_words = "a model of one file, which \"" MODEL_FILE_CONTEXT "\" below names";
                return "single-file";
        }
        *ret_words =
                "not stated: another program sealed it, or an older sealboot as part of a model; opened alone, its "
                "file is named \"" MODEL_FILE_UNNAMED "\"";
        return "unmarked";
}

static void print_report(const struct inspected *i) {
        const struct message_header *h = i->header;
        const struct message_geometry *g = &i->geometry;
        char id[2 * MESSAGE_ID_SIZE + 1], bytes[16];
        const char *words;

        kind(h, &words);
        hex_encode(h->id, sizeof h->id, id);
        printf("object      %s\n", i->subject);
        printf("kind        %s\n", words);
        printf("format      AWS Encryption SDK message, version 2, suite 0x%04x: AES-256-GCM, HKDF-SHA512, key "
               "commitment\n",
               MESSAGE_SUITE);
        printf("message id  %s\n", id);
        for (size_t k = 0; k < h->n_data_keys; k++) {
                fputs(k == 0 ? "key         " : "            ", stdout);
                utf8_print(stdout, h->data_keys[k].provider);
                putchar(' ');
                utf8_print(stdout, key_name(&h->data_keys[k]));
                putchar('\n');
        }
        for (size_t k = 0; k < h->n_context; k++) {
                fputs(k == 0 ? "context     " : "            ", stdout);
                utf8_print(stdout, h->context[k].name);
                fputs(" = ", stdout);
                utf8_print(stdout, h->context[k].value);
                putchar('\n');
        }
        printf("frames      %u of %u bytes, the last of %u\n", g->n_frames, g->frame_length, g->final_length);
        printf("sizes       object %llu, header %llu, plaintext %llu bytes (%s)\n", (unsigned long long) g->object_size,
               (unsigned long long) g->header_size, (unsigned long long) g->plaintext_size,
               format_bytes(g->plaintext_size, bytes));
        puts("\nThis is what the object says of itself. Without its key, nothing of it is authenticated.");
}

static json_object *report_json(const struct inspected *i) {
        json_object *o = json_object_new_object(), *context = json_object_new_object(), *keys = json_object_new_array();
        const struct message_header *h = i->header;
        const struct message_geometry *g = &i->geometry;
        char id[2 * MESSAGE_ID_SIZE + 1], suite[8];
        const char *words;

        hex_encode(h->id, sizeof h->id, id);
        snprintf(suite, sizeof suite, "0x%04x", MESSAGE_SUITE);
        for (size_t k = 0; k < h->n_context; k++)
                json_object_object_add(context, h->context[k].name, json_object_new_string(h->context[k].value));
        for (size_t k = 0; k < h->n_data_keys; k++) {
                json_object *key = json_object_new_object();

                json_object_object_add(key, "provider", json_object_new_string(h->data_keys[k].provider));
                json_object_object_add(key, "key", json_object_new_string(key_name(&h->data_keys[k])));
                json_object_array_add(keys, key);
        }
        json_object_object_add(o, "object", json_object_new_string(i->subject));
        json_object_object_add(o, "kind", json_object_new_string(kind(h, &words)));
        json_object_object_add(o, "suite", json_object_new_string(suite));
        json_object_object_add(o, "message_id", json_object_new_string(id));
        json_object_object_add(o, "data_keys", keys);
        json_object_object_add(o, "encryption_context", context);
        json_object_object_add(o, "frame_length", json_object_new_int64(g->frame_length));
        json_object_object_add(o, "frames", json_object_new_int64(g->n_frames));
        json_object_object_add(o, "final_frame_length", json_object_new_int64(g->final_length));
        json_object_object_add(o, "object_size", json_object_new_int64((int64_t) g->object_size));
        json_object_object_add(o, "header_size", json_object_new_int64((int64_t) g->header_size));
        json_object_object_add(o, "plaintext_size", json_object_new_int64((int64_t) g->plaintext_size));
        return o;
}

int cmd_inspect(int argc, char *argv[]) {
        _cleanup_(inspected_done) struct inspected i = {};
        _cleanup_json_ json_object *o = NULL;
        struct arguments a = {};
        struct operands operands;
        struct error e = {};
        int code;

        if (!command_parse(&command_line, argc, argv, &a, &operands, &code))
                return code;
        if (inspect(operands.items[0], &i, &e) < 0)
                return command_failed(&e);
        if (!a.json) {
                print_report(&i);
                return 0;
        }
        o = report_json(&i);
        return model_print_json(o, &e) < 0 ? command_failed(&e) : 0;
}
