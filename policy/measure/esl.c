/* SPDX-License-Identifier: Apache-2.0 */
#include "measure/esl.h"

#include "evidence/registers.h"

enum {
        GUID_SIZE = 16,
        LIST_HEADER_SIZE = GUID_SIZE + 3 * 4,
        TIMED = 16, /* the EFI_TIME of its revocation, behind the hash of a certificate */
        ENTRIES_MAX = 65536,
        ATTRIBUTES_SIZE = 4,
        BOOTSERVICE_ACCESS = 2,
};

static const struct {
        uint8_t guid[GUID_SIZE]; /* as stored: the first three parts little-endian */
        size_t data_size;        /* of every entry; 0: any */
        size_t hash_size;
} types[] = {
        [ESL_X509] = { "\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a\x87\xb5\xab\x15\x5c\x2b\xf0\x72", 0, 0 },
        [ESL_SHA256] = { "\x26\x16\xc4\xc1\x4c\x50\x92\x40\xac\xa9\x41\xf9\x36\x93\x43\x28", SHA256_SIZE, SHA256_SIZE },
        [ESL_SHA384] = { "\x07\x53\x3e\xff\xd0\x9f\xc9\x48\x85\xf1\x8a\xd5\x6c\x70\x1e\x01", SHA384_SIZE, SHA384_SIZE },
        [ESL_SHA512] = { "\xae\x0f\x3e\x09\xc4\xa6\x50\x4f\x9f\x1b\xd4\x1e\x2b\x89\xc1\x9a", SHA512_SIZE, SHA512_SIZE },
        [ESL_X509_SHA256] = { "\x92\xa4\xd2\x3b\xc0\x96\x79\x40\xb4\x20\xfc\xf9\x8e\xf1\x03\xed", TIMED + SHA256_SIZE,
                              SHA256_SIZE },
        [ESL_X509_SHA384] = { "\x6e\x87\x76\x70\xc2\x80\xe6\x4e\xaa\xd2\x28\xb3\x49\xa6\x86\x5b", TIMED + SHA384_SIZE,
                              SHA384_SIZE },
        [ESL_X509_SHA512] = { "\x63\xbf\x6d\x44\x02\x25\xda\x4c\xbc\xfa\x24\x65\xd2\xb0\xfe\x9d", TIMED + SHA512_SIZE,
                              SHA512_SIZE },
};

size_t esl_hash_size(enum esl_type type) {
        return types[type].hash_size;
}

static enum esl_type type_of(const uint8_t guid[static GUID_SIZE]) {
        for (size_t i = ESL_OTHER + 1; i < ELEMENTS(types); i++)
                if (memcmp(types[i].guid, guid, GUID_SIZE) == 0)
                        return (enum esl_type) i;
        return ESL_OTHER;
}

/* Recognises other files that users often give in place of a signature list, by their first bytes. */
static const char *mistaken_for(const uint8_t *data, size_t size) {
        if (size >= 10 && memcmp(data, "-----BEGIN", 10) == 0)
                return "it is PEM; convert the certificate with cert-to-efi-sig-list";
        if (size >= 2 && data[0] == 0x30 && data[1] == 0x82)
                return "it is DER; convert the certificate with cert-to-efi-sig-list";
        if (size >= 40 && data[20] == 0 && data[21] == 2 && data[22] == 0xf1 && data[23] == 0x0e)
                return "it is a signed update (.auth); give the list it was made from";
        if (size >= 44 && memcmp(data + 40, "_FVH", 4) == 0)
                return "it is a firmware's variable store; take the list out of it with virt-fw-vars --output-json, or "
                       "on the machine from /sys/firmware/efi/efivars";
        if (size >= 8 && (memcmp(data, "AMZNUEFI", 8) == 0 || memcmp(data, "QU1aTlVF", 8) == 0))
                return "it is EC2's UefiData, which holds all variables; take the list from /sys/firmware/efi/efivars "
                       "of an instance, or out of it with uefivars (python-uefivars)";
        return NULL;
}

