/* SPDX-License-Identifier: Apache-2.0 */

/* The calls of agent/aws and policy/owner/s3-write, one by one, for end-to-end tests:
 *
 *   aws-tool [--imds] get|head|delete BUCKET KEY
 *   aws-tool [--imds] put BUCKET KEY FILE
 *   aws-tool [--imds] upload BUCKET KEY FILE PART_BYTES
 *   aws-tool [--imds] list BUCKET PREFIX
 *   aws-tool [--imds] range BUCKET KEY FIRST LAST ETAG|-
 *   aws-tool [--imds] watch BUCKET KEY TIMES PAUSE_MS      (heads, with one credential source)
 *   aws-tool [--imds] data-key KEY CONTEXT_VALUE           (generates one, decrypts it again)
 *   aws-tool [--imds] release KEY_ARN BLOB_FILE DOCUMENT_FILE...  (one document for each attempt)
 *   aws-tool metadata
 *
 * Endpoints and keys come from the environment of the AWS SDKs; --imds takes the credentials from the metadata service.
 * Fails with the exit code of the failure. With AWS_TOOL_PAUSE it waits for its standard input to end before it exits,
 * when all is freed. */

#include <inttypes.h>
#include <time.h>

#include "aws/imds.h"
#include "aws/kms.h"
#include "aws/s3.h"
#include "basic/encode.h"
#include "basic/file.h"
#include "owner/environment.h"
#include "owner/kms-write.h"
#include "owner/s3-head.h"
#include "owner/s3-write.h"

enum { FILE_MAX = 256 * 1024 * 1024 };

struct tool {
        struct http *http;
        struct imds *imds;
        struct credential_source *credentials;
        struct kms *kms;
        struct s3 *s3;
        char **argv;
        int argc;
};

static uint64_t number(const char *text) {
        return strtoull(text, NULL, 10);
}

static void tool_done(struct tool *t) {
        s3_free(t->s3);
        kms_free(t->kms);
        credential_source_free(t->credentials);
        imds_free(t->imds);
        http_free(t->http);
}

static int open_tool(struct tool *t, bool from_imds, struct error *e) {
        const struct http_options options = { .ca_bundle = getenv("AWS_CA_BUNDLE"), .low_speed_seconds = 3 };
        struct service_access kms = { .endpoint.url = getenv("AWS_ENDPOINT_URL_KMS") },
                              s3 = { .endpoint.url = getenv("AWS_ENDPOINT_URL_S3") };
        const char *deadline = getenv("AWS_TOOL_DEADLINE_MS");
        int r;

        r = http_new(&options, &t->http, e);
        if (r == 0)
                r = imds_new(t->http, getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
                             deadline ? (unsigned) number(deadline) : 0, &t->imds, e);
        if (r == 0)
                r = from_imds ? credentials_from_imds(t->imds, &t->credentials, e)
                              : credentials_from_environment(&t->credentials, e);
        kms.http = s3.http = t->http;
        kms.credentials = s3.credentials = t->credentials;
        kms.region = s3.region = getenv("AWS_REGION");
        if (r == 0)
                r = kms_new(&kms, deadline ? (unsigned) number(deadline) : 0, &t->kms, e);
        if (r == 0)
                r = s3_new(&s3, &t->s3, e);
        return r;
}

static int get(struct tool *t, struct error *e) {
        _cleanup_free_ uint8_t *data = NULL;
        struct s3_head head;
        size_t n;
        int r;

        r = s3_get(t->s3, t->argv[0], t->argv[1], FILE_MAX, &data, &n, &head, e);
        if (r == 0)
                r = write_all(STDOUT_FILENO, data, n);
        return r;
}

static int head(struct tool *t, struct error *e) {
        struct s3_head h;
        int r;

        r = s3_head(t->s3, t->argv[0], t->argv[1], &h, e);
        if (r == 0)
                printf("%" PRIu64 " %s\n", h.size, h.etag);
        return r;
}

static int remove_object(struct tool *t, struct error *e) {
        return s3_delete(t->s3, t->argv[0], t->argv[1], e);
}

static int put(struct tool *t, struct error *e) {
        _cleanup_free_ uint8_t *data = NULL;
        size_t n;
        int r;

        r = file_read(t->argv[2], FILE_MAX, FAILURE_IO, &data, &n, e);
        return r < 0 ? r : s3_put(t->s3, t->argv[0], t->argv[1], data, n, e);
}

