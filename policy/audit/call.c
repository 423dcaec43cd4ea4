/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/call.h"

#include <ctype.h>

#include "basic/encode.h"

enum { TEXT_MAX = 8192 };

/* clang-format off */
static const struct {
        const char *name;
        enum call_class class;
} operations[] = {
        { "Decrypt",                   CALL_RELEASE },
        { "DeriveSharedSecret",        CALL_RELEASE },
        { "ReEncrypt",                 CALL_RELEASE },
        { "GenerateDataKey",           CALL_GENERATE },
        { "GenerateDataKeyPair",       CALL_GENERATE },
        { "GenerateRandom",            CALL_RANDOM },
        { "CancelKeyDeletion",         CALL_CHANGE },
        { "CreateGrant",               CALL_CHANGE },
        { "DeleteImportedKeyMaterial", CALL_CHANGE },
        { "DisableKey",                CALL_CHANGE },
        { "EnableKey",                 CALL_CHANGE },
        { "ImportKeyMaterial",         CALL_CHANGE },
        { "PutKeyPolicy",              CALL_CHANGE },
        { "ReplicateKey",              CALL_CHANGE },
        { "RetireGrant",               CALL_CHANGE },
        { "RevokeGrant",               CALL_CHANGE },
        { "ScheduleKeyDeletion",       CALL_CHANGE },
        { "UpdatePrimaryRegion",       CALL_CHANGE },
};
/* clang-format on */

/* ---- members */

#define BAD(e, ...) fail(e, FAILURE_USAGE, -EINVAL, "", __VA_ARGS__)

/* CloudTrail writes null for what a record does not have. */
static int get(json_object *o, const char *key, enum json_type type, json_object **ret, struct error *e) {
        json_object *v = NULL;

        *ret = NULL;
        if (!o || !json_object_object_get_ex(o, key, &v) || !v)
                return 0;
        if (!json_object_is_type(v, type))
                return BAD(e, "its \"%s\" is not %s but %s", key, json_type_to_name(type),
                           json_type_to_name(json_object_get_type(v)));
        *ret = v;
        return 0;
}

static int get_text(json_object *o, const char *key, const char **ret, struct error *e) {
        json_object *v;
        int r;

        *ret = "";
        r = get(o, key, json_type_string, &v, e);
        if (r < 0 || !v)
                return r;
        if (strlen(json_text(v)) != (size_t) json_object_get_string_len(v) || strlen(json_text(v)) > TEXT_MAX)
                return BAD(e, "its \"%s\" has a NUL character, or is longer than %d bytes", key, TEXT_MAX);
        *ret = json_text(v);
        return 0;
}

struct wanted_text {
        const char *key;
        size_t offset;
};
#define AT(member) offsetof(struct call, member)

static int get_texts(json_object *o, const struct wanted_text *wanted, size_t n, struct call *c, struct error *e) {
        int r = 0;

        for (size_t i = 0; r == 0 && i < n; i++)
                r = get_text(o, wanted[i].key, (const char **) (void *) ((uint8_t *) c + wanted[i].offset), e);
        return r;
}

/* ---- parts of a record */

static bool is_time(const char *text) {
        static const char form[] = "dddd-dd-ddTdd:dd:ddZ";

        if (strlen(text) != strlen(form))
                return false;
        for (size_t i = 0; form[i]; i++)
                if (form[i] == 'd' ? !isdigit((unsigned char) text[i]) : text[i] != form[i])
                        return false;
        return true;
}

/* The Region of an ARN plays no part where the key's id begins with "mrk-". */
static const char *key_id(const char *arn) {
        const char *id = strstr(arn, ":key/");

        return id ? id + strlen(":key/") : NULL;
}

static bool is_key_arn(const char *text) {
        return strncmp(text, "arn:", 4) == 0 && strstr(text, ":kms:") && key_id(text);
}

static bool is_same_key(const char *a, const char *b) {
        const char *id = key_id(a);

        return streq(a, b) || (id && strncmp(id, "mrk-", 4) == 0 && key_id(b) && streq(id, key_id(b)));
}

