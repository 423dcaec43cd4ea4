/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/verifier-options.h"

#include "basic/file.h"
#include "verbs/command.h"
#include "verify/reference.h"

int verifier_refused(struct sealboot_verifier *v, int r, struct error *e) {
        return fail(e, r == -ENOMEM ? FAILURE_INTERNAL : FAILURE_USAGE, r, "", "%s", sealboot_verifier_error(v));
}

int verifier_add_file(void *field, const struct option_row *row, char *path, struct error *e) {
        struct sealboot_verifier *v = *(struct sealboot_verifier **) field;
        _cleanup_free_ uint8_t *text = NULL;
        size_t n;
        int r;

        r = file_read(path, REFERENCE_FILE_MAX, FAILURE_IO, &text, &n, e);
        if (r < 0)
                return r;
        r = streq(row->name, "root") ? sealboot_verifier_set_root(v, (const char *) text, n)
                                     : sealboot_verifier_add_reference(v, (const char *) text, n, path);
        return r < 0 ? verifier_refused(v, r, e) : 0;
}

int verifier_add_digest(void *field, const struct option_row *row, char *text, struct error *e) {
        struct sealboot_verifier *v = *(struct sealboot_verifier **) field;
        uint8_t digest[SEALBOOT_DIGEST_SIZE];
        int r;

        (void) row;
        if (command_digest(text, digest) < 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "",
                            "a model digest is sha384: and 96 hex digits, or these alone, not '%s'", text);
        r = sealboot_verifier_add_model_digest(v, digest);
        return r < 0 ? verifier_refused(v, r, e) : 0;
}

int verifier_allow_partial_reference(void *field, const struct option_row *row, char *value, struct error *e) {
        (void) row;
        (void) value;
        (void) e;
        sealboot_verifier_require_whole_reference(*(struct sealboot_verifier **) field, 0);
        return 0;
}
