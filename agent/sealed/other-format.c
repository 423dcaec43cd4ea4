/* SPDX-License-Identifier: Apache-2.0 */
#include "sealed/other-format.h"

enum { ID_START = 3, ID_END = 35, REPLACEMENTS_MIN = 3, CHUNK_SIZE_DIGITS = 16 };

static const struct {
        size_t offset;
        const char *bytes;
        size_t n;
        const char *what;
} formats[] = {
#define AT(offset, bytes, what) \
        { offset, bytes, sizeof(bytes) - 1, what }
        /* A sealed file begins with 02 04 78: the version of the format, and the suite. */
        AT(0, "AgR4", "the base64 text of a sealed file"),
        AT(0, "\"AgR4", "the base64 text of a sealed file, in quotes"),
        AT(0, "020478", "the hexadecimal text of a sealed file"),
        AT(0, "AYA", "the base64 text of an Encryption SDK message in format 1"),
        AT(0, "\x1f\x8b", "gzip-compressed"),
        AT(0, "\x28\xb5\x2f\xfd", "zstd-compressed"),
        AT(0,
           "\xfd"
           "7zXZ\0",
           "xz-compressed"),
        AT(0, "BZh", "bzip2-compressed"),
        AT(0, "PK\3\4", "a ZIP archive"),
        AT(257, "ustar", "a tar archive"),
        AT(0, "age-encryption.org/", "encrypted with age"),
        AT(0, "-----BEGIN ", "PEM text"),
        AT(0, "Salted__", "encrypted with openssl enc"),
        AT(0, "\x01\x02\x02\0\x78", "a ciphertext of KMS's own, not an Encryption SDK message"),
        AT(0, "AQICAH", "the base64 text of a ciphertext of KMS's own"),
        AT(0, "GGUF", "a GGUF model that is not sealed"),
        AT(8, "{\"", "a safetensors file that is not sealed"),
        AT(0, "\xef\xbb\xbf", "text, with a byte order mark"),
        AT(0, "\xff\xfe", "UTF-16 text"),
        AT(0, "version https://git-lfs", "a pointer of Git LFS, and not the file"),
        AT(0, "<?xml", "XML text, such as an error of S3"),
        AT(0, "<!DOCTYPE", "an HTML page"),
        AT(0, "{", "JSON text"),
#undef AT
};

/* Whether the body begins with "SIZE;chunk-signature=...", or with "SIZE", the end of a line and a message: S3 has then
 * stored an upload with its Content-Encoding, aws-chunked. */
static bool is_aws_chunked(const uint8_t *data, size_t size) {
        size_t n = 0;

        while (n < size && n < CHUNK_SIZE_DIGITS && data[n] && strchr("0123456789abcdefABCDEF", data[n]))
                n++;
        return n > 0 && ((size - n >= 17 && memcmp(data + n, ";chunk-signature=", 17) == 0) ||
                         (size - n >= 5 && memcmp(data + n, "\r\n\x02\x04\x78", 5) == 0));
}

/* Half of the 32 random bytes of a message are not ASCII. A program that takes them for UTF-8 replaces them by U+FFFD.
 */
static bool was_taken_for_text(const uint8_t *data, size_t size) {
        size_t n = 0;

        for (size_t i = ID_START; i + 3 <= MIN_OF(size, (size_t) ID_END); i++)
                n += memcmp(data + i, "\xef\xbf\xbd", 3) == 0;
        return n >= REPLACEMENTS_MIN;
}

const char *other_format(const uint8_t *data, size_t size) {
        /* The random id of the message follows these bytes. By chance it may have the mark of another format. */
        if (size >= ID_START && memcmp(data, "\x02\x04\x78", ID_START) == 0)
                return was_taken_for_text(data, size)
                               ? "a sealed file that was stored as text, which replaced its bytes beyond ASCII"
                               : NULL;
        if (is_aws_chunked(data, size))
                return "a sealed file with the chunks of its upload (aws-chunked) around it";
        for (size_t i = 0; i < ELEMENTS(formats); i++)
                if (size >= formats[i].offset + formats[i].n &&
                    memcmp(data + formats[i].offset, formats[i].bytes, formats[i].n) == 0)
                        return formats[i].what;
        return NULL;
}
