/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot audit: who was given a model's key, by CloudTrail's records. */

#include "audit/audit-view.h"
#include "aws/key-arn.h"
#include "verbs/command.h"

struct list {
        const char **items;
        size_t n;
};

struct arguments {
        struct references references;
        struct list keys, openers, sealers;
        bool all, json;
};

static void arguments_done(struct arguments *a) {
        references_done(&a->references);
        free(a->keys.items);
        free(a->openers.items);
        free(a->sealers.items);
}
#define _cleanup_arguments_ _cleanup_(arguments_done)

static int add(void *field, const struct option_row *row, char *value, struct error *e) {
        struct list *to = field;
        const char **larger;

        if (streq(row->name, "key") && !key_arn_valid(value))
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--key takes the ARN of a KMS key, not '%s'", value);
        if (!streq(row->name, "key") && strncmp(value, "arn:", 4) != 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--%s takes the ARN of a role or user, not '%s'", row->name,
                            value);
        larger = reallocarray(to->items, to->n + 1, sizeof *larger);
        if (!larger)
                return fail_oom(e);
        to->items = larger;
        to->items[to->n++] = value;
        return 0;
}

static const struct option_row option_rows[] = {
        { 0, "reference", "FILE", "reference measurements of an image that may have the key; repeatable",
          OPTION_CALL(command_reference, struct arguments, references) },
        { 0, "key", "ARN", "look at this key alone; repeatable", OPTION_CALL(add, struct arguments, keys) },
        { 0, "sealer", "ARN", "role or user that may make data keys without a document; repeatable",
          OPTION_CALL(add, struct arguments, sealers) },
        { 0, "opener", "ARN", "role or user that may have key material without a document; repeatable",
          OPTION_CALL(add, struct arguments, openers) },
        { 0, "all", NULL, "print each call, also those that are as they should be",
          OPTION_FLAG(struct arguments, all) },
        OPTION_JSON(struct arguments, json),
        OPTION_HELP,
        {},
};

static const struct command_line command_line = {
        .program = PROGRAM " audit",
        .usage = "Usage: sealboot audit --reference FILE... [OPTION...] CLOUDTRAIL.json...\n\n"
                 "Say who was given a model's key: join each use of the key in CloudTrail's records to instance,\n"
                 "image and model. Whatever was not attested, or attested by an unknown image, comes first.\n\n"
                 "The files are those that a trail stores in S3 (.json.gz or .json), or what 'aws cloudtrail\n"
                 "lookup-events', CloudTrail Lake or EventBridge give. '-' reads standard input. Their integrity\n"
                 "is for 'aws cloudtrail validate-logs' to check.",
        .rows = option_rows,
        .more = "Exit codes: 0 no alarm; 73 alarms, or records that cannot be read; 2 usage, or not CloudTrail's\n"
                "records; 61 a file cannot be read.\n\n"
                "Example: sealboot audit --reference image.json --sealer arn:aws:iam::111111111111:role/release "
                "*.json.gz",
        .operands_min = 1,
        .operands_max = OPERANDS_ANY,
        .needed = "a file of CloudTrail's records is needed",
};

static int audit(const struct arguments *a, const struct operands *files, bool *ret_good, struct error *e) {
        const struct accepted_uses uses = {
                .images = &a->references,
                .keys = a->keys.items,
                .n_keys = a->keys.n,
                .openers = a->openers.items,
                .n_openers = a->openers.n,
                .sealers = a->sealers.items,
                .n_sealers = a->sealers.n,
        };
        _cleanup_judgement_ struct judgement j = {};
        _cleanup_trail_ struct trail t = {};
        _cleanup_json_ json_object *o = NULL;
        int r;

        r = trail_read_all(&t, files->items, files->n, e);
        if (r < 0) {
                command_advise(e, FAILURE_USAGE, "Give files that a trail stores in S3, as they are.");
                return r;
        }
        trail_sort(&t);
        r = judge_trail(&t, &uses, &j, e);
        if (r < 0)
                return r;
        *ret_good = j.n_alarms == 0 && t.n_bad == 0;
        if (!a->json) {
                audit_print(stdout, &t, &j, a->all);
                return 0;
        }
        o = audit_json(&t, &j);
        return command_print_json(o, JSON_C_TO_STRING_PRETTY, e);
}

int cmd_audit(int argc, char *argv[]) {
        _cleanup_arguments_ struct arguments a = {};
        struct operands operands;
        struct error e = {};
        bool good = false;
        int code;

        if (!command_parse(&command_line, argc, argv, &a, &operands, &code))
                return code;
        if (a.references.n == 0)
                return command_usage("audit", "no --reference was given: the images that may have the key");
        if (audit(&a, &operands, &good, &e) < 0)
                return command_failed(&e);
        return good ? 0 : FAILURE_MISMATCH;
}