/* The parts in reverse: their order must not matter. */
static int upload(struct tool *t, struct error *e) {
        _cleanup_(s3_upload_freep) struct s3_upload *u = NULL;
        size_t part = (size_t) number(t->argv[3]), n, parts;
        _cleanup_free_ uint8_t *data = NULL;
        int r;

        r = file_read(t->argv[2], FILE_MAX, FAILURE_IO, &data, &n, e);
        if (r == 0)
                r = s3_upload_begin(t->s3, t->argv[0], t->argv[1], &u, e);
        parts = r == 0 ? (n + part - 1) / part : 0;
        for (size_t i = parts; r == 0 && i > 0; i--)
                r = s3_upload_part(u, (unsigned) i, data + (i - 1) * part, MIN_OF(part, n - (i - 1) * part), e);
        return r < 0 ? r : s3_upload_complete(u, e);
}

static int list(struct tool *t, struct error *e) {
        _cleanup_(s3_list_done) struct s3_list l = {};
        int r;

        r = s3_list(t->s3, t->argv[0], t->argv[1], 100000, &l, e);
        for (size_t i = 0; r == 0 && i < l.n; i++)
                printf("%" PRIu64 " %s\n", l.entries[i].size, l.entries[i].key);
        return r;
}

static size_t on_bytes(char *data, size_t one, size_t n, void *userdata) {
        struct http_call *call = userdata;
        struct s3_range range;

        (void) one;
        if (!s3_range_answer(call, &range))
                return http_call_body(call, data, n) < 0 ? 0 : n;
        return fwrite(data, 1, n, stdout);
}

static CURLcode transfer(CURLM *multi, CURL *easy) {
        CURLcode code = CURLE_FAILED_INIT;
        CURLMsg *message;
        int running, left;

        curl_multi_add_handle(multi, easy);
        while (curl_multi_perform(multi, &running) == CURLM_OK && running > 0)
                curl_multi_poll(multi, NULL, 0, 1000, NULL);
        message = curl_multi_info_read(multi, &left);
        if (message)
                code = message->data.result;
        curl_multi_remove_handle(multi, easy);
        return code;
}

/* As the unseal pipeline does it: a curl_multi and a retry of one's own. (Bytes of attempts that fail are printed too.)
 */
static int range(struct tool *t, struct error *e) {
        const char *etag = streq(t->argv[4], "-") ? NULL : t->argv[4];
        CURLM *multi = curl_multi_init();
        CURL *easy = curl_easy_init();
        enum http_verdict verdict = HTTP_OK;
        struct retry retry;
        unsigned ms = 0;
        int r;

        retry_begin(&retry, &(struct retry_policy) { 5000, 10, 100 });
        do {
                struct http_call *call;

                nanosleep(&(struct timespec) { 0, (long) ms * 1000000 }, NULL);
                r = s3_prepare_range(t->s3, easy, t->argv[0], t->argv[1], number(t->argv[2]), number(t->argv[3]), etag,
                                     verdict == HTTP_REFRESH, &call, e);
                if (r < 0)
                        break;
                curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
                curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
                verdict = s3_judge_range(call, transfer(multi, easy), e);
                http_call_free(call);
                r = verdict == HTTP_OK ? 0 : -EIO;
        } while (verdict != HTTP_OK && verdict != HTTP_FINAL && retry_next(&retry, e, &ms));
        if (r < 0)
                retry_explain(&retry, e);
        curl_easy_cleanup(easy);
        curl_multi_cleanup(multi);
        return r;
}

static int watch(struct tool *t, struct error *e) {
        long ms = (long) number(t->argv[3]);
        int r = 0;

        for (uint64_t i = number(t->argv[2]); r == 0 && i > 0; i--) {
                struct credentials *c;

                r = head(t, e);
                if (r == 0 && credentials_get(t->credentials, false, &c, e) == 0) {
                        printf("%s\n", c->access_key_id);
                        credentials_unref(c);
                }
                nanosleep(&(struct timespec) { ms / 1000, ms % 1000 * 1000000 }, NULL);
        }
        return r;
}

