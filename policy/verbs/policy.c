/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot policy: writes key policies; `policy check` and `policy diff` have files of their own. */

#include "aws/s3.h"
#include "configuration/value.h"
#include "keypolicy/compose.h"
#include "keypolicy/key-policy.h"
#include "measure/inputs.h"
#include "owner/remote-name.h"
#include "verbs/command.h"

struct arguments {
        struct composition c;
        const char *target;
        char *bucket, *report_bucket, *report_prefix;
        uint8_t pcr2[SHA384_SIZE];
        bool has_pcr2, json;
};

static void arguments_done(struct arguments *a) {
        references_done(&a->c.images);
        free(a->c.principals.items);
        free(a->c.admins.items);
        free(a->c.sealers.items);
        free(a->c.openers.items);
        free(a->c.context.items);
        free(a->bucket);
        free(a->report_bucket);
        free(a->report_prefix);
}
#define _cleanup_arguments_ _cleanup_(arguments_done)

static int add_name(void *field, const struct option_row *row, char *name, struct error *e) {
        struct names *to = field;
        const char **larger = reallocarray(to->items, to->n + 1, sizeof *larger);

        (void) row;
        if (!larger)
                return fail_oom(e);
        to->items = larger;
        to->items[to->n++] = name;
        return 0;
}

static int set_model(void *arguments, const struct option_row *row, char *url, struct error *e) {
        struct arguments *a = arguments;
        char advice[REMOTE_NAME_ADVICE_MAX];
        const char *slash;

        (void) row;
        if (remote_name(url, advice) || strncmp(url, "s3://", 5) != 0 || !url[5] || url[5] == '/') {
                fail(e, FAILURE_USAGE, -EINVAL, url, "it is not s3://BUCKET/PREFIX/");
                if (remote_name(url, advice))
                        fail_advice(e, "%s", advice);
                return -EINVAL;
        }
        slash = strchrnul(url + 5, '/');
        free(a->bucket);
        a->bucket = strndup(url + 5, (size_t) (slash - url - 5));
        if (!a->bucket)
                return fail_oom(e);
        a->c.bucket = a->bucket;
        a->c.prefix = *slash ? slash + 1 : "";
        return 0;
}

static int set_report_to(void *arguments, const struct option_row *row, char *url, struct error *e) {
        struct arguments *a = arguments;
        struct error why = {};
        char *bucket, *prefix;

        (void) row;
        /* As the agent checks its own "report_to". */
        if (value_prefix(url, &why) < 0)
                return fail(e, FAILURE_USAGE, -EINVAL, url, "--report-to: %s", why.reason);
        if (s3_parse_uri(url, FAILURE_USAGE, &bucket, &prefix, e) < 0)
                return -EINVAL;
        free(a->report_bucket);
        free(a->report_prefix);
        a->c.report_bucket = a->report_bucket = bucket;
        a->c.report_prefix = a->report_prefix = prefix;
        return 0;
}

static int set_pcr2(void *arguments, const struct option_row *row, char *value, struct error *e) {
        struct arguments *a = arguments;

        (void) row;
        a->has_pcr2 = true;
        return parse_pcr2(value, a->pcr2, e);
}