/* The ARN of the next key in "resources", from *i on; NULL: there is none. take_key() has looked at their types. */
static const char *next_resource(const struct call *c, size_t *i) {
        while (c->resources && *i < json_object_array_length(c->resources)) {
                json_object *arn = NULL;

                if (json_object_object_get_ex(json_object_array_get_idx(c->resources, (*i)++), "ARN", &arn) && arn &&
                    is_key_arn(json_text(arn)))
                        return json_text(arn);
        }
        return NULL;
}

/* Where a request names its key by ARN, KMS uses that key or none. Otherwise "resources" counts, which has both keys of
 * a "ReEncrypt". An alias, in either form, may be of every key. */
bool call_is_of_key(const struct call *c, const char *key_arn) {
        const char *arn, *id = key_id(key_arn);
        bool other = false;

        if (c->class == CALL_RANDOM)
                return false;
        if (is_key_arn(c->asked))
                return is_same_key(c->asked, key_arn);
        for (size_t i = 0; (arn = next_resource(c, &i)); other = true)
                if (is_same_key(arn, key_arn))
                        return true;
        if (other)
                return false;
        return !c->asked[0] || strncmp(c->asked, "arn:", 4) == 0 || strncmp(c->asked, "alias/", 6) == 0 ||
               (id && streq(c->asked, id));
}

/* "resources" has the key's ARN also where the request named it by alias or not at all. */
static int take_key(json_object *record, json_object *parameters, struct call *c, struct error *e) {
        const char *arn;
        size_t first = 0;
        int r;

        r = get_text(parameters, streq(c->operation, "ReEncrypt") ? "sourceKeyId" : "keyId", &c->asked, e);
        if (r < 0)
                return r;
        r = get(record, "resources", json_type_array, &c->resources, e);
        for (size_t i = 0; r == 0 && c->resources && i < json_object_array_length(c->resources); i++) {
                json_object *resource = json_object_array_get_idx(c->resources, i);

                if (!json_object_is_type(resource, json_type_object))
                        return BAD(e, "an entry of its \"resources\" is not an object");
                r = get_text(resource, "ARN", &arn, e);
        }
        if (r < 0)
                return r;
        arn = is_key_arn(c->asked) ? NULL : next_resource(c, &first);
        c->key = arn ?: c->asked;
        return 0;
}

static int take_context(json_object *parameters, struct call *c, struct error *e) {
        int r;

        r = get(parameters, streq(c->operation, "ReEncrypt") ? "sourceEncryptionContext" : "encryptionContext",
                json_type_object, &c->context, e);
        if (r < 0)
                return r;
        r = get_text(c->context, "model", &c->model, e);
        return r < 0 ? r : get_text(c->context, "version", &c->version, e);
}

/* "i-0123456789abcdef0-tpm0000000000000000", or of an enclave "i-...-enc0123456789abcdef". */
static void take_instance(struct call *c) {
        const char *tail;
        size_t n;

        for (tail = c->module_id; (tail = strchr(tail, '-')); tail++)
                if (strncmp(tail, "-tpm", 4) == 0 || strncmp(tail, "-enc", 4) == 0)
                        break;
        c->enclave = tail && strncmp(tail, "-enc", 4) == 0;
        n = tail ? (size_t) (tail - c->module_id) : strlen(c->module_id);
        if (strncmp(c->module_id, "i-", 2) == 0 && n < sizeof c->instance)
                snprintf(c->instance, sizeof c->instance, "%.*s", (int) n, c->module_id);
}

/* "attestationDocumentNitroTPMPCR4", of an enclave "attestationDocumentEnclavePCR3" or "...EnclaveImageDigest", which
 * is its PCR0. 1: a PCR; 0: another member. */
