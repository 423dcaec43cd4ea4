/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot policy: write what must be true before the key is released; its companions check and compare. */

#include <getopt.h>

#include "keypolicy/compose.h"
#include "keypolicy/key-policy.h"
#include "owner/remote-name.h"
#include "verbs/command.h"

static void help(void) {
        puts("Usage: sealboot policy [OPTION...]             write a policy\n"
             "       sealboot policy check POLICY DOCUMENT   would KMS release the key, and if not, why?\n"
             "       sealboot policy diff BEFORE AFTER       what changes, whatever the notation\n\n"
             "Write the KMS key policy that releases a model's key to attested images and to nothing else. A policy that\n"
             "would protect less than it seems to is refused: wildcard principals, PCR4 without PCR12, firmware PCRs.\n\n"
             "  --reference FILE     measurements of an image that may open the model; repeat for rolling updates\n"
             "  --principal ARN      role of the instances, of any account; repeatable\n"
             "  --admin ARN          who manages the key and its policy, without using it; repeatable\n"
             "  --sealer ARN         who may seal models under the key; repeatable\n"
             "  --context NAME=VALUE encryption context the model was sealed with; repeatable\n"
             "  --one-shot           release only while PCR15 is zero: before a model is loaded, once per boot\n"
             "  --secure-boot        the references' PCR7 is the value of Secure Boot on, and may stand in for PCR12\n"
             "  --deny-unattested    also deny decryption without a document outright, which grants cannot override\n\n"
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
        bool as_json;
};

static void arguments_done(struct arguments *a) {
        references_done(&a->c.images);
        free(a->c.principals.items);
        free(a->c.admins.items);
        free(a->c.sealers.items);
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
        OPT_CONTEXT,
        OPT_ONE_SHOT,
        OPT_SECURE_BOOT,
        OPT_DENY,
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
        { "context", required_argument, NULL, OPT_CONTEXT },
        { "one-shot", no_argument, NULL, OPT_ONE_SHOT },
        { "secure-boot", no_argument, NULL, OPT_SECURE_BOOT },
        { "deny-unattested", no_argument, NULL, OPT_DENY },
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
        case OPT_CONTEXT:
                return add_name(&a->c.context, value, e);
        case OPT_ONE_SHOT:
                a->c.one_shot = true;
                return 0;
        case OPT_SECURE_BOOT:
                a->c.secure_boot = true;
                return 0;
        case OPT_DENY:
                a->c.deny_unattested = true;
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
        warn_of_secure_boot(&a.c);
        return a.as_json ? print_all(&a.c) : print_one(&a);
}

int cmd_policy(int argc, char *argv[]) {
        if (argc > 1 && streq(argv[1], "check"))
                return policy_check(argc - 1, argv + 1);
        if (argc > 1 && streq(argv[1], "diff"))
                return policy_diff(argc - 1, argv + 1);
        return write_policy(argc, argv);
}
