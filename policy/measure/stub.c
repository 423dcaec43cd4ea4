/* SPDX-License-Identifier: Apache-2.0 */
#include "measure/stub.h"

bool stub_section_text(const struct pe *pe, const char *name, const char **ret, size_t *ret_n) {
        const struct pe_section *s = pe_section(pe, name);
        const uint8_t *bytes;

        if (!s || pe_section_bytes(pe, s, &bytes, ret_n, NULL) < 0)
                return false;
        *ret = (const char *) bytes;
        return true;
}

/* --- versions ----------------------------------------------------------------------------------------------------- */

/* The number behind the program's name in "#### LoaderInfo: systemd-stub 257.13-1~deb13u1 ####"; 0 where there is none.
 */
static unsigned magic_version(const struct pe *pe, const char *program) {
        char prefix[64];
        unsigned version = 0;
        const char *text;
        size_t size, n;

        n = (size_t) snprintf(prefix, sizeof prefix, "#### LoaderInfo: %s ", program);
        if (!stub_section_text(pe, ".sdmagic", &text, &size) || size < n || memcmp(text, prefix, n) != 0)
                return 0;
        for (size_t i = n; i < size && text[i] >= '0' && text[i] <= '9' && version < 100000; i++)
                version = version * 10 + (unsigned) (text[i] - '0');
        return version;
}

static bool has_line(const char *text, size_t size, const char *key, const char *value) {
        _cleanup_free_ char *copy = strndup(text, size);
        char *state = NULL;

        for (char *line = copy ? strtok_r(copy, "\n", &state) : NULL; line; line = strtok_r(NULL, "\n", &state)) {
                size_t n = strlen(key);

                if (strncmp(line, key, n) != 0 || line[n] != '=')
                        continue;
                line += n + 1;
                if (line[0] == '"' && line[strlen(line) - 1] == '"') {
                        line[strlen(line) - 1] = 0;
                        line++;
                }
                if (streq(line, value))
                        return true;
        }
        return false;
}

unsigned stub_version(const struct pe *pe) {
        unsigned version = magic_version(pe, "systemd-stub");
        const char *text;
        size_t n;

        if (version == 0 && stub_section_text(pe, ".osrel", &text, &n) && has_line(text, n, "ID", "amzn") &&
            has_line(text, n, "VERSION_ID", "2023"))
                return 252;
        return version;
}

unsigned loader_version(const struct pe *pe) {
        return magic_version(pe, "systemd-boot");
}

/* --- addons and command lines ------------------------------------------------------------------------------------- */

bool stub_takes_addon(const struct pe *addon, const struct pe *uki) {
        const char *wanted, *have;
        size_t n, m;

        if (!stub_section_text(addon, ".uname", &wanted, &n) || !stub_section_text(uki, ".uname", &have, &m))
                return true;
        return strnlen(wanted, n) == strnlen(have, m) && memcmp(wanted, have, strnlen(wanted, n)) == 0;
}

static bool is_space(char c) {
        return (unsigned char) c <= ' ' || c == 0x7f;
}

char *stub_command_line(char *text) {
        size_t n;

        while (*text && is_space(*text))
                text++;
        n = strlen(text);
        while (n > 0 && is_space(text[n - 1]))
                n--;
        text[n] = 0;
        for (size_t i = 0; i < n; i++)
                if (is_space(text[i]))
                        text[i] = ' ';
        return text;
}
