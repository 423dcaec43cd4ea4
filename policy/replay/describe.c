/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/describe.h"

#include <openssl/x509.h>

#include "basic/encode.h"
#include "basic/macros.h"
#include "basic/reader.h"
#include "basic/utf8.h"
#include "measure/event-types.h"

enum { TEXT_MAX = 400, HEX_MAX = 16 };

DEFINE_CLEANUP(X509 *, X509_free, x509_freep)

/* What firmware measures as text is ASCII. */
static char printable(unsigned c) {
        return c >= ' ' && c < 0x7f ? (char) c : '?';
}

char *describe_text(const char *text) {
        char *out = strndup(text, TEXT_MAX);

        if (out)
                utf8_make_printable(out);
        return out;
}

static void copy_ascii(const uint8_t *data, size_t n, char out[static TEXT_MAX + 1]) {
        size_t i = 0;

        for (; i < n && i < TEXT_MAX && data[i] != 0; i++)
                out[i] = printable(data[i]);
        out[i] = 0;
}

static void copy_utf16(const uint8_t *data, size_t n, char out[static TEXT_MAX + 1]) {
        size_t i = 0;

        for (; i < n / 2 && i < TEXT_MAX && (data[2 * i] || data[2 * i + 1]); i++)
                out[i] = printable((unsigned) data[2 * i] | (unsigned) data[2 * i + 1] << 8);
        out[i] = 0;
}

static char *text(const char *format, ...) _printf_(1, 2);

static char *text(const char *format, ...) {
        va_list ap;
        char *out;
        int n;

        va_start(ap, format);
        n = vasprintf(&out, format, ap);
        va_end(ap);
        return n < 0 ? NULL : out;
}

static char *bytes(const char *what, const uint8_t *data, size_t n) {
        char hex[2 * HEX_MAX + 1];

        hex_encode(data, MIN_OF(n, (size_t) HEX_MAX), hex);
        return text("%s%s%s (%zu bytes)", what, hex, n > HEX_MAX ? "..." : "", n);
}

/* --- where code comes from ---------------------------------------------------------------------------------------- */

/* What one node of a device path adds to the words before it. */
static void add_origin(uint8_t type, uint8_t subtype, struct reader *node, char out[static TEXT_MAX + 1]) {
        char file[TEXT_MAX + 1];
        size_t n = strlen(out);
        uint8_t function, device;
        uint32_t partition;

        if (type == 4 && subtype == 4) {
                copy_utf16(node->data, node->size, file);
                snprintf(out + n, TEXT_MAX + 1 - n, "%s%s", n ? ", " : "", file);
        } else if (type == 4 && subtype == 1 && reader_le32(node, &partition) == 0)
                snprintf(out + n, TEXT_MAX + 1 - n, "%spartition %u", n ? ", " : "", partition);
        else if (type == 1 && subtype == 1 && reader_u8(node, &function) == 0 && reader_u8(node, &device) == 0)
                snprintf(out + n, TEXT_MAX + 1 - n, "%s%02x.%x", n ? "/" : "PCI ", device, function);
        else if (type == 4 && subtype == 8)
                snprintf(out + n, TEXT_MAX + 1 - n, "%soption ROM", n ? ", " : "");
        else if (type == 1 && subtype == 3)
                snprintf(out + n, TEXT_MAX + 1 - n, "%smemory", n ? ", " : "");
        else if (type == 4 && subtype == 6)
                snprintf(out + n, TEXT_MAX + 1 - n, "%sthe firmware itself", n ? ", " : "");
        else if (type == 3 && subtype == 24)
                snprintf(out + n, TEXT_MAX + 1 - n, "%sthe network", n ? ", " : "");
}

/* "PCI 03.0, partition 1, \EFI\x.efi", "PCI 02.1/00.0, option ROM": the nodes of a device path that tell whose code it
 * is. */
static void describe_origin(struct reader *r, char out[static TEXT_MAX + 1]) {
        uint8_t type, subtype;
        uint16_t length;
        struct reader node;

        out[0] = 0;
        while (reader_u8(r, &type) == 0 && reader_u8(r, &subtype) == 0 && reader_le16(r, &length) == 0 && length >= 4 &&
               reader_sub(r, length - 4u, &node) == 0)
                add_origin(type, subtype, &node, out);
        if (!out[0])
                snprintf(out, TEXT_MAX + 1, "of unknown origin");
}

