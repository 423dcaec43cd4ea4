/* SPDX-License-Identifier: Apache-2.0 */

/* The sealed header, which says what to ask KMS for; meanwhile ciphertext arrives. */

#include "boot/boot.h"

static int start_pipeline(struct boot *b, struct error *e) {
        struct boot_sealed *s = &b->sealed;
        struct unseal_options options = {
                .s3 = b->services.s3,
                .bucket = s->launch.bucket,
                .directory_fd = handoff_private_fd(b->handoff),
                .workers = b->config->workers,
                .connections = b->config->connections,
                .any_iv = b->config->allow_any_iv,
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

static int fetch_manifest(struct boot *b, struct error *e) {
        _cleanup_free_ char *key = NULL, *first = NULL;
        _cleanup_free_ uint8_t *manifest = NULL;
        struct boot_sealed *s = &b->sealed;
        size_t n;
        int r;

        if (asprintf(&key, "%s" MODEL_MANIFEST_OBJECT, s->launch.key) < 0 ||
            asprintf(&first, "%s" MODEL_OBJECT_FORMAT, s->launch.key, (size_t) 0) < 0)
                return fail_oom(e);
        /* The manifest cannot be read before the data key is there. Most manifests list this object: fetch it now. */
        r = unseal_add(s->pipeline, first, NULL, true, &s->first_file, e);
        if (r < 0)
                return r;
        r = s3_get(b->services.s3, s->launch.bucket, key, MODEL_MANIFEST_MAX, &manifest, &n, NULL, e);
        if (r < 0)
                return r;
        r = boot_name_source(b, key, e);
        if (r < 0)
                return r;
        return opening_begin_manifest(&s->opening, TAKE(manifest), n, s->source, e);
}

static int fetch_single(struct boot *b, struct error *e) {
        struct boot_sealed *s = &b->sealed;
        const struct message_header *header;
        int r;

        r = unseal_add(s->pipeline, s->launch.key, NULL, false, &s->first_file, e);
        if (r < 0)
                return r;
        r = unseal_wait_header(s->pipeline, s->first_file, &header, e);
        if (r < 0)
                return r;
        opening_begin_single(&s->opening, header, s->source);
        return 0;
}

static void report_header(struct boot *b) {
        const struct message_header *h = b->sealed.opening.header;
        json_object *context = json_object_new_object();

        for (size_t i = 0; i < h->n_context; i++)
                json_object_object_add(context, h->context[i].name, json_object_new_string(h->context[i].value));
        report_put(b->report, "encryption_context", context);
        report_text(b->report, "key_arn", b->sealed.opening.candidates.items[0].arn);
}

static int prefetch(struct boot *b, struct error *e) {
        int r;

        r = start_pipeline(b, e);
        if (r < 0)
                return r;
        r = b->sealed.launch.is_prefix ? fetch_manifest(b, e) : fetch_single(b, e);
        if (r < 0)
                return r;
        r = opening_accept(&b->sealed.opening, &b->sealed.accepted, b->services.region, e);
        if (r < 0)
                return r;
        report_header(b);
        return 0;
}

int boot_prefetch(struct boot *b, struct error *e) {
        int r;

        boot_status("Fetching the sealed header of %s", b->sealed.source);
        report_begin(b->report, "header");
        r = prefetch(b, e);
        report_end(b->report, "header", 0);
        return r;
}
