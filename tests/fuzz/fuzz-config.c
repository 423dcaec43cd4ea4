/* SPDX-License-Identifier: Apache-2.0 */

/* The measured configuration, and user data beside it. A configuration that is accepted has what a boot counts on;
 * launch parameters that are accepted name a bucket for each input that is required. The first NUL byte, if any, parts
 * the two. */

#include "configuration/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An input that is required has a place, and a place has a bucket and a key. */
static bool places_hold(const struct launch *l, const struct config *c) {
        for (size_t i = 0; i < INPUTS_MAX; i++) {
                const struct place *p = &l->places[i];

                if (!p->bucket != !p->key || (i >= c->n_inputs && p->bucket) ||
                    (i < c->n_inputs && c->inputs[i].required && !p->bucket))
                        return false;
        }
        return true;
}

static bool is_zero(const void *data, size_t n) {
        const uint8_t *bytes = data;

        while (n > 0 && bytes[n - 1] == 0)
                n--;
        return n == 0;
}

static void fuzz_launch(const char *text, size_t n, const struct config *c) {
        _cleanup_(launch_done) struct launch l = {};
        struct error e = {};

        if (launch_parse(text, n, c, &l, &e) < 0) {
                if (e.failure == FAILURE_NONE || !is_zero(&l, sizeof l))
                        abort();
                return;
        }
        if (!places_hold(&l, c) || !l.hook_group != !l.hook_name)
                abort();
}

/* What a boot counts on, of each input. */
static bool inputs_hold(const struct config *c) {
        bool required = false;

        for (size_t i = 0; i < c->n_inputs; i++) {
                const struct input *in = &c->inputs[i];

                required |= in->required;
                if ((in->n_keys == 0) != in->discovery || !in->name != !c->several || !in->owner != !c->several ||
                    !in->directory != !c->several || (c->several && model_path_problem(in->directory)) ||
                    !in->store_url != !in->store_bundle ||
                    (in->store_url && strncmp(in->store_url, "https://", strlen("https://")) != 0))
                        return false;
        }
        return required && c->n_inputs >= 1 && c->n_inputs <= INPUTS_MAX;
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
        if (!inputs_hold(c) || c->model_directory[0] != '/' || c->kms_deadline_ms < 1000)
                abort();
        fuzz_launch(text, n, c);
        if (n < size)
                fuzz_launch(text + n + 1, size - n - 1, c);
        return 0;
}