/* --- variables ---------------------------------------------------------------------------------------------------- */

/* EFI_SIGNATURE_DATA: the owner's GUID, then a certificate or a hash. */
static char *describe_authority(const char *name, const uint8_t *data, size_t n) {
        _cleanup_(x509_freep) X509 *x = NULL;
        const uint8_t *der = data + 16;
        char subject[TEXT_MAX + 1];

        if (n <= 16)
                return text("%s entry of %zu bytes", name, n);
        x = d2i_X509(NULL, &der, (long) n - 16);
        if (!x)
                return bytes("db entry: hash ", data + 16, n - 16);
        X509_NAME_oneline(X509_get_subject_name(x), subject, sizeof subject);
        utf8_make_printable(subject);
        return text("%s entry: certificate %s", name, subject);
}

/* Boot0000, Driver0000, SysPrep0000, ...: EFI_LOAD_OPTION. */
static bool is_load_option(const char *name) {
        size_t n = strlen(name);

        return n > 4 && strspn(name + n - 4, "0123456789ABCDEFabcdef") == 4;
}

/* Attributes u32, length of the paths u16, title in UTF-16 with a NUL, paths, optional data. */
static char *describe_load_option(const char *name, const uint8_t *data, size_t n) {
        struct reader r = reader_over(data, n), path;
        char title[TEXT_MAX + 1], what[TEXT_MAX + 1];
        uint32_t attributes;
        uint16_t length, c = 1;

        if (reader_le32(&r, &attributes) < 0 || reader_le16(&r, &length) < 0)
                return text("variable %s", name);
        copy_utf16(r.data + r.offset, reader_left(&r), title);
        if (strncmp(name, "Boot", 4) == 0)
                return text("variable %s \"%s\"", name, title);
        while (c != 0)
                if (reader_le16(&r, &c) < 0)
                        return text("variable %s \"%s\"", name, title);
        if (reader_sub(&r, length, &path) < 0)
                return text("variable %s \"%s\"", name, title);
        describe_origin(&path, what);
        return text("variable %s \"%s\": %s", name, title, what);
}

/* BootOrder, DriverOrder, SysPrepOrder: the numbers of load options. */
static char *describe_order(const char *name, const uint8_t *data, size_t n) {
        char numbers[TEXT_MAX + 1] = "";

        for (size_t i = 0; i + 1 < n && strlen(numbers) + sizeof ", 0000" < sizeof numbers; i += 2)
                snprintf(numbers + strlen(numbers), sizeof numbers - strlen(numbers), "%s%02X%02X", i ? ", " : "",
                         data[i + 1], data[i]);
        return text("variable %s: %s", name, numbers);
}

static char *describe_variable(uint32_t type, struct reader *r) {
        const uint8_t *name_bytes, *data;
        char name[TEXT_MAX + 1];
        uint64_t n, size;

        if (reader_skip(r, 16) < 0 || reader_le64(r, &n) < 0 || reader_le64(r, &size) < 0 || n > TEXT_MAX ||
            reader_bytes(r, 2 * (size_t) n, &name_bytes) < 0 || size > reader_left(r) ||
            reader_bytes(r, (size_t) size, &data) < 0)
                return NULL;
        copy_utf16(name_bytes, 2 * (size_t) n, name);
        if (type == EV_EFI_VARIABLE_AUTHORITY)
                return describe_authority(name, data, (size_t) size);
        if (size == 1)
                return text("variable %s = %u", name, data[0]);
        if (size > 0 && type != EV_EFI_VARIABLE_DRIVER_CONFIG && is_load_option(name))
                return describe_load_option(name, data, (size_t) size);
        if (size > 0 && (streq(name, "DriverOrder") || streq(name, "SysPrepOrder")))
                return describe_order(name, data, (size_t) size);
        return size == 0 ? text("variable %s, not set", name) : text("variable %s, %zu bytes", name, (size_t) size);
}

/* --- images ------------------------------------------------------------------------------------------------------- */

