/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reads the XML of S3's answers: elements with text in them. Everything else in XML is refused (doctypes, comments,
 * CDATA, processing instructions but the declaration, entities but the five and character references, text between
 * elements): S3 sends none of it, and faults of XML parsers are found there. Attributes are checked for form and
 * skipped. Source: XML 1.0, sections 2.1-2.4, 3.1, 4.1. */

#include "basic/macros.h"

enum { XML_DEPTH = 8, XML_PATH_SIZE = 512 };

struct xml {
        char *cursor, *end;
        char path[XML_PATH_SIZE]; /* "ListBucketResult/Contents/Key" */
        unsigned depth;
        bool opened; /* the innermost element has just been opened */
        bool left;   /* the last item is still at the end of the path */
};

struct xml_item {
        const char *path; /* valid until the next call */
        char *text;       /* of an element without children, decoded; NULL when an element with children has ended */
};

/* `text` is changed while it is read, and lends the items their texts; a NUL must follow it. */
struct xml xml_over(char *text, size_t n);
/* 1: an element has ended; 0: the document has; -EBADMSG. */
int xml_next(struct xml *x, struct xml_item *ret);

/* The text of the first element with this path; NULL when there is none or the document is malformed. */
char *xml_find(char *text, size_t n, const char *path);
