/* SPDX-License-Identifier: Apache-2.0 */

/* The measured configuration, and user data beside it. A configuration that is accepted has what a boot counts on;
 * launch parameters that are accepted name a bucket. The first NUL byte, if any, parts the two. */

#include "configuration/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_launch(const char *text, size_t n, const struct config *c) {
        _cleanup_(launch_done) struct launch l = {};
        struct error e = {};

        if (launch_parse(text, n, c, &l, &e) < 0) {
                if (e.failure == FAILURE_NONE || l.bucket || l.key || l.hook_name)
                        abort();
                return;
        }
        if (!l.bucket || !l.key || !l.hook_group != !l.hook_name)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char fallback[] = "{\"discovery\": true}";
        _cleanup_(config_freep) struct config *c = NULL;
        _cleanup_free_ char *text = malloc(size + 1);
        struct error e = {};
        size_t n;

        if (!text)
                return 0;
        memcpy(text, data, size);
        text[size] = '\0';
        n = strlen(text);
        if (config_parse(text, n, "fuzz", &c, &e) < 0) {
                if (e.failure == FAILURE_NONE || config_parse(fallback, strlen(fallback), "fuzz", &c, &e) < 0)
                        abort();
        }
        if ((c->n_keys == 0) != c->discovery || c->model_directory[0] != '/' || c->kms_deadline_ms < 1000)
                abort();
        fuzz_launch(text, n, c);
        if (n < size)
                fuzz_launch(text + n + 1, size - n - 1, c);
        return 0;
}
