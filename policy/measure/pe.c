/* SPDX-License-Identifier: Apache-2.0 */
#include "measure/pe.h"

enum {
        DOS_PE_OFFSET = 60,
        OPTIONAL_MAGIC_PE32_PLUS = 0x20b,
        OPTIONAL_HEADERS_SIZE = 60,
        OPTIONAL_CHECKSUM = 64,
        OPTIONAL_DIRECTORIES = 108,
        DIRECTORY_CERTIFICATES = 4,
        DIRECTORIES_MAX = 16,
        SECTION_HEADER_SIZE = 40,
        CERTIFICATE_HEADER = 8,
        CERTIFICATE_REVISION_2 = 0x0200,
        CERTIFICATE_PKCS_SIGNED_DATA = 2,
        ZEROS_MAX =
                256 * 1024 * 1024, /* behind a section: what a kernel needs in memory beyond its file is tens of MB */
};

static int bad(const struct pe *pe, struct error *e, const char *reason) {
        return fail(e, FAILURE_UKI, -EBADMSG, pe->subject, "%s", reason);
}

struct headers {
        uint16_t n_sections, optional_size;
        size_t optional, sections; /* file offsets */
        uint32_t n_directories;
};

static int parse_coff(struct pe *pe, struct reader *r, struct headers *h, struct error *e) {
        uint16_t dos, characteristics, magic;
        uint32_t offset, signature;

        if (reader_le16(r, &dos) < 0 || dos != 0x5a4d)
                return bad(pe, e, "it is not a PE image: it does not start with \"MZ\"");
        if (reader_seek(r, DOS_PE_OFFSET) < 0 || reader_le32(r, &offset) < 0 || reader_seek(r, offset) < 0 ||
            reader_le32(r, &signature) < 0 || signature != 0x4550)
                return bad(pe, e, "it is not a PE image: the PE signature is missing");
        if (reader_le16(r, &pe->machine) < 0 || reader_le16(r, &h->n_sections) < 0 || reader_skip(r, 12) < 0 ||
            reader_le16(r, &h->optional_size) < 0 || reader_le16(r, &characteristics) < 0)
                return bad(pe, e, "it is cut short in its COFF header");
        if (pe->machine != PE_MACHINE_X64 && pe->machine != PE_MACHINE_ARM64)
                return fail(e, FAILURE_UKI, -EBADMSG, pe->subject,
                            "it is for machine type 0x%04x; only x86-64 (0x8664) and arm64 (0xaa64) have a NitroTPM",
                            pe->machine);
        h->optional = r->offset;
        if (reader_le16(r, &magic) < 0 || magic != OPTIONAL_MAGIC_PE32_PLUS)
                return bad(pe, e, "it is not a PE32+ image");
        h->sections = h->optional + h->optional_size;
        return 0;
}

static int parse_optional(struct pe *pe, struct reader *r, struct headers *h, struct error *e) {
        uint32_t headers_size, offset = 0, size = 0;

        if (h->optional_size < OPTIONAL_DIRECTORIES + 4 || reader_seek(r, h->optional + OPTIONAL_HEADERS_SIZE) < 0 ||
            reader_le32(r, &headers_size) < 0 || reader_seek(r, h->optional + OPTIONAL_DIRECTORIES) < 0 ||
            reader_le32(r, &h->n_directories) < 0)
                return bad(pe, e, "it has an optional header that is too short");
        if (h->n_directories > DIRECTORIES_MAX || h->optional_size < OPTIONAL_DIRECTORIES + 4 + 8 * h->n_directories)
                return bad(pe, e, "it has more data directories than its optional header has room for");
        pe->headers_size = headers_size;
        pe->checksum_offset = h->optional + OPTIONAL_CHECKSUM;
        if (h->n_directories <= DIRECTORY_CERTIFICATES)
                return 0;
        pe->directory_offset = h->optional + OPTIONAL_DIRECTORIES + 4 + 8 * DIRECTORY_CERTIFICATES;
        if (reader_seek(r, pe->directory_offset) < 0 || reader_le32(r, &offset) < 0 || reader_le32(r, &size) < 0)
                return bad(pe, e, "it is cut short in its data directories");
        pe->certificates_offset = size ? offset : 0;
        pe->certificates_size = size;
        /* Firmware hashes everything but the last `size` bytes: anywhere else the digest would cover the signature. */
        if (size && (offset > pe->size || size != pe->size - offset))
                return bad(pe, e, "it has an attribute certificate table that does not end where the file ends");
        return 0;
}

