/* SPDX-License-Identifier: Apache-2.0 */

/* Records of CloudTrail, compressed or not, through the judgement and all that is shown of it. */

#include "audit/audit-view.h"
#include "audit/gunzip.h"
#include "printable.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PLAIN_MAX = 1024 * 1024 };

static void show(const struct trail *t, const struct judgement *j) {
        char *text = NULL;
        size_t n = 0;
        FILE *f = open_memstream(&text, &n);

        audit_print(f, t, j, true);
        audit_print(f, t, j, false);
        fclose(f);
        expect_printable(text);
        json_object_put(audit_json(t, j));
}

/* Whichever key is asked for, no call is in two minds about it. */
static void ask_for_key(const struct trail *t, const struct accepted_uses *uses) {
        const char *key = "arn:aws:kms:us-west-2:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab";
        struct accepted_uses of_key = *uses;
        _cleanup_judgement_ struct judgement j = {};
        struct error e = {};
        size_t n = 0;

        of_key.keys = &key;
        of_key.n_keys = 1;
        for (size_t i = 0; i < t->n; i++)
                n += call_is_of_key(&t->calls[i], key);
        if (judge_trail(t, &of_key, &j, &e) < 0 || j.n != n)
                abort();
}

static int parse(struct trail *t, const uint8_t *data, size_t size, struct error *e) {
        _cleanup_free_ uint8_t *plain = NULL;
        size_t n;
        int r;

        if (!is_gzip(data, size)) {
                plain = malloc(size + 1); /* with a NUL after it, as from a file */
                if (!plain)
                        abort();
                memcpy(plain, data, size);
                plain[size] = 0;
                return trail_parse(t, (char *) plain, size, "fuzz", e);
        }
        r = gunzip(data, size, PLAIN_MAX, "fuzz", &plain, &n, e);
        return r < 0 ? r : trail_parse(t, (char *) plain, n, "fuzz", e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct reference image = { .source = (char *) "image", .present = 1u << 4 };
        const struct references images = { &image, 1 };
        const char *role = "arn:aws:iam::111122223333:role/release";
        const struct accepted_uses uses = {
                .images = &images, .openers = &role, .n_openers = 1, .sealers = &role, .n_sealers = 1
        };
        _cleanup_judgement_ struct judgement j = {};
        _cleanup_trail_ struct trail t = {};
        struct error e = {};

        memset(image.pcr[4], 0x44, SHA384_SIZE);
        if (parse(&t, data, size, &e) < 0) {
                if (e.failure != FAILURE_USAGE || !e.reason[0])
                        abort();
                return 0;
        }
        trail_sort(&t);
        if (judge_trail(&t, &uses, &j, &e) < 0)
                abort();
        show(&t, &j);
        ask_for_key(&t, &uses);
        return 0;
}
