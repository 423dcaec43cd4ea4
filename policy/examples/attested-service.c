/* SPDX-License-Identifier: Apache-2.0 */

/* A service that answers attested instances only: it checks the document that came with a request, and then knows a
 * public key whose private half that instance alone holds.
 *
 *     cc attested-service.c $(pkg-config --cflags --libs sealboot-verify)
 *     ./a.out REFERENCE.json NONCE DOCUMENT [ROOT.pem]  */

#include <sealboot-verify.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t read_file(const char *path, char *buffer, size_t room) {
        FILE *f = fopen(path, "rb");
        size_t n = f ? fread(buffer, 1, room, f) : 0;

        if (!f || ferror(f) || n == room) {
                fprintf(stderr, "cannot read %s\n", path);
                exit(1);
        }
        fclose(f);
        return n;
}

int main(int argc, char *argv[]) {
        static char reference[65536], nonce[1025], document[32769], root[65536];
        struct sealboot_verifier *v = sealboot_verifier_new();
        size_t size;
        int r;

        if (!v || argc < 4)
                return 1;
        size = read_file(argv[1], reference, sizeof reference);
        r = sealboot_verifier_add_reference(v, reference, size, argv[1]);
        if (r == 0)
                r = sealboot_verifier_require_whole_reference(v, 1);
        if (r == 0)
                r = sealboot_verifier_expect_nonce(v, nonce, read_file(argv[2], nonce, sizeof nonce));
        if (r == 0)
                r = sealboot_verifier_set_max_age(v, 300);
        if (r == 0 && argc > 4) {
                size = read_file(argv[4], root, sizeof root);
                r = sealboot_verifier_set_root(v, root, size);
        }
        if (r == 0)
                r = sealboot_verifier_run(v, document, read_file(argv[3], document, sizeof document));
        if (r == 0 && sealboot_verifier_public_key(v, &size))
                printf("%s may be answered: encrypt to its key of %zu bytes\n", sealboot_verifier_module_id(v), size);
        else
                fprintf(stderr, "refused: %s\n", r == 0 ? "no public key" : sealboot_verifier_error(v));
        sealboot_verifier_free(v);
        return r == 0 ? 0 : 1;
}
