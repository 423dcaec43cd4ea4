/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The measured configuration: a JSON file on the verity root. All that decides security is in it: user data, the
 * environment and S3 cannot change it. sealboot-agent(8) lists every key with its meaning and default. */

#include "configuration/readiness.h"
#include "sealed/message.h"
#include "sealed/model.h"
#include "sealed/opening.h"

#define CONFIG_PATH "/etc/sealboot/agent.json"

enum measure_mode {
        MEASURE_MODEL,  /* the model digest: SHA-384 over the fs-verity digests */
        MEASURE_SHA384, /* the plain SHA-384 of a single file, as AWS's sample application does */
};

enum keep_mode {
        KEEP_ALWAYS,
        KEEP_UNTIL_READY, /* the published files are removed as soon as the server is ready */
};

enum { INPUTS_MAX = 16, INPUT_NAME_MAX = 32 };

/* One sealed model to load, whose it is, and what is accepted of it. */
struct input {
        char *name, *owner; /* NULL: the configuration is for one model, which has no name there */
        char **keys;        /* ARNs of the KMS keys that it may be sealed under */
        size_t n_keys;
        bool discovery;       /* any key at all; then n_keys is 0 */
        struct pair *context; /* owned: the pairs that the encryption context must have */
        size_t n_context;
        uint8_t (*digests)[MODEL_DIGEST]; /* models that may be loaded; none: any */
        size_t n_digests;
        char *model;     /* s3:// URI when user data names none, or NULL */
        char *directory; /* of its files, below the published directory; NULL: that directory itself */
        bool required;   /* false: it may be absent */
        /* The key store of the owner's own that releases the data key, and the only authorities for it. NULL: KMS. */
        char *store_url, *store_bundle;
};

struct config {
        struct input inputs[INPUTS_MAX]; /* in the order in which they are measured */
        size_t n_inputs;
        bool several; /* the key "inputs" is there, with one input or more; false: the form for one model */
        enum measure_mode measure;

        char *region;                                     /* NULL: the instance's */
        char *endpoint_imds, *endpoint_kms, *endpoint_s3; /* NULL: AWS's */
        char *endpoint_autoscaling;
        bool use_fips_endpoint, use_dualstack_endpoint; /* of AWS's own */
        char *hook_group, *hook_name;                   /* the Auto Scaling lifecycle hook to complete, or NULL */
        struct readiness ready;                         /* of the inference server */
        enum keep_mode keep;                            /* the published files */
        char *ca_bundle;                                /* NULL: the system's */
        char *tcti;                                     /* NULL: the machine's TPM */

        char *model_directory;
        char *measurement_log;
        char *report, *report_to;      /* report_to: s3:// URI of a prefix that a copy goes to, or NULL */
        unsigned workers, connections; /* 0: chosen */
        unsigned kms_deadline_ms;
        unsigned heartbeat_ms; /* of the lifecycle hook */
        bool allow_any_iv;
};

/* FAILURE_CONFIG; the reason names the key and what was expected. Each value is checked by the code that uses it at a
 * boot, so that a boot does not refuse a configuration that is accepted here. config_load() also reads the files that
 * the configuration names (ca_bundle), below the directory `root` if that is not NULL. */
int config_load(const char *path, const char *root, struct config **ret, struct error *e);
/* Leaves the files alone that the configuration names: for a machine that is not the image. */
int config_read(const char *path, struct config **ret, struct error *e);
int config_parse(const char *text, size_t n, const char *subject, struct config **ret, struct error *e);
/* The keys of a configuration, and of an input, by number; NULL behind the last. For the test of the manual. */
const char *config_key(size_t i);
const char *input_key(size_t i);
void input_done(struct input *in);
/* The file must hold at least one certificate, and nothing that OpenSSL cannot read. */
int config_check_bundle(const char *path, const char *root, struct error *e);
/* Prints what a check of the configuration cannot find, since it depends on the machine that boots. */
void config_print_rest(const struct config *c, FILE *f);
void config_free(struct config *c);
DEFINE_CLEANUP(struct config *, config_free, config_freep)

/* Where a sealed model is. */
struct place {
        char *bucket;   /* NULL: nowhere, the input is absent */
        char *key;      /* of a single sealed object; or a prefix, with its slash */
        bool is_prefix; /* it holds a manifest */
};

/* What the operator may say, in user data: {"sealboot": {"model": "s3://bucket/prefix/", "lifecycle_hook": {"group":
 * ..., "name": ...}, "report_to": "s3://bucket/prefix/"}}; where the configuration has inputs, "inputs": {"NAME":
 * "s3://bucket/prefix/", "OTHER": null} in the place of "model". Other keys beside "sealboot" belong to others; keys
 * inside it that are not known are refused (FAILURE_LAUNCH). `text` NULL: no user data. */
struct launch {
        struct place places[INPUTS_MAX]; /* of each input of the configuration */
        char *hook_group, *hook_name;    /* the lifecycle hook: user data's, else the configuration's, else NULL */
        char *report_to;                 /* user data's alone, or NULL */
};
/* Whether no boot is possible without user data: an input has no place in the configuration. */
bool launch_needs_user_data(const struct config *c);
/* {"group": text, "name": text} of either; `object` may be NULL. */
int lifecycle_hook_parse(json_object *object, enum failure failure, const char *subject, const char *where,
                         char **ret_group, char **ret_name, struct error *e);
int launch_parse(const char *text, size_t n, const struct config *c, struct launch *ret, struct error *e);
void launch_done(struct launch *l);

/* AWS's endpoint of the kind that is configured, or `url` if that is not NULL. */
struct endpoint_choice config_endpoint(const struct config *c, const char *url);
/* What is accepted of an input's sealed model; borrowed from c. */
struct accepted input_accepted(const struct config *c, const struct input *in);