static int malformed(const uint8_t *data, size_t size, const char *subject, struct error *e, const char *reason) {
        const char *hint = mistaken_for(data, size);

        return hint ? fail(e, FAILURE_USAGE, -EBADMSG, subject, "it is not an EFI signature list: %s", hint)
                    : fail(e, FAILURE_USAGE, -EBADMSG, subject, "it is not an EFI signature list: %s", reason);
}

static int add_entries(struct esl *esl, enum esl_type type, struct reader *r, size_t signature_size) {
        size_t more = reader_left(r) / signature_size;
        struct esl_entry *larger;

        if (esl->n + more > ENTRIES_MAX)
                return -E2BIG;
        larger = reallocarray(esl->entries, esl->n + more + 1, sizeof *larger);
        if (!larger)
                return -ENOMEM;
        esl->entries = larger;
        for (size_t i = 0; i < more; i++) {
                struct esl_entry *entry = &esl->entries[esl->n];

                *entry = (struct esl_entry) { .type = type, .signature_size = signature_size };
                if (reader_bytes(r, signature_size, &entry->signature) < 0)
                        return -EBADMSG;
                entry->data = entry->signature + GUID_SIZE;
                entry->data_size = signature_size - GUID_SIZE;
                esl->n++;
        }
        return 0;
}

/* One EFI_SIGNATURE_LIST; NULL, or what is wrong with it. */
static const char *parse_list(struct reader *r, struct esl *esl) {
        uint8_t guid[GUID_SIZE];
        uint32_t list_size, header_size, signature_size;
        struct reader body;
        enum esl_type type;

        if (reader_copy(r, guid, sizeof guid) < 0 || reader_le32(r, &list_size) < 0 ||
            reader_le32(r, &header_size) < 0 || reader_le32(r, &signature_size) < 0)
                return "it is cut short in a list's header";
        if (list_size < LIST_HEADER_SIZE || reader_sub(r, list_size - LIST_HEADER_SIZE, &body) < 0)
                return "a list is longer than the file";
        type = type_of(guid);
        if (reader_skip(&body, header_size) < 0 || (type != ESL_OTHER && header_size != 0))
                return "a list's SignatureHeaderSize is wrong";
        if (signature_size <= GUID_SIZE || reader_left(&body) % signature_size != 0)
                return "a list is not a whole number of signatures";
        if (types[type].data_size && signature_size != GUID_SIZE + types[type].data_size)
                return "a list of hashes has entries of another size";
        switch (add_entries(esl, type, &body, signature_size)) {
        case 0:
                return NULL;
        case -E2BIG:
                return "it holds more than 65536 signatures";
        default:
                return "out of memory";
        }
}

/* NULL, or what is wrong. */
static const char *parse_lists(const uint8_t *data, size_t size, struct esl *ret) {
        _cleanup_esl_ struct esl esl = { .bytes = data, .size = size };
        struct reader r = reader_over(data, size);

        while (reader_left(&r) > 0) {
                const char *wrong = parse_list(&r, &esl);

                if (wrong)
                        return wrong;
        }
        *ret = TAKE_STRUCT(esl);
        return NULL;
}

/* A file of efivarfs starts with the variable's attributes; a key list is readable by boot services, at least. */
static bool has_attributes(const uint8_t *data, size_t size) {
        return size >= ATTRIBUTES_SIZE && (data[0] & BOOTSERVICE_ACCESS) && !data[1] && !data[2] && !data[3];
}

int esl_parse(const void *data, size_t size, const char *subject, struct esl *ret, struct error *e) {
        const uint8_t *bytes = data;
        const char *wrong = parse_lists(bytes, size, ret);

        if (wrong && has_attributes(bytes, size) && !parse_lists(bytes + ATTRIBUTES_SIZE, size - ATTRIBUTES_SIZE, ret))
                return 0;
        return wrong ? malformed(bytes, size, subject, e, wrong) : 0;
}

void esl_done(struct esl *esl) {
        free(esl->entries);
        *esl = (struct esl) {};
}