static int parse_sections(struct pe *pe, struct reader *r, const struct headers *h, struct error *e) {
        if (h->n_sections == 0 || h->n_sections > PE_SECTIONS_MAX)
                return fail(e, FAILURE_UKI, -EBADMSG, pe->subject, "it has %u sections; expected 1 to %d",
                            h->n_sections, PE_SECTIONS_MAX);
        if (reader_seek(r, h->sections) < 0 || reader_left(r) < (size_t) h->n_sections * SECTION_HEADER_SIZE)
                return bad(pe, e, "it is cut short in its section table");
        for (size_t i = 0; i < h->n_sections; i++) {
                struct pe_section *s = &pe->sections[i];

                if (reader_copy(r, s->name, 8) < 0 || reader_le32(r, &s->virtual_size) < 0 ||
                    reader_le32(r, &s->virtual_address) < 0 || reader_le32(r, &s->raw_size) < 0 ||
                    reader_le32(r, &s->raw_offset) < 0 || reader_skip(r, 16) < 0)
                        return bad(pe, e, "it is cut short in its section table");
                s->name[8] = 0;
        }
        pe->n_sections = h->n_sections;
        if (pe->headers_size < r->offset || pe->headers_size > pe->size)
                return bad(pe, e, "it has a SizeOfHeaders that does not fit its headers or the file");
        return 0;
}

static int by_offset(const void *a, const void *b) {
        const struct pe_section *x = a, *y = b;

        return (x->raw_offset > y->raw_offset) - (x->raw_offset < y->raw_offset);
}

/* The sections that have bytes in the file, in the order of those bytes, which is the order they are hashed in. */
static size_t sections_in_file(const struct pe *pe, struct pe_section *out) {
        size_t n = 0;

        for (size_t i = 0; i < pe->n_sections; i++)
                if (pe->sections[i].raw_size > 0)
                        out[n++] = pe->sections[i];
        qsort(out, n, sizeof *out, by_offset);
        return n;
}

/* No linker writes an image whose parts overlap, and tools differ in how they hash one. */
static int check_layout(const struct pe *pe, struct error *e) {
        struct pe_section sorted[PE_SECTIONS_MAX] = {};
        size_t n = sections_in_file(pe, sorted), end = pe->headers_size;
        size_t limit = pe->size - pe->certificates_size;

        if (pe->headers_size > limit)
                return bad(pe, e, "it has an attribute certificate table inside its headers");
        for (size_t i = 0; i < n; i++) {
                if (sorted[i].raw_offset < end)
                        return fail(e, FAILURE_UKI, -EBADMSG, pe->subject, "section %.8s overlaps what comes before it",
                                    sorted[i].name);
                if (sorted[i].raw_size > limit || sorted[i].raw_offset > limit - sorted[i].raw_size)
                        return fail(e, FAILURE_UKI, -EBADMSG, pe->subject,
                                    "section %.8s ends after the file, or inside the signatures: the image is cut "
                                    "short",
                                    sorted[i].name);
                end = (size_t) sorted[i].raw_offset + sorted[i].raw_size;
        }
        return 0;
}

int pe_parse(const void *data, size_t size, const char *subject, struct pe *ret, struct error *e) {
        struct pe pe = { .data = data, .size = size, .subject = subject };
        struct reader r = reader_over(data, size);
        struct headers h = {};
        int k;

        if (size > PE_FILE_MAX)
                return bad(&pe, e, "it is larger than 1 GiB");
        k = parse_coff(&pe, &r, &h, e);
        if (k < 0)
                return k;
        k = parse_optional(&pe, &r, &h, e);
        if (k < 0)
                return k;
        k = parse_sections(&pe, &r, &h, e);
        if (k < 0)
                return k;
        k = check_layout(&pe, e);
        if (k < 0)
                return k;
        *ret = pe;
        return 0;
}

static const char *machine_name(uint16_t machine) {
        return machine == PE_MACHINE_X64 ? "x86-64" : "arm64";
}

int pe_check_machine(const struct pe *pe, uint16_t machine, struct error *e) {
        if (pe->machine == machine)
                return 0;
        return fail(e, FAILURE_UKI, -EINVAL, pe->subject, "it is for %s, where %s is started: it will not boot",
                    machine_name(pe->machine), machine_name(machine));
}

const struct pe_section *pe_section(const struct pe *pe, const char *name) {
        for (size_t i = 0; i < pe->n_sections; i++)
                if (streq(pe->sections[i].name, name))
                        return &pe->sections[i];
        return NULL;
}