/* The nodes of a device path that tell where an image came from. */
static void describe_path(struct reader *r, char out[static TEXT_MAX + 1]) {
        static const uint8_t stub_payload[16] = "\xf8\xd1\xc5\x55\xcd\x04\xb5\x46\x8a\x20\xe5\x6c\xbb\x30\x52\xd0";
        uint8_t type, subtype;
        uint16_t length;
        struct reader node;

        snprintf(out, TEXT_MAX, "an image");
        while (reader_u8(r, &type) == 0 && reader_u8(r, &subtype) == 0 && reader_le16(r, &length) == 0 && length >= 4 &&
               reader_sub(r, length - 4u, &node) == 0) {
                if (type == 4 && subtype == 4)
                        copy_utf16(node.data, node.size, out);
                else if (type == 1 && subtype == 3)
                        snprintf(out, TEXT_MAX, "an image in memory");
                else if (type == 4 && subtype == 3 && node.size == 16 && memcmp(node.data, stub_payload, 16) == 0)
                        snprintf(out, TEXT_MAX, "the kernel in .linux, from systemd-stub");
                else if (type == 4 && subtype == 6)
                        snprintf(out, TEXT_MAX, "an application in the firmware itself");
                else if (type == 3 && subtype == 24)
                        snprintf(out, TEXT_MAX, "an image from the network");
        }
}

static char *describe_image(uint32_t type, struct reader *r) {
        char path[TEXT_MAX + 1];
        uint64_t base, size, link, n;
        struct reader nodes;

        if (reader_le64(r, &base) < 0 || reader_le64(r, &size) < 0 || reader_le64(r, &link) < 0 ||
            reader_le64(r, &n) < 0 || n > reader_left(r) || reader_sub(r, (size_t) n, &nodes) < 0)
                return NULL;
        if (type != EV_EFI_BOOT_SERVICES_APPLICATION) {
                describe_origin(&nodes, path);
                return text("driver %s", path);
        }
        describe_path(&nodes, path);
        return text("%s", path);
}

/* --- text --------------------------------------------------------------------------------------------------------- */

static bool looks_like_utf16(const uint8_t *data, size_t n) {
        return n >= 2 && n % 2 == 0 && data[0] != 0 && data[1] == 0;
}

static char *describe_string(const uint8_t *data, size_t n) {
        char out[TEXT_MAX + 1];

        if (looks_like_utf16(data, n))
                copy_utf16(data, n, out);
        else
                copy_ascii(data, n, out);
        return text("\"%s\"", out);
}

/* TCG_PCClientTaggedEvent: what systemd-stub measures of addons and profiles. */
static char *describe_tagged(struct reader *r) {
        static const struct {
                uint32_t id;
                const char *name;
        } tags[] = {
                { 0xf5bc582a, "loader.conf" },     { 0x6c46f751, "device tree addon" }, { 0x49dffe0f, "initrd addon" },
                { 0xdac08e1a, "microcode addon" }, { 0x13aed6db, "UKI profile" },
        };
        char out[TEXT_MAX + 1];
        uint32_t id, size;
        struct reader body;

        if (reader_le32(r, &id) < 0 || reader_le32(r, &size) < 0 || reader_sub(r, size, &body) < 0)
                return NULL;
        copy_utf16(body.data, body.size, out);
        for (size_t i = 0; i < ELEMENTS(tags); i++)
                if (tags[i].id == id)
                        return text("%s %s", tags[i].name, out);
        return text("tag 0x%08x", id);
}

static char *describe_known(uint32_t type, const uint8_t *data, size_t n) {
        struct reader r = reader_over(data, n);

        switch (type) {
        case EV_EFI_VARIABLE_DRIVER_CONFIG:
        case EV_EFI_VARIABLE_BOOT:
        case EV_EFI_VARIABLE_BOOT2:
        case EV_EFI_VARIABLE_AUTHORITY:
                return describe_variable(type, &r);
        case EV_EFI_BOOT_SERVICES_APPLICATION:
        case EV_EFI_BOOT_SERVICES_DRIVER:
        case EV_EFI_RUNTIME_SERVICES_DRIVER:
                return describe_image(type, &r);
        case EV_EFI_ACTION:
        case EV_ACTION:
        case EV_IPL:
        case EV_NO_ACTION:
        case EV_POST_CODE:
                return describe_string(data, n);
        case EV_EVENT_TAG:
                return describe_tagged(&r);
        case EV_EFI_GPT_EVENT:
                return text("the partition table of the boot disk");
        default:
                return NULL;
        }
}

char *describe_event(uint32_t type, const void *data, size_t n) {
        return describe_known(type, data, n) ?: bytes("", data, n);
}
