/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot policy check: would KMS release the key for this document, and if not, which condition fails? */

#include <getopt.h>

#include "basic/file.h"
#include "keypolicy/evaluate.h"
#include "keypolicy/explain.h"
#include "keypolicy/lint.h"
#include "verbs/command.h"
#include "verbs/document-file.h"
#include "verify/chain.h"

enum { ROOT_FILE_MAX = 64 * 1024 };

static void help(void) {
        puts("Usage: sealboot policy check [OPTION...] POLICY DOCUMENT\n"
             "       sealboot policy check [OPTION...] POLICY --reference FILE\n"
             "       sealboot policy check POLICY\n\n"
             "Evaluate a key policy as KMS would for a request that presents this attestation document, and name every\n"
             "condition that is not met; KMS itself says no more than AccessDenied. With --reference the request presents\n"
             "the PCRs an image is expected to have; with the policy alone only its weaknesses are listed.\n\n"
             "  --principal ARN       who asks: a role, a role session or a user\n"
             "  --context NAME=VALUE  encryption context of the request; repeatable\n"
             "  --action ACTION       default kms:Decrypt\n"
             "  --key ARN             the key that is asked about, where statements name one\n"
             "  --set KEY=VALUE       another condition key, such as aws:SourceVpce=vpce-1; repeatable\n"
             "  --root PEM            root of the document's certificates, for emulators\n"
             "  --secure-boot         PCR7 in the policy is the value of Secure Boot on\n"
             "  --json                print the result as JSON\n"
             "  -h, --help            show this text\n\n"
             "The document is verified as of its own time. Only the key policy is judged: a caller of another account\n"
             "also needs an IAM policy of its own.\n\n"
             "Exit codes: 0 released (or, for the policy alone, no weakness); 73 not released, or not decidable here;\n"
             "72 the document does not verify; 74 not a key policy (or, alone, weak); 2 usage; 61 a file cannot be read.");
}

struct arguments {
        const char *principal, *action, *key;
        const char *reference, *root;
        struct pair {
                const char *text;
                bool context;
        } *pairs;
        size_t n_pairs;
        bool secure_boot, as_json;
};

static void arguments_done(struct arguments *a) {
        free(a->pairs);
}
#define _cleanup_arguments_ _cleanup_(arguments_done)

enum { OPT_PRINCIPAL = 256, OPT_CONTEXT, OPT_ACTION, OPT_KEY, OPT_SET, OPT_ROOT, OPT_REFERENCE, OPT_SECURE_BOOT, OPT_JSON };

static const struct option options[] = {
        { "principal", required_argument, NULL, OPT_PRINCIPAL },
        { "context", required_argument, NULL, OPT_CONTEXT },
        { "action", required_argument, NULL, OPT_ACTION },
        { "key", required_argument, NULL, OPT_KEY },
        { "set", required_argument, NULL, OPT_SET },
        { "root", required_argument, NULL, OPT_ROOT },
        { "reference", required_argument, NULL, OPT_REFERENCE },
        { "secure-boot", no_argument, NULL, OPT_SECURE_BOOT },
        { "json", no_argument, NULL, OPT_JSON },
        { "help", no_argument, NULL, 'h' },
        {},
};

static int add_pair(struct arguments *a, const char *text, bool context, struct error *e) {
        struct pair *larger = reallocarray(a->pairs, a->n_pairs + 1, sizeof *larger);

        if (!larger)
                return fail_oom(e);
        a->pairs = larger;
        a->pairs[a->n_pairs++] = (struct pair) { text, context };
        return 0;
}

static int apply(struct arguments *a, int option, const char *value, struct error *e) {
        switch (option) {
        case OPT_PRINCIPAL:
                a->principal = value;
                return 0;
        case OPT_CONTEXT:
        case OPT_SET:
                return add_pair(a, value, option == OPT_CONTEXT, e);
        case OPT_ACTION:
                a->action = value;
                return 0;
        case OPT_KEY:
                a->key = value;
                return 0;
        case OPT_ROOT:
                a->root = value;
                return 0;
        case OPT_REFERENCE:
                a->reference = value;
                return 0;
        case OPT_SECURE_BOOT:
                a->secure_boot = true;
                return 0;
        case OPT_JSON:
                a->as_json = true;
                return 0;
        default:
                return fail(e, FAILURE_USAGE, -EINVAL, "policy check", "an option is not known");
        }
}

static int add_pairs(const struct arguments *a, bool context, struct request *request, struct error *e) {
        int r = 0;

        for (size_t i = 0; i < a->n_pairs && r == 0; i++) {
                const char *equals = strchr(a->pairs[i].text, '=');
                _cleanup_free_ char *name = equals ? strndup(a->pairs[i].text, (size_t) (equals - a->pairs[i].text)) : NULL;

                if (a->pairs[i].context != context)
                        continue;
                if (!equals || equals == a->pairs[i].text)
                        return fail(e, FAILURE_USAGE, -EINVAL, a->pairs[i].text, "is not NAME=VALUE");
                if (!name)
                        return fail_oom(e);
                r = context ? request_add_context(request, name, equals + 1, e)
                            : request_set(request, name, equals + 1, e);
        }
        return r;
}

