/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The instances that this program has seen, by the SHA-256 of the SubjectPublicKeyInfo of their TLS keys: the set of
 * attested keys, and what is known of each. Safe for several threads. */

#include "basic/json.h"

enum { KEY_ID_SIZE = 32, INSTANCES_MAX = 256, INSTANCE_REASON_MAX = 512 };

enum instance_state {
        INSTANCE_ATTESTED, /* until the maximum age has passed */
        INSTANCE_REFUSED,
};

struct instance {
        uint8_t key[KEY_ID_SIZE];
        enum instance_state state;
        int64_t first_seen, judged; /* seconds since 1970 */
        int64_t judged_ns;          /* by clock_ns() */
        int64_t signed_ms;          /* what the document says; 0: none was authentic */
        uint64_t requests;
        char address[64], protocol[16], reason[INSTANCE_REASON_MAX]; /* reason: of a refusal */
        json_object *verdict, *certificates, *report;                /* NULL: none */
};

struct instances;

int instances_new(int64_t max_age_seconds, struct instances **ret, struct error *e);
void instances_free(struct instances *s);
DEFINE_CLEANUP(struct instances *, instances_free, instances_freep)

/* Whether requests may go to the owner of this key now: attested, and not longer ago than the maximum age. */
bool instances_accept(struct instances *s, const uint8_t key[static KEY_ID_SIZE]);
/* Whether the key is accepted, but not for long: three quarters of the maximum age have passed. */
bool instances_due(struct instances *s, const uint8_t key[static KEY_ID_SIZE]);
/* Whether the key was refused in the last half minute, so that asking again would be of no use; and why. */
bool instances_refused(struct instances *s, const uint8_t key[static KEY_ID_SIZE], char *ret_reason, size_t size);
/* How many keys are accepted now. */
size_t instances_accepted(struct instances *s);

/* What the verifier found. `reason` NULL: attested. Takes the JSON values over. */
int instances_judge(struct instances *s, const uint8_t key[static KEY_ID_SIZE], const char *reason, int64_t signed_ms,
                    json_object *verdict, json_object *certificates);
void instances_reached(struct instances *s, const uint8_t key[static KEY_ID_SIZE], const char *address,
                       const char *protocol);
void instances_count(struct instances *s, const uint8_t key[static KEY_ID_SIZE]);
/* Whether the report is still unknown; and what it is, which is taken over. */
bool instances_lack_report(struct instances *s, const uint8_t key[static KEY_ID_SIZE]);
void instances_report(struct instances *s, const uint8_t key[static KEY_ID_SIZE], json_object *report);

/* Calls `see` for each instance, those judged last first, under the lock. */
void instances_each(struct instances *s, void (*see)(const struct instance *i, bool accepted, void *userdata),
                    void *userdata);
int64_t instances_max_age(const struct instances *s);
