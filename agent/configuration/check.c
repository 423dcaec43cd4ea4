/* SPDX-License-Identifier: Apache-2.0 */

/* What a check of the configuration reads from other files, and what only a boot can find. */

#include <fcntl.h>
#include <linux/openat2.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/syscall.h>

#include "configuration/config.h"

/* `path` is absolute. Below a root its symbolic links are followed as that root's own programs would follow them. */
static int open_below(const char *root, const char *path) {
        struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NOCTTY, .resolve = RESOLVE_IN_ROOT };
        _cleanup_close_ int directory = -1;
        long fd;

        if (!root)
                return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        directory = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (directory < 0)
                return -1;
        fd = syscall(SYS_openat2, directory, path, &how, sizeof how);
        return (int) fd;
}

static void info_free(STACK_OF(X509_INFO) * infos) {
        sk_X509_INFO_pop_free(infos, X509_INFO_free);
}
DEFINE_CLEANUP(STACK_OF(X509_INFO) *, info_free, info_freep)
DEFINE_CLEANUP(BIO *, BIO_free_all, bio_freep)

int config_check_bundle(const char *path, const char *root, struct error *e) {
        _cleanup_(info_freep) STACK_OF(X509_INFO) *infos = NULL;
        _cleanup_(bio_freep) BIO *bio = NULL;
        FILE *f = NULL;
        size_t found = 0;
        int fd;

        fd = open_below(root, path);
        if (fd < 0)
                return fail(e, FAILURE_CONFIG, -errno, path, "\"ca_bundle\" cannot be opened%s%s: %m",
                            root ? " below " : "", root ?: "");
        f = fdopen(fd, "re");
        if (!f) {
                close(fd);
                return fail_oom(e);
        }
        bio = BIO_new_fp(f, BIO_CLOSE);
        if (!bio) {
                fclose(f);
                return fail_oom(e);
        }
        /* As libcurl's TLS library will read it. The passphrase keeps OpenSSL from asking for one. */
        ERR_clear_error();
        infos = PEM_X509_INFO_read_bio(bio, NULL, NULL, (void *) "");
        if (!infos)
                return fail(e, FAILURE_CONFIG, -EBADMSG, path,
                            "\"ca_bundle\" has something that is not a certificate: %s",
                            ERR_reason_error_string(ERR_peek_last_error()) ?: "it cannot be read");
        for (int i = 0; i < sk_X509_INFO_num(infos); i++)
                found += sk_X509_INFO_value(infos, i)->x509 != NULL;
        if (found == 0)
                return fail(e, FAILURE_CONFIG, -ENOENT, path,
                            "\"ca_bundle\" holds no certificate (PEM, -----BEGIN CERTIFICATE-----)");
        return 0;
}

void config_print_rest(const struct config *c, FILE *f) {
        fprintf(f,
                "What only a boot can tell:\n"
                "  %s must be a tmpfs that the agent can write to, with room for the model\n"
                "  the directories of %s and %s must be there, and the agent must be able to write to them\n"
                "  the TPM (%s) must be a NitroTPM, with PCR 15 all zero\n",
                c->model_directory, c->report, c->measurement_log, c->tcti ?: "/dev/tpmrm0 or /dev/tpm0");
        fprintf(f,
                "  the metadata service%s%s, KMS%s%s and S3%s%s must answer, and allow the instance's role what it "
                "needs\n",
                c->endpoint_imds ? " at " : "", c->endpoint_imds ?: "", c->endpoint_kms ? " at " : "",
                c->endpoint_kms ?: "", c->endpoint_s3 ? " at " : "", c->endpoint_s3 ?: "");
        for (size_t i = 0; i < c->n_inputs; i++)
                if (c->inputs[i].store_url)
                        fprintf(f, "  the key store %s must answer\n", c->inputs[i].store_url);
        if (c->hook_name)
                fprintf(f, "  the Auto Scaling group %s must have the lifecycle hook %s\n", c->hook_group,
                        c->hook_name);
        if (!c->several && !c->inputs[0].model)
                fprintf(f, "  user data must name the model, as \"model\" is not set\n");
        for (size_t i = 0; c->several && i < c->n_inputs; i++)
                if (c->inputs[i].required && !c->inputs[i].model)
                        fprintf(f, "  user data must name the place of the input %s, as its \"model\" is not set\n",
                                c->inputs[i].name);
}
