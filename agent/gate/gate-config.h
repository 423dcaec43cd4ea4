/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The gate's measured configuration: a JSON file on the verity root, as strict as the agent's. It says who may call,
 * what they may ask for, and where the inference server is. Every key is listed, with its meaning and default, in
 * sealboot-gate(8). */

#include "gate/allow-list.h"

#define GATE_CONFIG_PATH "/etc/sealboot/gate.json"

enum {
        TOKEN_DIGEST_SIZE = 32,
        PEER_DIGEST_SIZE = 48,
        CALLER_NAME_MAX = 32,
        CALLERS_MAX = 1000,
};

enum caller_kind {
        CALLER_TOKEN,     /* a bearer token */
        CALLER_AUTHORITY, /* a client certificate that a certificate authority issued */
        CALLER_PEER,      /* a client certificate that holds an attestation document */
        CALLER_ANYBODY,
};

struct gate_caller {
        enum caller_kind kind;
        char *name; /* in the log of requests */
        bool reads_requests;
        uint8_t token[TOKEN_DIGEST_SIZE]; /* SHA-256 */
        char *file;                       /* certificates of the authority; references of peers */
        char *root;                       /* peers: the root of their documents, or NULL: AWS's */
        uint8_t (*digests)[PEER_DIGEST_SIZE];
        size_t n_digests; /* 0: any model, and none */
        unsigned max_age_seconds;
};

struct gate_config {
        struct gate_caller *callers; /* CALLER_ANYBODY, if it is there, is the last */
        size_t n_callers;
        struct allow_list paths;
        char *upstream_socket; /* or NULL: upstream_port of the loopback address */
        unsigned upstream_port, port;
        bool ipv6;
        int64_t body_bytes;
        unsigned requests_per_minute; /* of each caller; 0: no limit */
        unsigned connections;         /* requests at the same time of each address */
        unsigned attestations_per_minute, attestations_per_minute_and_address;
        char *report, *tcti; /* tcti NULL: the machine's TPM */
};

/* FAILURE_CONFIG, naming file, key and what was expected. */
int gate_config_load(const char *path, struct gate_config **ret, struct error *e);
int gate_config_parse(const char *text, size_t n, const char *subject, struct gate_config **ret, struct error *e);
void gate_config_free(struct gate_config *c);
DEFINE_CLEANUP(struct gate_config *, gate_config_free, gate_config_freep)
#define _cleanup_gate_config_ _cleanup_(gate_config_freep)
