/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot policy: write what must be true before the key is released; its companions check and compare. */

#include <getopt.h>

#include "keypolicy/compose.h"
#include "keypolicy/key-policy.h"
#include "measure/inputs.h"
#include "owner/remote-name.h"
#include "verbs/command.h"

enum { PCR_FIRMWARE_LAST = 7 };

static void help(void) {
        puts("Usage: sealboot policy [OPTION...]             write a policy\n"
             "       sealboot policy check POLICY DOCUMENT   would KMS release the key, and if not, why?\n"
             "       sealboot policy diff BEFORE AFTER       what changes, whatever the notation\n\n"
             "Write the KMS key policy that releases a model's key to attested images, and denies it outright to\n"
             "everything else, administrators included. A policy that would protect less than it seems to is refused:\n"
             "an administrator or sealer in an account that the key is released to, wildcard principals, PCR4 without\n"
             "PCR2 or PCR12, firmware PCRs.\n\n"
             "  --reference FILE     measurements of an image that may open the model; repeat for rolling updates\n"
             "  --principal ARN      role of the instances, of any account; repeatable\n"
             "  --admin ARN          who manages the key and its policy, without using it; repeatable\n"
             "  --sealer ARN         who may seal models under the key; repeatable\n"
             "  --opener ARN         who may open models with `sealboot unseal`, without attestation; repeatable\n"
             "  --context NAME=VALUE encryption context the model was sealed with; repeatable\n"
             "  --one-shot           release only while PCR15 is zero: before a model is loaded, once per boot\n"
             "  --secure-boot        the references' PCR7 is of Secure Boot on, and may stand in for PCR2 and PCR12\n"
             "  --pcr2 none|VALUE    PCR2 for references without one, as nitro-tpm-pcr-compute writes them: none where\n"
             "                       no option ROMs are loaded, otherwise 96 hex digits\n"
             "  --no-deny-unattested  leave out the statements that deny to everyone, administrators included,\n"
             "                       what no accepted image asks for, and grants\n\n"
             "  --for key|role|bucket  which policy: the key's (default), the instance role's, the model bucket's\n"
             "  --key ARN            the KMS key, for the role's policy\n"
             "  --model s3://BUCKET/PREFIX/  the sealed models, for the role's and the bucket's policy\n"
             "  --json               one object with every policy that the options suffice for, in one line\n"
             "  -h, --help           show this text\n\n"
             "The key belongs in an account of the model's owner: whoever administers its account can rewrite this.\n\n"
             "Example: sealboot policy --reference image.json --principal arn:aws:iam::222222222222:role/inference \\\n"
             "           --admin arn:aws:iam::111111111111:role/owner --context model=llama --one-shot > key-policy.json\n"
             "         aws kms put-key-policy --key-id ... --policy-name default --policy file://key-policy.json");
}

struct arguments {
        struct composition c;
        const char *target;
        char *bucket;
        uint8_t pcr2[REFERENCE_SIZE];
        bool has_pcr2, as_json;
};

static void arguments_done(struct arguments *a) {
        references_done(&a->c.images);
        free(a->c.principals.items);
        free(a->c.admins.items);
        free(a->c.sealers.items);
        free(a->c.openers.items);
        free(a->c.context.items);
        free(a->bucket);
}
#define _cleanup_arguments_ _cleanup_(arguments_done)

static int add_name(struct names *to, const char *name, struct error *e) {
        const char **larger = reallocarray(to->items, to->n + 1, sizeof *larger);

        if (!larger)
                return fail_oom(e);
        to->items = larger;
        to->items[to->n++] = name;
        return 0;
}