static int read_root(const char *path, uint8_t ret[static ROOT_FINGERPRINT_SIZE], struct error *e) {
        _cleanup_free_ uint8_t *pem = NULL;
        size_t n;
        int r;

        if (!path) {
                memcpy(ret, aws_nitro_root, ROOT_FINGERPRINT_SIZE);
                return 0;
        }
        r = file_read(path, ROOT_FILE_MAX, FAILURE_IO, &pem, &n, e);
        return r < 0 ? r : root_from_pem((const char *) pem, n, path, ret, e);
}

/* KMS takes PCRs from a document that verifies, and from no other. */
static int add_document(const struct arguments *a, const char *path, struct request *request, struct error *e) {
        _cleanup_free_ uint8_t *data = NULL;
        uint8_t root[ROOT_FINGERPRINT_SIZE];
        struct document d;
        size_t n;
        int r;

        r = read_root(a->root, root, e);
        if (r == 0)
                r = document_read(path, &data, &n, e);
        if (r == 0)
                r = document_parse(data, n, path, &d, e);
        if (r == 0)
                r = document_authenticate(&d, path, root, (int64_t) (d.timestamp / 1000), e);
        return r < 0 ? r : request_add_document(request, &d, e);
}

static int add_reference(const char *path, struct request *request, struct error *e) {
        _cleanup_references_ struct references references = {};
        int r;

        r = references_read(&references, path, e);
        if (r < 0)
                return r;
        if (references.n != 1)
                return fail(e, FAILURE_USAGE, -EINVAL, path, "holds %zu sets; a request presents one", references.n);
        return request_add_reference(request, &references.items[0], e);
}

static int build_request(const struct arguments *a, const char *document, struct request *request, struct error *e) {
        int r;

        if (!a->principal)
                return fail(e, FAILURE_USAGE, -EINVAL, "policy check", "no --principal was given: who asks?");
        r = request_init(request, a->principal, a->action, a->key, e);
        if (r == 0)
                r = add_pairs(a, true, request, e);
        if (r == 0)
                r = document ? add_document(a, document, request, e) : add_reference(a->reference, request, e);
        return r < 0 ? r : add_pairs(a, false, request, e);
}

static int check_weaknesses(const struct arguments *a, const char *path, const struct findings *findings) {
        _cleanup_json_ json_object *o = NULL;

        if (a->as_json) {
                o = json_object_new_object();
                json_object_object_add(o, "findings", explain_findings_json(findings));
                puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
        } else {
                explain_findings(stdout, findings);
                if (findings->n == 0)
                        printf("No weakness was found in %s.\n", path);
        }
        return findings->n == 0 ? 0 : FAILURE_POLICY;
}

static void print_evaluation(const struct arguments *a, const struct evaluation *v, const struct findings *findings) {
        _cleanup_json_ json_object *o = NULL;

        if (a->as_json) {
                o = explain_evaluation_json(v);
                json_object_object_add(o, "findings", explain_findings_json(findings));
                puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
                return;
        }
        explain_evaluation(stdout, v, a->principal, a->action);
        explain_findings(stdout, findings);
}

int policy_check(int argc, char *argv[]) {
        _cleanup_arguments_ struct arguments a = { .action = "kms:Decrypt" };
        _cleanup_key_policy_ struct key_policy policy = {};
        _cleanup_evaluation_ struct evaluation v = {};
        _cleanup_findings_ struct findings findings = {};
        _cleanup_request_ struct request request = {};
        const char *document;
        struct error e;
        int option, r;

        while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
                if (option == 'h') {
                        help();
                        return 0;
                }
                if (option == '?')
                        return command_usage("policy check", "the options are not understood");
                if (apply(&a, option, optarg, &e) < 0)
                        return command_failed(&e);
        }
        if (argc - optind < 1 || argc - optind > 2 || (argc - optind == 2 && a.reference))
                return command_usage("policy check", "a policy is needed, and one document or --reference");
        document = argc - optind == 2 ? argv[optind + 1] : NULL;
        r = key_policy_read(argv[optind], &policy, &e);
        if (r == 0)
                r = key_policy_lint(&policy, a.secure_boot, &findings, &e);
        if (r < 0)
                return command_failed(&e);
        if (!document && !a.reference)
                return check_weaknesses(&a, argv[optind], &findings);
        r = build_request(&a, document, &request, &e);
        if (r == 0)
                r = evaluate(&policy, &request, &v, &e);
        if (r < 0)
                return command_failed(&e);
        print_evaluation(&a, &v, &findings);
        return v.decision == DECISION_ALLOWED ? 0 : FAILURE_MISMATCH;
}
