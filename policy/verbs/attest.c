/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot attest: a fresh attestation document, with the flags of AWS's nitro-tpm-attest. */

#include "basic/encode.h"
#include "basic/file.h"
#include "evidence/nitrotpm.h"
#include "verbs/command.h"

enum { BUSY_WAIT_MS = 10000 };

enum form { FORM_RAW, FORM_HEX, FORM_JSON };

struct arguments {
        const char *user_data, *nonce, *public_key, *tcti, *output;
        enum form form;
};

static int set_form(void *field, const struct option_row *row, char *value, struct error *e) {
        enum form *form = field;

        (void) value;
        if (*form != FORM_RAW)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--hex and --json exclude each other");
        *form = streq(row->name, "hex") ? FORM_HEX : FORM_JSON;
        return 0;
}

static const struct option_row option_rows[] = {
        { 'u', "user-data", "FILE", "include this file's bytes (at most 1024; '-' reads standard input)",
          OPTION_TEXT(struct arguments, user_data) },
        { 'n', "nonce", "FILE", "likewise, as the nonce that a verifier gave", OPTION_TEXT(struct arguments, nonce) },
        { 'p', "public-key", "FILE", "likewise, a public key in DER, to which AWS KMS encrypts its answer",
          OPTION_TEXT(struct arguments, public_key) },
        { 'o', "output", "FILE", "write there instead", OPTION_TEXT(struct arguments, output) },
        { 0, "hex", NULL, "write hex digits", OPTION_CALL(set_form, struct arguments, form) },
        { 0, "json", NULL,
          "write JSON that is KMS's Recipient parameter:\n"
          "aws kms decrypt --recipient \"$(sealboot attest -p key.der --json)\" ...",
          OPTION_CALL(set_form, struct arguments, form) },
        { 0, "tcti", "TCTI", "the TPM, as in tpm2-tools; otherwise $TPM2TOOLS_TCTI, or this machine's own",
          OPTION_TEXT(struct arguments, tcti) },
        OPTION_HELP,
        {},
};

static const struct command_line command_line = {
        .program = PROGRAM " attest",
        .usage = "Usage: sealboot attest [OPTION...]\n\n"
                 "Ask this instance's NitroTPM for a fresh attestation document and write it to standard output.",
        .rows = option_rows,
        .more = "Exit codes: 0 written; 20 no TPM; 21 the TPM stayed busy; 22 a TPM command failed; 24 no document;\n"
                "2 usage; 61 a file cannot be read or written.\n\n"
                "Example: head -c 32 /dev/urandom > nonce; sealboot attest -n nonce -o document.cbor;\n"
                "         sealboot verify --nonce @nonce document.cbor",
};

static int read_field(const char *path, uint8_t **ret, size_t *ret_n, struct error *e) {
        int r;

        if (!path)
                return 0;
        r = file_read(path, ATTESTATION_FIELD_MAX, FAILURE_IO, ret, ret_n, e);
        if (r == -EFBIG)
                fail_advice(e, "An attestation document holds at most 1024 bytes of each; include a digest of more.");
        return r;
}

static int read_public_key(const char *path, uint8_t **ret, size_t *ret_n, struct error *e) {
        static const char pem[] = "-----BEGIN";
        int r;

        r = read_field(path, ret, ret_n, e);
        if (r < 0 || !path)
                return r;
        if (*ret_n > strlen(pem) && memcmp(*ret, pem, strlen(pem)) == 0) {
                fail(e, FAILURE_USAGE, -EINVAL, path, "this is PEM; KMS wants the public key in DER");
                fail_advice(e, "openssl pkey -pubin -in %.200s -outform DER -out key.der", path);
                return -EINVAL;
        }
        return 0;
}

/* malloc'ed text without a line's end. */
static int encode(enum form form, const uint8_t *document, size_t n, char **ret) {
        _cleanup_free_ char *base64 = NULL;
        char *text;

        if (form == FORM_HEX) {
                text = malloc(2 * n + 1);
                if (!text)
                        return -ENOMEM;
                hex_encode(document, n, text);
        } else if (base64_encode(document, n, &base64) < 0 ||
                   asprintf(&text,
                            "{\"KeyEncryptionAlgorithm\": \"RSAES_OAEP_SHA_256\", \"AttestationDocument\": \"%s\"}",
                            base64) < 0)
                return -ENOMEM;
        *ret = text;
        return 0;
}

static int write_document(const struct arguments *o, const uint8_t *document, size_t n, struct error *e) {
        _cleanup_free_ char *text = NULL;
        const void *data = document;
        int r;

        if (o->form != FORM_RAW) {
                r = encode(o->form, document, n, &text);
                if (r < 0)
                        return fail_oom(e);
                n = strlen(text);
                text[n++] = '\n'; /* in place of the NUL */
                data = text;
        }
        if (o->output)
                return file_write(o->output, data, n, 0644, e);
        fwrite(data, 1, n, stdout); /* main() checks that it arrives */
        return 0;
}

static int attest(const struct arguments *o, struct error *e) {
        _cleanup_free_ uint8_t *user_data = NULL, *nonce = NULL, *public_key = NULL, *document = NULL;
        struct attestation_request q = { .user_data = NULL };
        _cleanup_tpm_ struct tpm *t = NULL;
        size_t size;
        int r;

        r = read_field(o->user_data, &user_data, &q.user_data_size, e);
        if (r < 0)
                return r;
        r = read_field(o->nonce, &nonce, &q.nonce_size, e);
        if (r < 0)
                return r;
        r = read_public_key(o->public_key, &public_key, &q.public_key_size, e);
        if (r < 0)
                return r;
        r = tpm_open(o->tcti && o->tcti[0] ? o->tcti : getenv("TPM2TOOLS_TCTI"), BUSY_WAIT_MS, &t, e);
        if (r < 0)
                return r;
        q.user_data = user_data;
        q.nonce = nonce;
        q.public_key = public_key;
        r = nitrotpm_attest(t, &q, &document, &size, e);
        return r < 0 ? r : write_document(o, document, size, e);
}

int cmd_attest(int argc, char *argv[]) {
        struct arguments a = {};
        struct operands none;
        struct error e;
        int code;

        if (!command_parse(&command_line, argc, argv, &a, &none, &code))
                return code;
        if (!a.output && a.form == FORM_RAW && isatty(STDOUT_FILENO))
                return command_usage("attest", "a document is binary and this is a terminal: use --output or --hex");
        tpm_quiet();
        return attest(&a, &e) < 0 ? command_failed(&e) : 0;
}