static int set_model(struct arguments *a, const char *url, struct error *e) {
        char advice[REMOTE_NAME_ADVICE_MAX];
        const char *slash;

        if (remote_name(url, advice) || strncmp(url, "s3://", 5) != 0 || !url[5] || url[5] == '/') {
                fail(e, FAILURE_USAGE, -EINVAL, url, "is not s3://BUCKET/PREFIX/");
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

enum {
        OPT_REFERENCE = 256,
        OPT_PRINCIPAL,
        OPT_ADMIN,
        OPT_SEALER,
        OPT_OPENER,
        OPT_CONTEXT,
        OPT_ONE_SHOT,
        OPT_SECURE_BOOT,
        OPT_PCR2,
        OPT_DENY,
        OPT_NO_DENY,
        OPT_FOR,
        OPT_KEY,
        OPT_MODEL,
        OPT_JSON,
};

static const struct option options[] = {
        { "reference", required_argument, NULL, OPT_REFERENCE },
        { "principal", required_argument, NULL, OPT_PRINCIPAL },
        { "admin", required_argument, NULL, OPT_ADMIN },
        { "sealer", required_argument, NULL, OPT_SEALER },
        { "opener", required_argument, NULL, OPT_OPENER },
        { "context", required_argument, NULL, OPT_CONTEXT },
        { "one-shot", no_argument, NULL, OPT_ONE_SHOT },
        { "secure-boot", no_argument, NULL, OPT_SECURE_BOOT },
        { "pcr2", required_argument, NULL, OPT_PCR2 },
        { "deny-unattested", no_argument, NULL, OPT_DENY }, /* the default */
        { "no-deny-unattested", no_argument, NULL, OPT_NO_DENY },
        { "for", required_argument, NULL, OPT_FOR },
        { "key", required_argument, NULL, OPT_KEY },
        { "model", required_argument, NULL, OPT_MODEL },
        { "json", no_argument, NULL, OPT_JSON },
        { "help", no_argument, NULL, 'h' },
        {},
};

static int apply(struct arguments *a, int option, const char *value, struct error *e) {
        switch (option) {
        case OPT_REFERENCE:
                return references_read(&a->c.images, value, e);
        case OPT_PRINCIPAL:
                return add_name(&a->c.principals, value, e);
        case OPT_ADMIN:
                return add_name(&a->c.admins, value, e);
        case OPT_SEALER:
                return add_name(&a->c.sealers, value, e);
        case OPT_OPENER:
                return add_name(&a->c.openers, value, e);
        case OPT_CONTEXT:
                return add_name(&a->c.context, value, e);
        case OPT_ONE_SHOT:
                a->c.one_shot = true;
                return 0;
        case OPT_SECURE_BOOT:
                a->c.secure_boot = true;
                return 0;
        case OPT_PCR2:
                a->has_pcr2 = true;
                return parse_pcr2(value, a->pcr2, e);
        case OPT_DENY:
        case OPT_NO_DENY:
                a->c.allow_unattested = option == OPT_NO_DENY;
                return 0;
        case OPT_FOR:
                a->target = value;
                return 0;
        case OPT_KEY:
                a->c.key = value;
                return 0;
        case OPT_MODEL:
                return set_model(a, value, e);
        case OPT_JSON:
                a->as_json = true;
                return 0;
        default:
                return fail(e, FAILURE_USAGE, -EINVAL, "policy", "an option is not known");
        }
}

/* --pcr2 is for the references that have none; one that has another was measured for other instances. */
static int add_pcr2(struct arguments *a, struct error *e) {
        for (size_t i = 0; a->has_pcr2 && i < a->c.images.n; i++) {
                struct reference *r = &a->c.images.items[i];

                if (!reference_is_nitrotpm(r))
                        return fail(e, FAILURE_USAGE, -EINVAL, r->source,
                                    "measures an enclave, and --pcr2 is of UEFI firmware");
                if (reference_has(r, 2) && memcmp(r->pcr[2], a->pcr2, REFERENCE_SIZE) != 0) {
                        fail(e, FAILURE_USAGE, -EINVAL, r->source, "has a PCR2 already, and --pcr2 is another");
                        fail_advice(e, "Measure the image again with `sealboot measure --pcr2`, once for each kind of "
                                       "instance.");
                        return -EINVAL;
                }
                reference_set(r, 2, a->pcr2);
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

/* Everything the options suffice for; what they do not suffice for is null, but a policy that is refused is an error. */
static int print_all(const struct composition *c) {
        _cleanup_json_ json_object *o = json_object_new_object();

        for (size_t i = 0; i < ELEMENTS(targets); i++) {
                json_object *policy = NULL;
                struct error e;
                int r;

                r = targets[i].compose(c, &policy, &e);
                if (r < 0 && (i == 0 || e.failure != FAILURE_USAGE))
                        return command_failed(&e);
                json_object_object_add(o, targets[i].name, policy);
        }
        puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        return 0;
}

/* A key policy that is too long for KMS only by its white space goes without. */
static void print_policy(json_object *o) {
        const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);

        if (strlen(text) >= KEY_POLICY_MAX) {
                text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
                fprintf(stderr, "sealboot policy: without white space, to stay within the %d bytes that KMS takes\n",
                        KEY_POLICY_MAX);
        }
        puts(text);
}

static int print_one(const struct arguments *a) {
        _cleanup_json_ json_object *o = NULL;
        struct error e;
        int r;

        for (size_t i = 0; i < ELEMENTS(targets); i++) {
                if (!streq(targets[i].name, a->target))
                        continue;
                r = targets[i].compose(&a->c, &o, &e);
                if (r < 0)
                        return command_failed(&e);
                print_policy(o);
                return 0;
        }
        return command_usage("policy", "--for takes key, role or bucket, not '%s'", a->target);
}

/* What nitro-tpm-pcr-compute prints has to be believed. */
static void warn_of_secure_boot(const struct composition *c) {
        for (size_t i = 0; c->secure_boot && i < c->images.n; i++)
                if (c->images.items[i].secure_boot == SECURE_BOOT_NOT_SAID &&
                    reference_needs_secure_boot(&c->images.items[i]))
                        fprintf(stderr,
                                "sealboot policy: %s does not say whether its PCR7 is of Secure Boot on or off; believing "
                                "--secure-boot\n",
                                c->images.items[i].source);
}

/* The stub takes credentials and an SMBIOS command line with Secure Boot on, too, and PCR12 alone tells. */
static void warn_of_pcr12(const struct composition *c) {
        for (size_t i = 0; i < c->images.n; i++)
                if (reference_is_nitrotpm(&c->images.items[i]) && reference_has(&c->images.items[i], 4) &&
                    !reference_has(&c->images.items[i], 12))
                        fprintf(stderr,
                                "sealboot policy: %s has no PCR12, which tells of credentials and command lines that a "
                                "stub takes even with Secure Boot on; measure the image again and bind it\n",
                                c->images.items[i].source);
}

/* As from a machine whose firmware did not measure. */
static void warn_of_zeros(const struct composition *c) {
        static const uint8_t zeros[REFERENCE_SIZE];

        for (size_t i = 0; i < c->images.n; i++)
                for (unsigned pcr = 0; pcr <= PCR_FIRMWARE_LAST && reference_is_nitrotpm(&c->images.items[i]); pcr++)
                        if (reference_has(&c->images.items[i], pcr) &&
                            memcmp(c->images.items[i].pcr[pcr], zeros, sizeof zeros) == 0)
                                fprintf(stderr,
                                        "sealboot policy: %s has zeros in PCR%u, which firmware always extends: no "
                                        "instance will meet the policy\n",
                                        c->images.items[i].source, pcr);
}

/* What is asked for, and yet a weakness. */
static void warn_of_openers(const struct composition *c) {
        for (size_t i = 0; i < c->openers.n; i++)
                fprintf(stderr,
                        "sealboot policy: %s may open the models without attestation, as --opener asks; `sealboot "
                        "policy check` lists that as no-attestation\n",
                        c->openers.items[i]);
}

static int write_policy(int argc, char *argv[]) {
        _cleanup_arguments_ struct arguments a = { .target = "key" };
        struct error e;
        int option;

        while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
                if (option == 'h') {
                        help();
                        return 0;
                }
                if (option == '?')
                        return command_usage("policy", "the options are not understood");
                if (apply(&a, option, optarg, &e) < 0)
                        return command_failed(&e);
        }
        if (optind < argc)
                return command_usage("policy", "'%s' is neither an option nor check nor diff", argv[optind]);
        if (argc == 1) {
                help();
                return FAILURE_USAGE;
        }
        if (add_pcr2(&a, &e) < 0)
                return command_failed(&e);
        warn_of_secure_boot(&a.c);
        warn_of_pcr12(&a.c);
        warn_of_zeros(&a.c);
        if (a.as_json || streq(a.target, "key"))
                warn_of_openers(&a.c);
        return a.as_json ? print_all(&a.c) : print_one(&a);
}

int cmd_policy(int argc, char *argv[]) {
        if (argc > 1 && streq(argv[1], "check"))
                return policy_check(argc - 1, argv + 1);
        if (argc > 1 && streq(argv[1], "diff"))
                return policy_diff(argc - 1, argv + 1);
        return write_policy(argc, argv);
}