static int data_key(struct tool *t, struct error *e) {
        const struct pair context[] = { { "model", t->argv[1] }, { "version", "1" } };
        _cleanup_(kms_data_key_done) struct kms_data_key key = {};
        _cleanup_secret_ struct secret *again = NULL;
        _cleanup_free_ char *blob = NULL;
        int r;

        r = kms_generate_data_key(t->kms, t->argv[0], context, 2, &key, e);
        if (r == 0)
                r = kms_decrypt(t->kms, &(struct kms_ciphertext) { key.key_arn, key.blob, key.size, context, 2 },
                                &again, e);
        if (r == 0)
                r = base64_encode(key.blob, key.size, &blob);
        if (r == 0)
                printf("%s %s %s\n", key.key_arn,
                       memcmp(key.plaintext->data, again->data, DATA_KEY_SIZE) == 0 ? "same" : "different", blob);
        return r;
}

static int next_document(void *userdata, uint8_t **ret, size_t *ret_n, struct error *e) {
        struct tool *t = userdata;

        if (t->argc == 0)
                return fail(e, FAILURE_ATTESTATION, -ENODATA, "documents", "no more of them");
        t->argc--;
        return file_read(*t->argv++, FILE_MAX, FAILURE_IO, ret, ret_n, e);
}

static int release(struct tool *t, struct error *e) {
        const struct pair context[] = { { "model", "m" }, { "version", "1" } };
        _cleanup_kms_answer_ struct kms_answer out = {};
        _cleanup_free_ uint8_t *blob = NULL;
        const char *key = t->argv[0];
        size_t n;
        int r;

        r = file_read(t->argv[1], FILE_MAX, FAILURE_IO, &blob, &n, e);
        t->argv += 2;
        t->argc -= 2;
        if (r == 0)
                r = kms_release(t->kms, &(struct kms_ciphertext) { key, blob, n, context, 2 }, next_document, t, &out,
                                e);
        if (r == 0) {
                fprintf(stderr, "%u %s\n", out.attempts, out.request_id);
                r = write_all(STDOUT_FILENO, out.envelope, out.envelope_size);
        }
        return r;
}

static int metadata(struct tool *t, struct error *e) {
        enum lifecycle_state state = LIFECYCLE_NONE;
        _cleanup_free_ char *region = NULL;
        _cleanup_free_ uint8_t *data = NULL;
        struct imds_identity id;
        size_t n;
        int r;

        r = imds_region(t->imds, &region, e);
        if (r == 0)
                r = imds_identity(t->imds, true, &id, e);
        if (r == 0)
                r = imds_lifecycle_state(t->imds, &state, e);
        if (r == 0)
                r = imds_user_data(t->imds, false, &data, &n, e);
        if (r == 0)
                printf("%s %s %s %s %s %zu %s\n", region, id.account, id.instance_id, id.instance_type,
                       state == LIFECYCLE_NONE ? "-" : lifecycle_state_name(state), n, data ? (char *) data : "-");
        return r;
}

static const struct {
        const char *verb;
        int arguments; /* at least */
        int (*run)(struct tool *t, struct error *e);
} verbs[] = {
        { "get", 2, get },           { "head", 2, head },       { "delete", 2, remove_object }, { "put", 3, put },
        { "upload", 4, upload },     { "list", 2, list },       { "range", 5, range },          { "watch", 4, watch },
        { "data-key", 2, data_key }, { "release", 2, release }, { "metadata", 0, metadata },
};

static int run(int argc, char *argv[], struct error *e) {
        bool from_imds = argc > 1 && streq(argv[1], "--imds");
        int skip = from_imds ? 3 : 2, r;
        _cleanup_(tool_done) struct tool t = { .argv = argv + skip, .argc = argc - skip };

        for (size_t i = 0; t.argc >= 0 && i < ELEMENTS(verbs); i++)
                if (streq(argv[skip - 1], verbs[i].verb) && t.argc >= verbs[i].arguments) {
                        r = open_tool(&t, from_imds || streq(verbs[i].verb, "metadata"), e);
                        return r < 0 ? r : verbs[i].run(&t, e);
                }
        return fail(e, FAILURE_USAGE, -EINVAL, argv[0], "not understood");
}

int main(int argc, char *argv[]) {
        struct error e = {};
        int r;

        if (secret_init() < 0)
                return FAILURE_INTERNAL;
        r = run(argc, argv, &e);
        if (getenv("AWS_TOOL_PAUSE")) {
                fflush(stdout);
                while (getchar() != EOF)
                        ;
        }
        if (r < 0) {
                failure_print(stderr, "aws-tool", &e);
                return (int) (e.failure ?: FAILURE_INTERNAL);
        }
        return 0;
}
