/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/endpoint.h"

#include <curl/curl.h>

DEFINE_CLEANUP(CURLU *, curl_url_cleanup, curl_url_cleanupp)
DEFINE_CLEANUP(char *, curl_free, curl_freep)
#define _cleanup_curl_ _cleanup_(curl_freep)

static const struct partition partitions[] = {
        { "aws-cn", "cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn" },
        { "aws-us-gov", "us-gov-", "amazonaws.com", "api.aws" },
        { "aws-iso", "us-iso-", "c2s.ic.gov", "api.aws.ic.gov" },
        { "aws-iso-b", "us-isob-", "sc2s.sgov.gov", "api.aws.scloud" },
        { "aws-iso-e", "eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk" },
        { "aws-iso-f", "us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov" },
        { "aws-eusc", "eusc-", "amazonaws.eu", "api.amazonwebservices.eu" },
        { "aws", "", "amazonaws.com", "api.aws" },
};

const struct partition *partition_of(const char *region) {
        const struct partition *p = partitions;

        while (strncmp(region, p->region_prefix, strlen(p->region_prefix)) != 0)
                p++;
        return p;
}

const struct partition *partition_at(size_t i) {
        return i < ELEMENTS(partitions) ? &partitions[i] : NULL;
}

const struct partition *partition_named(const char *name, size_t n) {
        const struct partition *p;

        for (size_t i = 0; (p = partition_at(i)); i++)
                if (strlen(p->name) == n && memcmp(p->name, name, n) == 0)
                        return p;
        return NULL;
}

static bool has_part(CURLU *u, CURLUPart part) {
        _cleanup_curl_ char *text = NULL;

        return curl_url_get(u, part, &text, 0) == CURLUE_OK;
}

int endpoint_parse(const char *url, const char *what, struct endpoint *ret, struct error *e) {
        _cleanup_(curl_url_cleanupp) CURLU *u = curl_url();
        _cleanup_curl_ char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL;
        _cleanup_endpoint_ struct endpoint out = {};
        bool shown;

        if (!u)
                return fail_oom(e);
        if (curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
            curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
            curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
            curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK ||
            curl_url_get(u, CURLUPART_PATH, &path, 0) != CURLUE_OK || streq(port, "0"))
                return fail(e, FAILURE_CONFIG, -EINVAL, what, "\"%s\" is not a URL", url);
        if (!streq(scheme, "http") && !streq(scheme, "https"))
                return fail(e, FAILURE_CONFIG, -EINVAL, what, "\"%s\" is neither http nor https", url);
        if (!streq(path, "/") || has_part(u, CURLUPART_USER) || has_part(u, CURLUPART_PASSWORD) ||
            has_part(u, CURLUPART_QUERY) || has_part(u, CURLUPART_FRAGMENT))
                return fail(e, FAILURE_CONFIG, -EINVAL, what, "\"%s\" has more than a scheme, a host and a port", url);
        shown = !streq(port, streq(scheme, "http") ? "80" : "443");
        if (asprintf(&out.host, "%s%s%s", host, shown ? ":" : "", shown ? port : "") < 0 ||
            asprintf(&out.origin, "%s://%s", scheme, out.host) < 0)
                return fail_oom(e);
        *ret = TAKE_STRUCT(out);
        return 0;
}

/* "-fips" behind the service's name. One exception: in aws-us-gov Auto Scaling's usual endpoint is the FIPS one. */
static bool name_has_fips(const struct partition *p, const char *service, const struct endpoint_choice *choice) {
        return choice->use_fips &&
               !(streq(service, "autoscaling") && streq(p->name, "aws-us-gov") && !choice->use_dualstack);
}

int endpoint_aws(const char *prefix, const char *service, const char *region, const struct endpoint_choice *choice,
                 struct endpoint *ret, struct error *e) {
        const struct partition *p = partition_of(region);
        const char *fips = name_has_fips(p, service, choice) ? "-fips" : "", *dualstack = "", *suffix = p->suffix;
        _cleanup_endpoint_ struct endpoint out = {};

        if (choice->use_fips && streq(service, "s3") && streq(p->name, "aws-cn"))
                return fail(e, FAILURE_CONFIG, -EINVAL, "FIPS endpoint",
                            "S3 has none in the partition aws-cn (Region %s)", region);
        /* S3's dual-stack endpoints are older than those of the other services, and have names of another form. */
        if (choice->use_dualstack && streq(service, "s3"))
                dualstack = ".dualstack";
        else if (choice->use_dualstack)
                suffix = p->dualstack_suffix;
        if (asprintf(&out.host, "%s%s%s%s%s.%s.%s", prefix ?: "", prefix ? "." : "", service, fips, dualstack, region,
                     suffix) < 0 ||
            asprintf(&out.origin, "https://%s", out.host) < 0)
                return fail_oom(e);
        *ret = TAKE_STRUCT(out);
        return 0;
}

int endpoint_copy(const struct endpoint *from, struct endpoint *ret) {
        _cleanup_endpoint_ struct endpoint out = { .origin = strdup(from->origin), .host = strdup(from->host) };

        if (!out.origin || !out.host)
                return -ENOMEM;
        *ret = TAKE_STRUCT(out);
        return 0;
}

void endpoint_done(struct endpoint *endpoint) {
        free(endpoint->origin);
        free(endpoint->host);
        *endpoint = (struct endpoint) {};
}

/* "eu-west-1a" is an Availability Zone: a Region's name ends in its number. */
static bool is_zone(const char *region, size_t n) {
        static const char digits[] = "0123456789";

        return n > 2 && !strchr(digits, region[n - 1]) && region[n - 1] != '-' && strchr(digits, region[n - 2]);
}

/* "fips-us-gov-west-1" and "us-gov-west-1-fips": what early SDKs took for a Region with FIPS endpoints. */
static bool is_fips_name(const char *region, size_t n) {
        return strncmp(region, "fips-", 5) == 0 || (n > 5 && streq(region + n - 5, "-fips"));
}

bool region_valid(const char *region) {
        size_t n = strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-");

        return n > 0 && n < 32 && !region[n] && region[0] != '-' && region[n - 1] != '-' && !is_zone(region, n) &&
               !is_fips_name(region, n);
}

const char *region_hint(const char *region) {
        size_t n = strlen(region);

        if (is_fips_name(region, n))
                return ": FIPS endpoints are chosen by a setting of their own";
        if (n > 2 && is_zone(region, n))
                return ": it looks like an Availability Zone, whose last letter is not the Region's";
        return "";
}