static const struct option_row option_rows[] = {
        { 0, "reference", "FILE", "reference measurements of an image that may open the model; repeatable",
          OPTION_CALL(command_reference, struct arguments, c.images) },
        { 0, "principal", "ARN", "role of the instances, in any account; repeatable",
          OPTION_CALL(add_name, struct arguments, c.principals) },
        { 0, "admin", "ARN", "administrator of the key and its policy, who cannot use it; repeatable",
          OPTION_CALL(add_name, struct arguments, c.admins) },
        { 0, "sealer", "ARN", "role or user that may seal models under the key; repeatable",
          OPTION_CALL(add_name, struct arguments, c.sealers) },
        { 0, "opener", "ARN",
          "role or user that may open models with `sealboot unseal`, without attestation; repeatable",
          OPTION_CALL(add_name, struct arguments, c.openers) },
        { 0, "context", "NAME=VALUE", "encryption context that the model was sealed with; repeatable",
          OPTION_CALL(add_name, struct arguments, c.context) },
        { 0, "one-shot", NULL, "release only while PCR15 is zero: before a model is loaded, once per boot",
          OPTION_FLAG(struct arguments, c.one_shot) },
        { 0, "secure-boot", NULL, "the references' PCR7 is of Secure Boot on, and may stand in for PCR2 and PCR12",
          OPTION_FLAG(struct arguments, c.secure_boot) },
        { 0, "pcr2", "none|VALUE",
          "PCR2 for references without one, as nitro-tpm-pcr-compute writes them: none where no option ROMs are "
          "loaded, otherwise 96 hex digits",
          OPTION_CALL_WHOLE(set_pcr2, 0) },
        { 0, "deny-unattested", NULL, NULL,
          OPTION_NO_FLAG(struct arguments, c.allow_unattested) }, /* accepted: it is the default */
        { 0, "no-deny-unattested", NULL,
          "leave out the statements that deny grants, and requests of any other image, to everyone, administrators "
          "included",
          OPTION_FLAG(struct arguments, c.allow_unattested) },
        OPTION_HEADING("Output:"),
        { 0, "for", "key|role|bucket", "which policy: the key's (default), the instance role's, or the model bucket's",
          OPTION_TEXT(struct arguments, target) },
        { 0, "key", "ARN", "the KMS key, for the role's policy", OPTION_TEXT(struct arguments, c.key) },
        { 0, "model", "s3://BUCKET/PREFIX/", "the sealed models, for the role's and the bucket's policy",
          OPTION_CALL_WHOLE(set_model, 0) },
        { 0, "report-to", "s3://BUCKET/PREFIX/", "where instances store their boot reports, for the role's policy",
          OPTION_CALL_WHOLE(set_report_to, 0) },
        { 0, "auto-scaling-group", "NAME",
          "the group whose lifecycle hook the instances complete, for the role's policy",
          OPTION_TEXT(struct arguments, c.group) },
        { 0, "json", NULL, "print one object with every policy for which there are enough options, on one line",
          OPTION_FLAG(struct arguments, json) },
        OPTION_HELP,
        {},
};

static const struct command_line command_line = {
        .program = PROGRAM " policy",
        .usage = "Usage: sealboot policy [OPTION...]             write a policy\n"
                 "       sealboot policy check POLICY DOCUMENT   would KMS release the key, and if not, why?\n"
                 "       sealboot policy diff BEFORE AFTER       what changes in meaning\n\n"
                 "Write the KMS key policy that releases a model's key to attested images, and denies it to\n"
                 "everything else, administrators included. A policy with findings is refused: an administrator\n"
                 "or sealer in an account that the key is released to, wildcard principals, PCR4 without PCR2 or\n"
                 "PCR12, firmware PCRs.",
        .rows = option_rows,
        .more = "Create the key in an account of the model's owner: an administrator of the key's account can\n"
                "rewrite the policy.\n\n"
                "Example: sealboot policy --reference image.json --principal arn:aws:iam::222222222222:role/inference "
                "\\\n"
                "           --admin arn:aws:iam::111111111111:role/owner --context model=llama --one-shot > "
                "key-policy.json\n"
                "         aws kms put-key-policy --key-id ... --policy-name default --policy file://key-policy.json",
        .operands_max = OPERANDS_ANY, /* any is refused below, with its own words */
};

/* --pcr2 completes references that have no PCR2. A reference with another PCR2 was measured for other instances. */
static int add_pcr2(struct arguments *a, struct error *e) {
        for (size_t i = 0; a->has_pcr2 && i < a->c.images.n; i++) {
                struct reference *r = &a->c.images.items[i];

                if (!reference_is_nitrotpm(r))
                        return fail(e, FAILURE_USAGE, -EINVAL, r->source,
                                    "it measures an enclave, which has no UEFI firmware for --pcr2");
                if (reference_has(r, PCR_DRIVERS) && memcmp(r->pcr[PCR_DRIVERS], a->pcr2, SHA384_SIZE) != 0) {
                        fail(e, FAILURE_USAGE, -EINVAL, r->source, "it has another PCR2 than --pcr2");
                        fail_advice(e, "Measure the image again with `sealboot measure --pcr2`, once for each kind of "
                                       "instance.");
                        return -EINVAL;
                }
                reference_set(r, PCR_DRIVERS, a->pcr2);
        }
        return 0;
}

typedef int (*composer)(const struct composition *c, json_object **ret, struct error *e);

static const struct {
        const char *name;
        composer compose;
} targets[] = {
        { "key", compose_key_policy },
        { "role", compose_role_policy },
        { "bucket", compose_bucket_policy },
};

/* Every policy for which there are enough options; the others are null. A policy that is refused is an error. */
static int print_all(const struct composition *c) {
        _cleanup_json_ json_object *o = json_object_new_object();
        struct error e;

        for (size_t i = 0; i < ELEMENTS(targets); i++) {
                json_object *policy = NULL;
                int r;

                r = targets[i].compose(c, &policy, &e);
                if (r < 0 && (i == 0 || e.failure != FAILURE_USAGE))
                        return command_failed(&e);
                json_object_object_add(o, targets[i].name, policy);
        }
        return command_print_json(o, JSON_C_TO_STRING_PLAIN, &e) < 0 ? command_failed(&e) : 0;
}

