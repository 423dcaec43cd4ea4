/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot policy check: whether KMS would release the key for a document, and if not, which condition fails. */

#include "basic/file.h"
#include "keypolicy/evaluate.h"
#include "keypolicy/explain.h"
#include "keypolicy/lint.h"
#include "verbs/command.h"
#include "verbs/document-file.h"
#include "verify/chain.h"

#define NEEDED "a policy is needed, and one document or --reference"

enum { ROOT_FILE_MAX = 64 * 1024 };

struct arguments {
        const char *principal, *action, *key;
        const char *reference, *root;
        struct assignment {
                const char *text;
                bool context;
        } * assignments;
        size_t n_assignments;
        bool secure_boot, json;
};

static void arguments_done(struct arguments *a) {
        free(a->assignments);
}
#define _cleanup_arguments_ _cleanup_(arguments_done)

static int add_assignment(void *arguments, const struct option_row *row, char *value, struct error *e) {
        struct arguments *a = arguments;
        struct assignment *larger = reallocarray(a->assignments, a->n_assignments + 1, sizeof *larger);

        if (!larger)
                return fail_oom(e);
        a->assignments = larger;
        a->assignments[a->n_assignments++] = (struct assignment) { value, row->number };
        return 0;
}

static const struct option_row option_rows[] = {
        { 0, "principal", "ARN", "the caller: a role, a role session or a user",
          OPTION_TEXT(struct arguments, principal) },
        { 0, "reference", "FILE", "reference measurements that the request presents instead of a document",
          OPTION_TEXT(struct arguments, reference) },
        { 0, "context", "NAME=VALUE", "encryption context of the request; repeatable",
          OPTION_CALL_WHOLE(add_assignment, true) },
        { 0, "action", "ACTION", "the action of the request (default: kms:Decrypt)",
          OPTION_TEXT(struct arguments, action) },
        { 0, "key", "ARN", "the key of the request, for statements that name keys",
          OPTION_TEXT(struct arguments, key) },
        { 0, "set", "NAME=VALUE", "another condition key, such as aws:SourceVpce=vpce-1; repeatable",
          OPTION_CALL_WHOLE(add_assignment, false) },
        { 0, "root", "PEM", "root certificate of the document, for emulators", OPTION_TEXT(struct arguments, root) },
        { 0, "secure-boot", NULL, "PCR7 in the policy is the value of Secure Boot on",
          OPTION_FLAG(struct arguments, secure_boot) },
        OPTION_JSON(struct arguments, json),
        OPTION_HELP,
        {},
};

static const struct command_line command_line = {
        .program = PROGRAM " policy check",
        .usage = "Usage: sealboot policy check [OPTION...] POLICY DOCUMENT\n"
                 "       sealboot policy check [OPTION...] POLICY --reference FILE\n"
                 "       sealboot policy check POLICY\n\n"
                 "Evaluate a key policy as KMS would for a request that presents this attestation document, and\n"
                 "name every condition that is not met; KMS itself answers AccessDenied and no more. With\n"
                 "--reference the request presents the PCRs that an image is expected to have. With the policy\n"
                 "alone, only its findings are listed.",
        .rows = option_rows,
        .more = "The document is verified as of its own time. Only the key policy is judged: a caller of another\n"
                "account also needs an IAM policy of its own.\n\n"
                "Exit codes: 0 released (for the policy alone: no finding); 73 not released, or not decidable here;\n"
                "72 the document does not verify; 74 not a key policy (for the policy alone: findings); 2 usage;\n"
                "61 a file cannot be read.",
        .operands_min = 1,
        .operands_max = 2,
        .needed = NEEDED,
};

