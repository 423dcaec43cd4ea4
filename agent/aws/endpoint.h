/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where requests go: AWS's own endpoint of a service in a Region, or one that the user names. The Region tells the
 * partition, and the partition the DNS suffix. Source: the AWS SDKs' partitions.json and endpoint rule sets. */

#include "basic/failure.h"

struct endpoint {
        char *origin; /* scheme://host[:port], without a trailing slash: "https://kms.us-east-1.amazonaws.com" */
        char *host;   /* as in the Host header: host[:port], without the scheme's default port */
};

/* The flags have the names of the SDKs' settings, and concern AWS's own endpoints alone. */
struct endpoint_choice {
        const char *url; /* NULL: AWS's own */
        bool use_fips, use_dualstack;
};

/* Accepts http and https URLs of nothing but a host, a port and "/". `what` names the setting in errors. */
int endpoint_parse(const char *url, const char *what, struct endpoint *ret, struct error *e);
/* AWS's own: https://[PREFIX.]SERVICE.REGION.SUFFIX. FAILURE_CONFIG when the partition has none of that kind. */
int endpoint_aws(const char *prefix, const char *service, const char *region, const struct endpoint_choice *choice,
                 struct endpoint *ret, struct error *e);
int endpoint_copy(const struct endpoint *from, struct endpoint *ret);
void endpoint_done(struct endpoint *endpoint);
#define _cleanup_endpoint_ _cleanup_(endpoint_done)

/* "us-east-1": lower-case letters, digits and dashes, since it becomes part of a host name. */
bool region_valid(const char *region);

/* The likely mistake in a Region that is not valid, from ": " on; "" when none is known. */
const char *region_hint(const char *region);

struct partition {
        const char *name;             /* as in ARNs: "aws-us-gov" */
        const char *region_prefix;    /* of its Regions' names; "" for those of no other partition */
        const char *suffix;           /* of host names */
        const char *dualstack_suffix; /* of hosts that have IPv6 addresses, too; S3 has its own rule */
};
/* Never NULL: a Region that no prefix fits is taken for one of "aws", as the SDKs do. */
const struct partition *partition_of(const char *region);

/* The partitions one by one: i from 0; NULL behind the last. */
const struct partition *partition_at(size_t i);

/* By its name in ARNs; NULL: none that this program knows. */
const struct partition *partition_named(const char *name, size_t n);