/* Leaves out white space if the policy is too long for KMS with it. */
static int print_policy(json_object *o, struct error *e) {
        const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);

        if (!text || strlen(text) < KEY_POLICY_MAX)
                return command_print_json(o, JSON_C_TO_STRING_PRETTY, e);
        fprintf(stderr,
                "sealboot policy: the policy is written without white space, to stay within the %d bytes that KMS "
                "takes\n",
                KEY_POLICY_MAX);
        return command_print_json(o, JSON_C_TO_STRING_PLAIN, e);
}

static int print_one(const struct arguments *a) {
        _cleanup_json_ json_object *o = NULL;
        struct error e;

        for (size_t i = 0; i < ELEMENTS(targets); i++) {
                if (!streq(targets[i].name, a->target))
                        continue;
                if (targets[i].compose(&a->c, &o, &e) < 0 || print_policy(o, &e) < 0)
                        return command_failed(&e);
                return 0;
        }
        return command_usage("policy", "--for takes key, role or bucket, not '%s'", a->target);
}

/* References of nitro-tpm-pcr-compute do not tell the state of Secure Boot. */
static void warn_of_secure_boot(const struct composition *c) {
        for (size_t i = 0; c->secure_boot && i < c->images.n; i++)
                if (c->images.items[i].secure_boot == SECURE_BOOT_NOT_SAID &&
                    reference_needs_secure_boot(&c->images.items[i]))
                        fprintf(stderr,
                                "sealboot policy: %s does not say whether its PCR7 is of Secure Boot on or off; "
                                "--secure-boot is trusted\n",
                                c->images.items[i].source);
}

/* The stub takes credentials and an SMBIOS command line even with Secure Boot on, and only PCR12 records them. */
static void warn_of_pcr12(const struct composition *c) {
        for (size_t i = 0; i < c->images.n; i++)
                if (reference_is_nitrotpm(&c->images.items[i]) && reference_has(&c->images.items[i], 4) &&
                    !reference_has(&c->images.items[i], 12))
                        fprintf(stderr,
                                "sealboot policy: %s has no PCR12, which records credentials and command lines that a "
                                "stub takes even with Secure Boot on; measure the image again and bind it\n",
                                c->images.items[i].source);
}

/* A machine whose firmware does not measure leaves zeros. */
static void warn_of_zeros(const struct composition *c) {
        static const uint8_t zeros[SHA384_SIZE];

        for (size_t i = 0; i < c->images.n; i++)
                for (unsigned pcr = 0; pcr <= PCR_FIRMWARE_LAST && reference_is_nitrotpm(&c->images.items[i]); pcr++)
                        if (reference_has(&c->images.items[i], pcr) &&
                            memcmp(c->images.items[i].pcr[pcr], zeros, sizeof zeros) == 0)
                                fprintf(stderr,
                                        "sealboot policy: %s has zeros in PCR%u, which firmware always extends: no "
                                        "instance will meet the policy\n",
                                        c->images.items[i].source, pcr);
}

/* An opener is a finding that the options ask for. */
static void warn_of_openers(const struct composition *c) {
        for (size_t i = 0; i < c->openers.n; i++)
                fprintf(stderr,
                        "sealboot policy: %s may open the models without attestation, as --opener asks; `sealboot "
                        "policy check` lists that as no-attestation\n",
                        c->openers.items[i]);
}

static int write_policy(int argc, char *argv[]) {
        _cleanup_arguments_ struct arguments a = { .target = "key" };
        struct operands operands;
        struct error e;
        int code;

        if (!command_parse(&command_line, argc, argv, &a, &operands, &code))
                return code;
        if (operands.n > 0)
                return command_usage("policy", "'%s' is neither an option nor check nor diff", operands.items[0]);
        if (argc == 1) {
                options_help(stderr, &command_line);
                return FAILURE_USAGE;
        }
        if (add_pcr2(&a, &e) < 0)
                return command_failed(&e);
        warn_of_secure_boot(&a.c);
        warn_of_pcr12(&a.c);
        warn_of_zeros(&a.c);
        if (a.json || streq(a.target, "key"))
                warn_of_openers(&a.c);
        return a.json ? print_all(&a.c) : print_one(&a);
}

int cmd_policy(int argc, char *argv[]) {
        if (argc > 1 && streq(argv[1], "check"))
                return policy_check(argc - 1, argv + 1);
        if (argc > 1 && streq(argv[1], "diff"))
                return policy_diff(argc - 1, argv + 1);
        return write_policy(argc, argv);
}
