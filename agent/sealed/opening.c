/* SPDX-License-Identifier: Apache-2.0 */
#include "sealed/opening.h"

#include "basic/encode.h"
#include "sealed/frame.h"

void opening_forget_key(struct opening *o) {
        secret_free(TAKE(o->data_key));
        key_candidates_done(&o->candidates);
        o->header = o->manifest_header;
}

void opening_done(struct opening *o) {
        opening_forget_key(o);
        free(o->manifest);
        message_header_free(o->manifest_header);
        free(o->single_name);
        model_free(o->model);
        *o = (struct opening) {};
}

int opening_begin_manifest(struct opening *o, uint8_t *manifest, size_t n, const char *subject, struct error *e) {
        int r;

        o->subject = subject;
        o->manifest = manifest;
        o->manifest_size = n;
        r = message_header_parse(manifest, n, subject, &o->manifest_header, e);
        if (r < 0)
                return r;
        o->header = o->manifest_header;
        return 0;
}

void opening_begin_single(struct opening *o, const struct message_header *header, const char *subject) {
        o->subject = subject;
        o->header = header;
}

/* ---- what is accepted */

static int fail_keys(const struct opening *o, const struct accepted *a, struct error *e) {
        /* The parser refuses a header without a data key. */
        const struct message_data_key *first = o->header->data_keys;
        const char *others = o->header->n_data_keys > 1 ? " and others" : "";

        if (!a->keys)
                return fail(e, FAILURE_KEY_NOT_PINNED, -EACCES, o->subject,
                            "it is sealed under %s %.300s%s, and not under a key of AWS KMS", first->provider,
                            first->info, others);
        return fail(e, FAILURE_KEY_NOT_PINNED, -EACCES, o->subject,
                    "it is sealed under %s %.300s%s, which is not among the %zu %s", first->provider, first->info,
                    others, a->n_keys, a->keys_name);
}

static int check_context(const struct opening *o, const struct accepted *a, struct error *e) {
        for (size_t i = 0; i < a->n_context; i++) {
                const char *value = message_header_context(o->header, a->context[i].name);

                if (!value)
                        return fail(e, FAILURE_CONTEXT, -EACCES, o->subject,
                                    "it lacks \"%.100s\" in its encryption context, which must be \"%.200s\"",
                                    a->context[i].name, a->context[i].value);
                if (!streq(value, a->context[i].value))
                        return fail(e, FAILURE_CONTEXT, -EACCES, o->subject,
                                    "it has \"%.100s\" = \"%.200s\" in its encryption context, which must be "
                                    "\"%.200s\"",
                                    a->context[i].name, value, a->context[i].value);
        }
        return 0;
}

int opening_accept(struct opening *o, const struct accepted *a, const char *region, struct error *e) {
        int r;

        r = key_candidates_find(o->header, a->keys, a->n_keys, region, &o->candidates, e);
        if (r < 0)
                return r;
        if (o->candidates.n == 0)
                return fail_keys(o, a, e);
        r = check_context(o, a, e);
        if (r < 0 || o->manifest)
                return r;
        return model_single_name(o->header, o->subject, &o->single_name, e);
}

int accepted_digest(const struct accepted *a, const uint8_t digest[static MODEL_DIGEST], const char *subject,
                    struct error *e) {
        char hex[2 * MODEL_DIGEST + 1];

        for (size_t i = 0; i < a->n_digests; i++)
                if (memcmp(a->digests[i], digest, MODEL_DIGEST) == 0)
                        return 0;
        if (a->n_digests == 0)
                return 0;
        hex_encode(digest, MODEL_DIGEST, hex);
        return fail(e, FAILURE_DIGEST, -EACCES, subject,
                    "it has the model digest sha384:%s, which is not among the %zu that %s allows", hex, a->n_digests,
                    a->digests_name);
}

/* ---- what is sealed */

int opening_read_manifest(struct opening *o, const struct accepted *a, struct error *e) {
        _cleanup_free_ uint8_t *text = NULL;
        size_t n;
        int r;

        r = message_open(o->manifest_header, o->manifest, o->manifest_size, o->data_key, a->any_iv, o->subject, &text,
                         &n, e);
        if (r < 0)
                return r;
        r = manifest_parse((const char *) text, n, o->subject, &o->model, e);
        if (r < 0 || a->plain_digests)
                return r;
        return accepted_digest(a, o->model->digest, o->subject, e);
}

int opening_describe_single(struct opening *o, uint64_t size, const uint8_t digest[static VERITY_DIGEST],
                            struct error *e) {
        _cleanup_model_ struct model *m = NULL;
        struct model_file *f;
        int r;

        r = model_new(&m, e);
        if (r < 0)
                return r;
        r = model_add(m, o->subject, o->single_name, NULL, size, &f, e);
        if (r < 0)
                return r;
        memcpy(f->digest, digest, VERITY_DIGEST);
        o->model = TAKE(m);
        return 0;
}