int pe_section_bytes(const struct pe *pe, const struct pe_section *section, const uint8_t **ret, size_t *ret_n,
                     struct error *e) {
        if (section->virtual_size > section->raw_size)
                return fail(e, FAILURE_UKI, -EBADMSG, pe->subject, "section %s is larger in memory than in the file",
                            section->name);
        *ret = pe->data + section->raw_offset;
        *ret_n = section->virtual_size;
        return 0;
}

int pe_section_memory(const struct pe *pe, const struct pe_section *section, uint8_t **ret_owned, const uint8_t **ret,
                      size_t *ret_n, struct error *e) {
        uint8_t *memory;

        if (section->virtual_size <= section->raw_size)
                return pe_section_bytes(pe, section, ret, ret_n, e);
        if (section->virtual_size - section->raw_size > ZEROS_MAX)
                return fail(e, FAILURE_UKI, -E2BIG, pe->subject,
                            "section %s is larger in memory than in the file by more than %d MiB", section->name,
                            ZEROS_MAX >> 20);
        memory = calloc(1, section->virtual_size);
        if (!memory)
                return fail_oom(e);
        memcpy(memory, pe->data + section->raw_offset, section->raw_size);
        *ret_owned = memory;
        *ret = memory;
        *ret_n = section->virtual_size;
        return 0;
}

struct hashing {
        EVP_MD_CTX *context;
        const struct pe *pe;
};

static bool hash_range(const struct hashing *h, size_t from, size_t to) {
        return from >= to || EVP_DigestUpdate(h->context, h->pe->data + from, to - from) == 1;
}

static bool hash_image(const struct hashing *h) {
        const struct pe *pe = h->pe;
        struct pe_section sorted[PE_SECTIONS_MAX] = {};
        size_t n = sections_in_file(pe, sorted), sum = pe->headers_size;
        size_t after = pe->checksum_offset + 4;
        bool ok = hash_range(h, 0, pe->checksum_offset);

        if (pe->directory_offset) {
                ok = ok && hash_range(h, after, pe->directory_offset);
                after = pe->directory_offset + 8;
        }
        ok = ok && hash_range(h, after, pe->headers_size);
        for (size_t i = 0; i < n; i++) {
                ok = ok && hash_range(h, sorted[i].raw_offset, (size_t) sorted[i].raw_offset + sorted[i].raw_size);
                sum += sorted[i].raw_size;
        }
        /* The specification uses SUM_OF_BYTES_HASHED as an offset, even where there are gaps between sections. */
        return ok && hash_range(h, sum, pe->size - pe->certificates_size);
}

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free, evp_md_ctx_freep)

int pe_digest(const struct pe *pe, const EVP_MD *hash, uint8_t *out, struct error *e) {
        _cleanup_(evp_md_ctx_freep) EVP_MD_CTX *context = EVP_MD_CTX_new();
        struct hashing h = { context, pe };

        if (!context || EVP_DigestInit_ex(context, hash, NULL) != 1 || !hash_image(&h) ||
            EVP_DigestFinal_ex(context, out, NULL) != 1)
                return fail(e, FAILURE_INTERNAL, -ENOMEM, pe->subject, "OpenSSL cannot hash it");
        return 0;
}

int pe_next_signature(const struct pe *pe, size_t *offset, const uint8_t **ret, size_t *ret_n, struct error *e) {
        struct reader r;
        uint32_t length;
        uint16_t revision, type;

        if (*offset >= pe->certificates_size)
                return 0;
        r = reader_over(pe->data + pe->certificates_offset, pe->certificates_size);
        if (reader_seek(&r, *offset) < 0 || reader_le32(&r, &length) < 0 || reader_le16(&r, &revision) < 0 ||
            reader_le16(&r, &type) < 0 || length <= CERTIFICATE_HEADER ||
            reader_bytes(&r, length - CERTIFICATE_HEADER, ret) < 0)
                return bad(pe, e, "it has a malformed attribute certificate table");
        if (revision != CERTIFICATE_REVISION_2 || type != CERTIFICATE_PKCS_SIGNED_DATA)
                return fail(e, FAILURE_UKI, -EBADMSG, pe->subject,
                            "it has a signature of type 0x%04x, revision 0x%04x; only Authenticode (0x0002, 0x0200) is "
                            "read",
                            type, revision);
        *ret_n = length - CERTIFICATE_HEADER;
        *offset = (r.offset + 7) & ~(size_t) 7;
        return 1;
}