static int pcr_of(const char *key, struct call *c, unsigned *ret) {
        static const char tpm[] = "attestationDocumentNitroTPMPCR", enclave[] = "attestationDocumentEnclavePCR";
        const char *number = NULL;
        uint64_t n = 0;

        if (strncmp(key, tpm, strlen(tpm)) == 0)
                number = key + strlen(tpm);
        else if (strncmp(key, enclave, strlen(enclave)) == 0)
                number = key + strlen(enclave);
        else if (!streq(key, "attestationDocumentEnclaveImageDigest"))
                return 0;
        c->enclave = strncmp(key, tpm, strlen(tpm)) != 0;
        if (number && decimal_parse(number, PCR_COUNT_MAX - 1, &n) < 0)
                return -EINVAL;
        *ret = (unsigned) n;
        return 1;
}

static int take_recipient(json_object *record, struct call *c, struct error *e) {
        json_object *more, *recipient;
        int r;

        r = get(record, "additionalEventData", json_type_object, &more, e);
        if (r < 0)
                return r;
        r = get(more, "recipient", json_type_object, &recipient, e);
        if (r < 0 || !recipient)
                return r;
        c->attested = true;
        r = get_text(recipient, "attestationDocumentModuleId", &c->module_id, e);
        if (r < 0)
                return r;
        take_instance(c);
        json_object_object_foreach(recipient, key, value) {
                unsigned pcr = 0;
                int is = pcr_of(key, c, &pcr);

                if (is == 0)
                        continue;
                if (is < 0 || !json_object_is_type(value, json_type_string) ||
                    hex_decode(json_text(value), c->pcr[pcr], SHA384_SIZE) < 0)
                        return BAD(e, "its recipient's \"%.64s\" is not a PCR of 96 hex digits", key);
                c->present |= UINT32_C(1) << pcr;
        }
        return 0;
}

static int take_caller(json_object *record, struct call *c, struct error *e) {
        json_object *identity;
        int r;

        r = get(record, "userIdentity", json_type_object, &identity, e);
        if (r < 0)
                return r;
        r = get_texts(identity, (const struct wanted_text[]) { { "arn", AT(caller) }, { "accountId", AT(account) } }, 2,
                      c, e);
        if (r < 0 || c->caller[0])
                return r;
        /* The owner's copy of a call of another account has no ARN. A service that calls for itself has its name. */
        r = get_text(identity, "principalId", &c->caller, e);
        return r < 0 || c->caller[0] ? r : get_text(identity, "invokedBy", &c->caller, e);
}

int call_parse(json_object *record, struct call *ret, struct error *e) {
        static const struct wanted_text texts[] = {
                { "eventTime", AT(time) },           { "errorCode", AT(error) },
                { "errorMessage", AT(error_words) }, { "sourceIPAddress", AT(address) },
                { "userAgent", AT(agent) },          { "requestID", AT(request_id) },
                { "eventID", AT(event_id) },         { "sharedEventID", AT(shared_id) },
        };
        struct call c = { .module_id = "" };
        json_object *parameters;
        const char *source;
        bool known = false;
        int r;

        if (!json_object_is_type(record, json_type_object))
                return BAD(e, "it is not an object");
        r = get_text(record, "eventSource", &source, e);
        if (r < 0)
                return r;
        r = get_text(record, "eventName", &c.operation, e);
        if (r < 0)
                return r;
        if (!source[0] || !c.operation[0])
                return BAD(e, "it has no \"eventSource\" or no \"eventName\": it is not a CloudTrail record");
        for (size_t i = 0; i < ELEMENTS(operations) && !known; i++) {
                known = streq(source, "kms.amazonaws.com") && streq(c.operation, operations[i].name);
                c.class = operations[i].class;
        }
        if (!known)
                return 0;
        r = get_texts(record, texts, ELEMENTS(texts), &c, e);
        if (r < 0)
                return r;
        if (!is_time(c.time))
                return BAD(e, "its \"eventTime\" is not a time such as 2026-11-30T02:59:30Z");
        r = get(record, "requestParameters", json_type_object, &parameters, e);
        r = r < 0 ? r : take_key(record, parameters, &c, e);
        r = r < 0 ? r : take_context(parameters, &c, e);
        r = r < 0 ? r : take_caller(record, &c, e);
        r = r < 0 ? r : take_recipient(record, &c, e);
        if (r < 0)
                return r;
        if (c.class == CALL_RANDOM && !c.attested)
                return 0;
        *ret = c;
        return 1;
}
