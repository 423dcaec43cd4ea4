/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/xml.h"

static const char name_bytes[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.:";

struct xml xml_over(char *text, size_t n) {
        /* A NUL inside ends the document early, and what is left is not well-formed. */
        return (struct xml) { .cursor = text, .end = text + strnlen(text, n) };
}

static void skip_space(struct xml *x) {
        x->cursor += strspn(x->cursor, " \t\r\n");
}

static bool take(struct xml *x, const char *literal) {
        size_t n = strlen(literal);

        if (strncmp(x->cursor, literal, n) != 0)
                return false;
        x->cursor += n;
        return true;
}

/* <?xml version="1.0" encoding="UTF-8"?> */
static int skip_declaration(struct xml *x) {
        char *end;

        if (!take(x, "<?xml "))
                return 0;
        end = strstr(x->cursor, "?>");
        if (!end || memchr(x->cursor, '<', (size_t) (end - x->cursor)))
                return -EBADMSG;
        x->cursor = end + 2;
        return 0;
}

static int skip_attributes(struct xml *x) {
        for (;;) {
                size_t space = strspn(x->cursor, " \t\r\n"), name, value;

                x->cursor += space;
                if (*x->cursor == '>' || *x->cursor == '/')
                        return 0;
                name = strspn(x->cursor, name_bytes);
                if (space == 0 || name == 0 || x->cursor[name] != '=' || x->cursor[name + 1] != '"')
                        return -EBADMSG;
                x->cursor += name + 2;
                value = strcspn(x->cursor, "\"<");
                if (x->cursor[value] != '"')
                        return -EBADMSG;
                x->cursor += value + 1;
        }
}

static int push(struct xml *x, const char *name, size_t n) {
        size_t used = strlen(x->path);

        if (x->depth == XML_DEPTH || used + 1 + n >= sizeof x->path)
                return -EBADMSG;
        snprintf(x->path + used, sizeof x->path - used, "%s%.*s", used > 0 ? "/" : "", (int) n, name);
        x->depth++;
        return 0;
}

static void pop(struct xml *x) {
        char *slash = strrchr(x->path, '/');

        *(slash ?: x->path) = '\0';
        x->depth--;
}

/* UTF-8 of a code point that XML lets a document hold, or 0. */
static size_t put_utf8(uint32_t c, char *out) {
        if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
                return 0;
        if (c < 0x80) {
                out[0] = (char) c;
                return 1;
        }
        if (c < 0x800) {
                out[0] = (char) (0xc0 | c >> 6);
                out[1] = (char) (0x80 | (c & 0x3f));
                return 2;
        }
        if (c < 0x10000) {
                out[0] = (char) (0xe0 | c >> 12);
                out[1] = (char) (0x80 | (c >> 6 & 0x3f));
                out[2] = (char) (0x80 | (c & 0x3f));
                return 3;
        }
        out[0] = (char) (0xf0 | c >> 18);
        out[1] = (char) (0x80 | (c >> 12 & 0x3f));
        out[2] = (char) (0x80 | (c >> 6 & 0x3f));
        out[3] = (char) (0x80 | (c & 0x3f));
        return 4;
}

/* Decodes one "&...;" at *from and moves *from behind it. The result is never longer. Returns its bytes, or 0. */
static size_t decode_reference(const char **from, char *out) {
        static const struct {
                const char *text;
                char c;
        } entities[] = { { "&lt;", '<' }, { "&gt;", '>' }, { "&amp;", '&' }, { "&quot;", '"' }, { "&apos;", '\'' } };
        bool hex = strncmp(*from, "&#x", 3) == 0;
        const char *digits = *from + (hex ? 3 : 2);
        size_t n = strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789");

        for (size_t i = 0; i < ELEMENTS(entities); i++)
                if (strncmp(*from, entities[i].text, strlen(entities[i].text)) == 0) {
                        *from += strlen(entities[i].text);
                        *out = entities[i].c;
                        return 1;
                }
        if (strncmp(*from, "&#", 2) != 0 || n == 0 || n > 7 || digits[n] != ';')
                return 0;
        *from = digits + n + 1;
        return put_utf8((uint32_t) strtoul(digits, NULL, hex ? 16 : 10), out);
}

static int decode_text(char *text, size_t n) {
        const char *from = text, *end = text + n;
        char *to = text;

        while (from < end) {
                if (*from == '&') {
                        size_t put = decode_reference(&from, to);

                        if (put == 0)
                                return -EBADMSG;
                        to += put;
                } else
                        *to++ = *from++;
        }
        *to = '\0';
        return 0;
}

/* "</name>" of the innermost element. */
static int close_element(struct xml *x) {
        const char *slash = strrchr(x->path, '/'), *name = slash ? slash + 1 : x->path;

        if (x->depth == 0 || !take(x, "</") || !take(x, name))
                return -EBADMSG;
        skip_space(x);
        if (!take(x, ">"))
                return -EBADMSG;
        x->left = true;
        return 1;
}

/* "<name attributes>" or "<name/>"; 1 when the latter is an item. */
static int open_element(struct xml *x, struct xml_item *ret) {
        size_t n;
        char *name;

        name = ++x->cursor;
        n = strspn(name, name_bytes);
        if (n == 0 || push(x, name, n) < 0)
                return -EBADMSG;
        x->cursor += n;
        if (skip_attributes(x) < 0)
                return -EBADMSG;
        if (take(x, "/>")) {
                x->left = true;
                x->cursor[-1] = '\0';
                *ret = (struct xml_item) { .path = x->path, .text = x->cursor - 1 };
                return 1;
        }
        x->opened = true;
        return take(x, ">") ? 0 : -EBADMSG;
}

/* The text of an element that was just opened and has no children. */
static int leaf(struct xml *x, char *text, struct xml_item *ret) {
        size_t n = (size_t) (x->cursor - text);

        if (close_element(x) < 0 || decode_text(text, n) < 0)
                return -EBADMSG;
        x->opened = false;
        *ret = (struct xml_item) { .path = x->path, .text = text };
        return 1;
}

int xml_next(struct xml *x, struct xml_item *ret) {
        if (x->left) {
                pop(x);
                x->left = false;
                if (x->depth == 0) {
                        skip_space(x);
                        return x->cursor == x->end ? 0 : -EBADMSG;
                }
        } else if (x->depth == 0) {
                skip_space(x);
                if (skip_declaration(x) < 0)
                        return -EBADMSG;
        }
        for (;;) {
                char *text = x->cursor;
                int r;

                x->cursor += strcspn(x->cursor, "<");
                if (!*x->cursor)
                        return -EBADMSG;
                if (x->opened && x->cursor[1] == '/')
                        return leaf(x, text, ret);
                if (strspn(text, " \t\r\n") < (size_t) (x->cursor - text))
                        return -EBADMSG;
                x->opened = false;
                if (x->cursor[1] == '/') {
                        *ret = (struct xml_item) { .path = x->path };
                        return close_element(x);
                }
                r = open_element(x, ret);
                if (r != 0)
                        return r;
        }
}

char *xml_find(char *text, size_t n, const char *path) {
        struct xml x = xml_over(text, n);
        struct xml_item item;

        while (xml_next(&x, &item) > 0)
                if (item.text && streq(item.path, path))
                        return item.text;
        return NULL;
}
