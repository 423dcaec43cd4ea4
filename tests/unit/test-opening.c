/* SPDX-License-Identifier: Apache-2.0 */

/* What the agent and `sealboot unseal` accept of a sealed model, and the words with which they refuse. */

#include "unit.h"

#include "owner/frame-write.h"
#include "owner/manifest-write.h"
#include "owner/message-write.h"
#include "sealed/opening.h"

#define KEY "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"
#define OTHER "arn:aws:kms:eu-central-1:111122223333:key/99999999-2222-3333-4444-555555555555"

static const char *const pinned[] = { KEY }, *const others[] = { OTHER };

static struct secret *make_data_key(void) {
        struct secret *s = NULL;

        assert_int_equal(secret_new(DATA_KEY_SIZE, &s), 0);
        memset(s->data, 0x5a, s->size);
        return s;
}

/* A header under KEY with {"model": "m"} and, if not NULL, {"file": file}; its data key opens it. */
static struct message_header *make_header(const char *provider, const char *file, const struct secret *data_key,
                                          struct secret **ret_file_key) {
        const struct message_data_key key = { .provider = (char *) provider,
                                              .info = (char *) KEY,
                                              .info_size = strlen(KEY),
                                              .ciphertext = (uint8_t *) "c",
                                              .ciphertext_size = 1 };
        const struct pair context[] = { { (char *) "model", (char *) "m" }, { (char *) "file", (char *) file } };
        struct message_header *h = NULL;
        struct error e = {};

        assert_ok(message_header_new(context, file ? 2 : 1, &key, 1, 1024, data_key, &h, ret_file_key, &e), &e);
        return h;
}

static void test_accept(void **state) {
        static const struct pair model[] = { { (char *) "model", (char *) "m" } },
                                 version[] = { { (char *) "version", (char *) "1" } },
                                 another[] = { { (char *) "model", (char *) "other" } };
        static const struct {
                const char *provider, *file;
                struct accepted accepted;
                enum failure failure; /* FAILURE_NONE: accepted */
                const char *words;    /* of the refusal; or the name of the file */
        } table[] = {
                { "aws-kms", "a.gguf", { .keys = NULL }, FAILURE_NONE, "a.gguf" },
                { "aws-kms", NULL, { .keys = pinned, .n_keys = 1 }, FAILURE_NONE, MODEL_FILE_UNNAMED },
                { "aws-kms", NULL, { .context = model, .n_context = 1 }, FAILURE_NONE, MODEL_FILE_UNNAMED },
                { "aws-kms",
                  NULL,
                  { .keys = others, .n_keys = 1, .keys_name = "pinned keys" },
                  FAILURE_KEY_NOT_PINNED,
                  "it is sealed under aws-kms " KEY ", which is not among the 1 pinned keys" },
                { "raw", NULL, {}, FAILURE_KEY_NOT_PINNED, "and not under a key of AWS KMS" },
                { "aws-kms", NULL, { .context = version, .n_context = 1 }, FAILURE_CONTEXT, "it lacks \"version\"" },
                { "aws-kms",
                  NULL,
                  { .context = another, .n_context = 1 },
                  FAILURE_CONTEXT,
                  "it has \"model\" = \"m\" in its encryption context, which must be \"other\"" },
                { "aws-kms", "a/b", {}, FAILURE_CONTEXT, "which is no file name" },
                /* The key is looked at before the file's name. */
                { "aws-kms", "a/b", { .keys = others, .n_keys = 1 }, FAILURE_KEY_NOT_PINNED, "not among the 1" },
        };
        _cleanup_secret_ struct secret *data_key = make_data_key();

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_secret_ struct secret *file_key = NULL;
                _cleanup_message_header_ struct message_header *h =
                        make_header(table[i].provider, table[i].file, data_key, &file_key);
                struct opening o = {};
                struct error e = {};

                opening_begin_single(&o, h, "s3://b/k");
                if (table[i].failure == FAILURE_NONE) {
                        assert_ok(opening_accept(&o, &table[i].accepted, NULL, &e), &e);
                        assert_string_equal(o.single_name, table[i].words);
                        assert_string_equal(o.candidates.items[0].arn, KEY);
                } else {
                        assert_refused(opening_accept(&o, &table[i].accepted, NULL, &e), &e, table[i].failure,
                                       table[i].words);
                        assert_string_equal(e.subject, "s3://b/k");
                }
                opening_done(&o);
        }
}

static void test_digests(void **state) {
        static const uint8_t digests[2][MODEL_DIGEST] = { { 1 }, { 2 } }, third[MODEL_DIGEST] = { 3 };
        const struct accepted any = {}, two = { .digests = digests, .n_digests = 2, .digests_name = "--digest" };
        struct error e = {};

        (void) state;
        assert_ok(accepted_digest(&any, third, "model", &e), &e);
        assert_ok(accepted_digest(&two, digests[0], "model", &e), &e);
        assert_ok(accepted_digest(&two, digests[1], "model", &e), &e);
        assert_refused(accepted_digest(&two, third, "model", &e), &e, FAILURE_DIGEST,
                       "it has the model digest sha384:0300");
        assert_non_null(strstr(e.reason, "not among the 2 that --digest allows"));
}