static int add_assignments(const struct arguments *a, bool context, struct request *request, struct error *e) {
        int r;

        for (size_t i = 0; i < a->n_assignments; i++) {
                const char *equals = strchr(a->assignments[i].text, '=');
                _cleanup_free_ char *name =
                        equals ? strndup(a->assignments[i].text, (size_t) (equals - a->assignments[i].text)) : NULL;

                if (a->assignments[i].context != context)
                        continue;
                if (!equals || equals == a->assignments[i].text)
                        return fail(e, FAILURE_USAGE, -EINVAL, a->assignments[i].text, "it is not NAME=VALUE");
                if (!name)
                        return fail_oom(e);
                r = context ? request_add_context(request, name, equals + 1, e)
                            : request_set(request, name, equals + 1, e);
                if (r < 0)
                        return r;
        }
        return 0;
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

/* KMS takes PCRs only from a document that verifies. */
static int add_document(const struct arguments *a, const char *path, struct request *request, struct error *e) {
        _cleanup_free_ uint8_t *data = NULL;
        uint8_t root[ROOT_FINGERPRINT_SIZE];
        struct document d;
        size_t n;
        int r;

        r = read_root(a->root, root, e);
        if (r < 0)
                return r;
        r = document_read(path, &data, &n, e);
        if (r < 0)
                return r;
        r = document_parse(data, n, path, &d, e);
        if (r < 0)
                return r;
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
                return fail(e, FAILURE_USAGE, -EINVAL, path,
                            "it holds %zu sets of measurements, and a request presents one", references.n);
        return request_add_reference(request, &references.items[0], e);
}

static int build_request(const struct arguments *a, const char *document, struct request *request, struct error *e) {
        int r;

        if (!a->principal)
                return fail(e, FAILURE_USAGE, -EINVAL, "policy check",
                            "no --principal was given: the caller of the request");
        r = request_init(request, a->principal, a->action, a->key, e);
        if (r < 0)
                return r;
        r = add_assignments(a, true, request, e);
        if (r < 0)
                return r;
        r = document ? add_document(a, document, request, e) : add_reference(a->reference, request, e);
        return r < 0 ? r : add_assignments(a, false, request, e);
}

/* Of the policy alone. */
static int print_findings(const struct arguments *a, const char *path, const struct findings *findings,
                          struct error *e) {
        _cleanup_json_ json_object *o = NULL;

        if (a->json) {
                o = json_object_new_object();
                json_object_object_add(o, "findings", explain_findings_json(findings));
                return command_print_json(o, JSON_C_TO_STRING_PRETTY, e);
        }
        explain_findings(stdout, findings);
        if (findings->n == 0)
                printf("No finding in %s.\n", path);
        return 0;
}

static int print_evaluation(const struct arguments *a, const struct evaluation *v, const struct findings *findings,
                            struct error *e) {
        _cleanup_json_ json_object *o = NULL;

        if (a->json) {
                o = explain_evaluation_json(v);
                json_object_object_add(o, "findings", explain_findings_json(findings));
                return command_print_json(o, JSON_C_TO_STRING_PRETTY, e);
        }
        explain_evaluation(stdout, v, a->principal, a->action);
        explain_findings(stdout, findings);
        return 0;
}

static int check_alone(const struct arguments *a, const char *path, const struct findings *findings) {
        struct error e;

        if (print_findings(a, path, findings, &e) < 0)
                return command_failed(&e);
        return findings->n == 0 ? 0 : FAILURE_POLICY;
}

static int check_request(const struct arguments *a, const struct key_policy *policy, const char *document,
                         const struct findings *findings) {
        _cleanup_evaluation_ struct evaluation v = {};
        _cleanup_request_ struct request request = {};
        struct error e;

        if (build_request(a, document, &request, &e) < 0 || evaluate(policy, &request, &v, &e) < 0 ||
            print_evaluation(a, &v, findings, &e) < 0)
                return command_failed(&e);
        return v.decision == DECISION_ALLOWED ? 0 : FAILURE_MISMATCH;
}

int policy_check(int argc, char *argv[]) {
        _cleanup_arguments_ struct arguments a = { .action = "kms:Decrypt" };
        _cleanup_key_policy_ struct key_policy policy = {};
        _cleanup_findings_ struct findings findings = {};
        const char *path, *document;
        struct operands operands;
        struct error e;
        int code;

        if (!command_parse(&command_line, argc, argv, &a, &operands, &code))
                return code;
        path = operands.items[0];
        document = operands.items[1]; /* NULL: there is none */
        if (document && a.reference)
                return command_usage("policy check", NEEDED);
        if (key_policy_read(path, &policy, &e) < 0 || key_policy_lint(&policy, a.secure_boot, &findings, &e) < 0)
                return command_failed(&e);
        return document || a.reference ? check_request(&a, &policy, document, &findings)
                                       : check_alone(&a, path, &findings);
}
