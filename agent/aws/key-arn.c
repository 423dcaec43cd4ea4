/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/key-arn.h"

#include "aws/endpoint.h"

enum { PARTITION = 1, SERVICE, REGION, ACCOUNT, RESOURCE, PARTS };

struct part {
        const char *text;
        size_t n;
};

static bool part_is(const struct part *p, const char *text) {
        return p->n == strlen(text) && memcmp(p->text, text, p->n) == 0;
}

static bool same(const struct part *a, const struct part *b) {
        return a->n == b->n && memcmp(a->text, b->text, a->n) == 0;
}

/* "aws", or "aws-" and lower-case letters and dashes. */
static bool is_partition(const struct part *p) {
        if (p->n < 3 || memcmp(p->text, "aws", 3) != 0 || (p->n > 3 && p->text[3] != '-'))
                return false;
        return strspn(p->text, "abcdefghijklmnopqrstuvwxyz-") == p->n;
}

/* The Region's name goes into a host name. */
static bool is_region(const struct part *p) {
        char region[32];

        if (p->n >= sizeof region)
                return false;
        memcpy(region, p->text, p->n);
        region[p->n] = '\0';
        return region_valid(region);
}

/* The parts between colons; the last takes what is left. */
static bool split(const char *arn, struct part parts[static PARTS]) {
        for (size_t i = 0; i < PARTS; i++) {
                parts[i] = (struct part) { arn, i < RESOURCE ? strcspn(arn, ":") : strlen(arn) };
                arn += parts[i].n;
                if (parts[i].n == 0 || (i < RESOURCE && *arn++ != ':'))
                        return false;
        }
        return part_is(&parts[0], "arn") && is_partition(&parts[PARTITION]) && part_is(&parts[SERVICE], "kms") &&
               is_region(&parts[REGION]);
}

bool key_arn_valid(const char *arn) {
        static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
        struct part parts[PARTS];
        const char *id;

        if (!split(arn, parts) || parts[ACCOUNT].n != 12 || strspn(parts[ACCOUNT].text, "0123456789") != 12 ||
            strncmp(parts[RESOURCE].text, "key/", 4) != 0)
                return false;
        id = parts[RESOURCE].text + 4;
        return *id && !id[strspn(id, allowed)];
}

int key_arn_region(const char *arn, char **ret) {
        struct part parts[PARTS];
        char *region;

        if (!split(arn, parts))
                return -EINVAL;
        region = strndup(parts[REGION].text, parts[REGION].n);
        if (!region)
                return -ENOMEM;
        *ret = region;
        return 0;
}

bool key_arn_may_be_in(const char *arn, const char *region) {
        const struct partition *p;
        struct part parts[PARTS];

        if (!split(arn, parts))
                return false;
        p = partition_named(parts[PARTITION].text, parts[PARTITION].n);
        return !p || p == partition_of(region);
}

bool key_arn_has_its_partition(const char *arn) {
        _cleanup_free_ char *region = NULL;

        return key_arn_region(arn, &region) == 0 && key_arn_may_be_in(arn, region);
}

bool key_arn_is_multi_region(const char *arn) {
        struct part parts[PARTS];

        return split(arn, parts) && strncmp(parts[RESOURCE].text, "key/mrk-", 8) == 0;
}

bool key_arn_related(const char *a, const char *b) {
        struct part ours[PARTS], theirs[PARTS];

        if (streq(a, b))
                return true;
        return key_arn_is_multi_region(a) && split(a, ours) && split(b, theirs) &&
               same(&ours[PARTITION], &theirs[PARTITION]) && same(&ours[ACCOUNT], &theirs[ACCOUNT]) &&
               same(&ours[RESOURCE], &theirs[RESOURCE]);
}

int key_arn_in_region(const char *arn, const char *region, char **ret) {
        struct part parts[PARTS];
        int n;

        if (!split(arn, parts))
                return -EINVAL;
        n = asprintf(ret, "%.*s%s%s", (int) (parts[REGION].text - arn), arn, region,
                     parts[REGION].text + parts[REGION].n);
        return n < 0 ? -ENOMEM : 0;
}
