/* SPDX-License-Identifier: Apache-2.0 */

/* The sealed header, which says what to ask KMS for; meanwhile ciphertext arrives. */

#include "boot/boot.h"

static int start_pipeline(struct boot *b, struct error *e) {
        struct boot_sealed *s = &b->sealed;
        struct unseal_options options = {
                .s3 = b->services.s3,
                .directory_fd = handoff_private_fd(b->handoff),
                .workers = b->config->workers,
                .connections = b->config->connections,
                .any_iv = b->config->allow_any_iv,
                .cancelled = &b->cancelled,
        };
        int r;

        /* Measured once, before the pipeline writes: what it writes is the model's own. */
        r = handoff_room(b->handoff, &s->room, e);
        if (r < 0)
                return r;
        options.room = room_bytes(&s->room);
        options.unit = s->room.unit;
        options.limit = room_limit(&s->room);
        return unseal_new(&options, &s->pipeline, e);
}

static int get_manifest(struct boot *b, struct boot_input *in, struct error *e) {
        _cleanup_free_ char *key = NULL;
        _cleanup_free_ uint8_t *manifest = NULL;
        size_t n;
        int r;

        if (asprintf(&key, "%s" MODEL_MANIFEST_OBJECT, in->place->key) < 0)
                return fail_oom(e);
        r = s3_get(b->services.s3, in->place->bucket, key, MODEL_MANIFEST_MAX, &manifest, &n, NULL, e);
        if (r < 0)
                return r;
        r = boot_name_source(b, in, key, e);
        if (r < 0)
                return r;
        return opening_begin_manifest(&in->opening, TAKE(manifest), n, in->subject, e);
}

static int begin_manifest(struct boot *b, struct boot_input *in, struct error *e) {
        _cleanup_free_ char *first = NULL;
        int r;

        if (asprintf(&first, "%s" MODEL_OBJECT_FORMAT, in->place->key, (size_t) 0) < 0)
                return fail_oom(e);
        /* The manifest cannot be read before the data key is there. Most manifests list this object: fetch it now. */
        r = unseal_add(b->sealed.pipeline, &in->unsealed, first, NULL, true, &in->first_file, e);
        if (r < 0)
                return r;
        in->begun = true;
        return get_manifest(b, in, e);
}

static int begin_single(struct boot *b, struct boot_input *in, struct error *e) {
        const struct message_header *header;
        int r;

        r = unseal_add(b->sealed.pipeline, &in->unsealed, in->place->key, NULL, false, &in->first_file, e);
        if (r < 0)
                return r;
        in->begun = true;
        r = unseal_wait_header(b->sealed.pipeline, in->first_file, &header, e);
        if (r < 0)
                return r;
        opening_begin_single(&in->opening, header, in->subject);
        return 0;
}

/* The header alone: until the data keys are there, the parts of the first input may hold every connection of the
 * pipeline. */
static int get_header(struct boot *b, struct boot_input *in, struct error *e) {
        _cleanup_free_ uint8_t *start = NULL;
        size_t n;
        int r;

        r = s3_get_start(b->services.s3, in->place->bucket, in->place->key, MESSAGE_HEADER_MAX, &start, &n, e);
        if (r < 0)
                return r;
        r = message_header_parse(start, n, in->subject, &in->header, e);
        if (r < 0)
                return r;
        opening_begin_single(&in->opening, in->header, in->subject);
        return 0;
}

static void report_header(struct boot *b, const struct boot_input *in) {
        const struct message_header *h = in->opening.header;
        json_object *context = json_object_new_object();

        for (size_t i = 0; i < h->n_context; i++)
                json_object_object_add(context, h->context[i].name, json_object_new_string(h->context[i].value));
        boot_report_put(b, in, "encryption_context", context);
        boot_report_text(b, in, "key_arn", in->opening.candidates.items[0].arn);
}

static int prefetch(struct boot *b, struct boot_input *in, struct error *e) {
        int r;

        boot_status("Fetching the sealed header of %s", in->source);
        /* The pipeline begins with the first input: it is busy until the data keys are there. */
        if (!b->sealed.pipeline) {
                r = start_pipeline(b, e);
                if (r < 0)
                        return r;
                r = in->place->is_prefix ? begin_manifest(b, in, e) : begin_single(b, in, e);
        } else
                r = in->place->is_prefix ? get_manifest(b, in, e) : get_header(b, in, e);
        if (r < 0)
                return r;
        r = opening_accept(&in->opening, &in->accepted, b->services.region, e);
        if (r < 0)
                return r;
        report_header(b, in);
        return 0;
}

int boot_prefetch(struct boot *b, struct error *e) {
        int r;

        report_begin(b->report, "header");
        r = boot_each_input(b, prefetch, e);
        report_end(b->report, "header", 0);
        return r;
}