static void test_single(void **state) {
        static const uint8_t digest[VERITY_DIGEST] = { 7 };
        _cleanup_secret_ struct secret *data_key = make_data_key(), *file_key = NULL;
        _cleanup_message_header_ struct message_header *h = make_header("aws-kms", "a.gguf", data_key, &file_key);
        const struct accepted any = {};
        struct opening o = {};
        struct error e = {};

        (void) state;
        opening_begin_single(&o, h, "s3://b/k");
        assert_ok(opening_accept(&o, &any, NULL, &e), &e);
        assert_ok(opening_describe_single(&o, 42, digest, &e), &e);
        assert_int_equal(o.model->n_files, 1);
        assert_string_equal(o.model->files[0].path, "a.gguf");
        assert_int_equal(o.model->files[0].size, 42);
        assert_memory_equal(o.model->files[0].digest, digest, sizeof digest);
        /* The header is the pipeline's, which is freed then; the model stays. */
        opening_forget_key(&o);
        assert_null(o.header);
        assert_int_equal(o.candidates.n, 0);
        assert_non_null(o.model);
        opening_done(&o);
}

/* The sealed manifest of a model with one file, in one frame; *ret_digest is the model digest. */
static uint8_t *seal_manifest(const struct secret *data_key, size_t *ret_n, uint8_t ret_digest[static MODEL_DIGEST]) {
        _cleanup_secret_ struct secret *file_key = NULL;
        _cleanup_message_header_ struct message_header *h = make_header("aws-kms", NULL, data_key, &file_key);
        _cleanup_(frame_cipher_freep) struct frame_cipher *cipher = NULL;
        _cleanup_model_ struct model *m = NULL;
        _cleanup_free_ char *text = NULL;
        struct error e = {};
        uint8_t *object;
        ssize_t n;

        assert_ok(model_new(&m, &e), &e);
        m->name = strdup("m");
        m->version = strdup("1");
        assert_ok(model_add(m, "test", "a.gguf", "00000.sealed", 42, NULL, &e), &e);
        assert_ok(model_digest(m, &e), &e);
        memcpy(ret_digest, m->digest, MODEL_DIGEST);
        assert_ok(manifest_write(m, &text, &e), &e);
        assert_ok(frame_cipher_new(true, &cipher, &e), &e);
        assert_int_equal(frame_cipher_key(cipher, file_key, h->id), 0);
        object = malloc(h->size + strlen(text) + MESSAGE_FINAL_EXTRA);
        assert_non_null(object);
        memcpy(object, h->bytes, h->size);
        n = frame_seal(cipher, 1, true, text, (uint32_t) strlen(text), object + h->size);
        assert_true(n > 0);
        *ret_n = h->size + (size_t) n;
        return object;
}

static void test_manifest(void **state) {
        static const uint8_t foreign[MODEL_DIGEST] = { 3 };
        const struct accepted any = {},
                              one = { .digests = &foreign, .n_digests = 1, .digests_name = "\"model_digests\"" },
                              plain = { .digests = &foreign, .n_digests = 1, .plain_digests = true };
        const struct {
                const struct accepted *accepted;
                size_t flip; /* the byte from the end that is altered; 0: none */
                enum failure failure;
                const char *words;
        } table[] = {
                { &any, 0, FAILURE_NONE, NULL },
                { &plain, 0, FAILURE_NONE, NULL }, /* not the digests of manifests */
                { &one, 0, FAILURE_DIGEST, "not among the 1 that \"model_digests\" allows" },
                { &any, 1, FAILURE_AUTHENTICATION, "frame 1 of 1" },
                { &any, MESSAGE_TAG_SIZE + 1, FAILURE_AUTHENTICATION, "frame 1 of 1" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_secret_ struct secret *data_key = make_data_key();
                uint8_t digest[MODEL_DIGEST], *object;
                struct opening o = {};
                struct error e = {};
                size_t n;

                object = seal_manifest(data_key, &n, digest);
                if (table[i].flip > 0)
                        object[n - table[i].flip] ^= 1;
                assert_ok(opening_begin_manifest(&o, object, n, "s3://b/manifest.sealed", &e), &e);
                assert_ok(opening_accept(&o, table[i].accepted, NULL, &e), &e);
                assert_null(o.single_name);
                o.data_key = TAKE(data_key);
                if (table[i].failure == FAILURE_NONE) {
                        assert_ok(opening_read_manifest(&o, table[i].accepted, &e), &e);
                        assert_memory_equal(o.model->digest, digest, sizeof digest);
                        assert_string_equal(o.model->files[0].path, "a.gguf");
                } else
                        assert_refused(opening_read_manifest(&o, table[i].accepted, &e), &e, table[i].failure,
                                       table[i].words);
                opening_done(&o);
        }
}

static void test_manifest_that_is_no_message(void **state) {
        uint8_t *object = (uint8_t *) strdup("{\"sealboot\": 1}");
        struct opening o = {};
        struct error e = {};

        (void) state;
        assert_non_null(object);
        assert_refused(opening_begin_manifest(&o, object, 15, "s3://b/manifest.sealed", &e), &e, FAILURE_SEALED_FORMAT,
                       "it is JSON text");
        assert_null(o.header);
        opening_done(&o);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_accept),
                cmocka_unit_test(test_digests),
                cmocka_unit_test(test_single),
                cmocka_unit_test(test_manifest),
                cmocka_unit_test(test_manifest_that_is_no_message),
        };

        if (secret_init() < 0)
                return 1;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
