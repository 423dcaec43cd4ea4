/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Pages for a browser, of one file: no script, no other file, readable in light and in dark. */

#include "basic/macros.h"

/* The one way of text into a page: markup is escaped, and what is not printable is replaced. Also for the value of an
 * attribute in double quotes. */
void html_text(FILE *f, const char *text);

/* From the first byte to the page's heading, and the end. */
void html_begin(FILE *f, const char *title);
void html_end(FILE *f);

/* <tr> of a table of names and values; nothing for an empty value. */
void html_row(FILE *f, const char *name, const char *value);
