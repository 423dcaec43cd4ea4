/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a difference between a boot and an expectation means, in words. */

#include "replay/compare.h"

/* Sets the difference to one at this event (NULL: at none that the log has). The text of an event that was altered is
 * not repeated: then the words say that the log was altered. */
void difference_say(struct difference *d, const struct log_event *event, const char *format, ...) _printf_(3, 4);
/* Appends to the words. */
void difference_add(struct difference *d, const char *format, ...) _printf_(2, 3);

/* The log has one event more than expected. */
void difference_say_extra(struct difference *d, const struct log_event *event);
/* The log lacks an event that was expected. */
void difference_say_missing(struct difference *d, const struct expected_event *expected);
/* The log has another event than expected in this place. */
void difference_say_changed(struct difference *d, const struct expected_event *expected, const struct log_event *event);

/* "variable db, 827 bytes" -> "db": the name in the text of an event of a variable. */
enum { VARIABLE_NAME_MAX = 32 };
void variable_name(const char *text, char out[static VARIABLE_NAME_MAX]);
/* Whether the text of an event of a variable of one byte says that the byte is 1. */
bool variable_is_on(const char *text);
