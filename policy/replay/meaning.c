/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/meaning.h"

#include <stdarg.h>

#include "measure/event-types.h"
#include "measure/uefi.h"
#include "replay/outside.h"

void difference_add(struct difference *d, const char *format, ...) {
        size_t n = strlen(d->meaning);
        va_list ap;

        va_start(ap, format);
        vsnprintf(d->meaning + n, sizeof d->meaning - n, format, ap);
        va_end(ap);
}

void difference_say(struct difference *d, const struct log_event *event, const char *format, ...) {
        va_list ap;

        *d = (struct difference) { .event = event };
        va_start(ap, format);
        vsnprintf(d->meaning, sizeof d->meaning, format, ap);
        va_end(ap);
        if (event && event->text_is == TEXT_NOT_MEASURED)
                snprintf(d->meaning, sizeof d->meaning,
                         "this event, or a later one; which is meant cannot be told, because the event's text is not "
                         "what was measured: the log was altered");
}

/* --- what kind of event it is ------------------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end) {
        size_t n = strlen(text), m = strlen(end);

        return n >= m && streq(text + n - m, end);
}

static bool is_kernel(const char *text) {
        return ends_with(text, ":.linux") || strstr(text, "the kernel in .linux") || streq(text, "an image in memory");
}

/* An event shows the whole of a command line that was measured; of credentials and extensions it shows only a label. */
static bool is_command_line(const struct log_event *event) {
        return event->pcr == PCR_COMMAND_LINE && event->type == EV_IPL && event->text_is == TEXT_MEASURED;
}

void variable_name(const char *text, char out[static VARIABLE_NAME_MAX]) {
        const char *name = strncmp(text, "variable ", 9) == 0 ? text + 9 : text;

        snprintf(out, VARIABLE_NAME_MAX, "%.*s", (int) MIN_OF(strcspn(name, ", "), (size_t) VARIABLE_NAME_MAX - 1),
                 name);
}

bool variable_is_on(const char *text) {
        return ends_with(text, "= 1");
}

/* --- words -------------------------------------------------------------------------------------------------------- */

void difference_say_extra(struct difference *d, const struct log_event *event) {
        const char *text = event->text;

        if (event->type == EV_EFI_ACTION && strstr(text, UEFI_ACTION_RETURNING))
                difference_say(d, event, "another boot option was tried first, and started nothing");
        else if (event->type == EV_EFI_BOOT_SERVICES_APPLICATION && ends_with(text, ".addon.efi"))
                difference_say(d, event, "an addon was loaded: %s", text);
        else if (event->type == EV_EFI_BOOT_SERVICES_APPLICATION && is_kernel(text))
                difference_say(d, event,
                               "the kernel was measured by firmware too: Secure Boot is off, or the stub is older than "
                               "expected");
        else if (event->type == EV_EFI_BOOT_SERVICES_APPLICATION)
                difference_say(d, event, "one more application was started: %s", text);
        else if (event->type == EV_EFI_VARIABLE_AUTHORITY)
                difference_say(d, event, "one more entry of db authorised an image: %s", text);
        else if (is_command_line(event))
                difference_say(d, event, "a command line was appended: %s", text);
        else if (event->pcr == PCR_COMMAND_LINE)
                difference_say(d, event, "the kernel's configuration was added to: %s", text);
        else if (event_outside(event))
                difference_say(d, event, "%s: %s", event_outside(event), text);
        else
                difference_say(d, event, "one more event was measured: %s, %s", event->type_name, text);
}

void difference_say_missing(struct difference *d, const struct expected_event *expected) {
        const char *text = expected->text;

        if (expected->type == EV_EFI_BOOT_SERVICES_APPLICATION && is_kernel(text))
                difference_say(d, NULL,
                               "the kernel in .linux was not measured: Secure Boot is on, or the stub is 258 or later");
        else if (expected->type == EV_EFI_ACTION && strstr(text, UEFI_ACTION_RETURNING))
                difference_say(d, NULL, "fewer boot options were tried than expected");
        else if (expected->pcr == PCR_COMMAND_LINE)
                difference_say(d, NULL, "a command line was expected and is missing: %s", text);
        else if (is_outside_driver(expected->pcr, expected->type))
                difference_say(d, NULL, "a UEFI driver from outside the firmware was expected and did not run: %s",
                               text);
        else
                difference_say(d, NULL, "an event is missing: %s", text);
}

static void say_changed_application(struct difference *d, const struct expected_event *expected,
                                    const struct log_event *event) {
        if (is_kernel(expected->text) || is_kernel(event->text))
                difference_say(d, event, "the .linux section differs: this is another kernel");
        else
                difference_say(d, event, "the image differs: %.300s is another UKI, or another build of it",
                               event->text);
}

static void say_changed_variable(struct difference *d, const struct log_event *event) {
        char name[VARIABLE_NAME_MAX];

        variable_name(event->text, name);
        if (streq(name, "SecureBoot"))
                difference_say(d, event, "Secure Boot is %s", variable_is_on(event->text) ? "on" : "off");
        else
                difference_say(d, event, "the key list %s is another one", name);
}

void difference_say_changed(struct difference *d, const struct expected_event *expected,
                            const struct log_event *event) {
        if (event->type != expected->type)
                difference_say_extra(d, event);
        else if (event->type == EV_EFI_BOOT_SERVICES_APPLICATION)
                say_changed_application(d, expected, event);
        else if (event->type == EV_EFI_VARIABLE_DRIVER_CONFIG)
                say_changed_variable(d, event);
        else if (event->type == EV_EFI_VARIABLE_AUTHORITY)
                difference_say(d, event, "another entry of db authorised the image: %s", event->text);
        else if (is_command_line(event))
                difference_say(d, event, "another command line was appended: %s", event->text);
        else if (event->pcr == PCR_COMMAND_LINE)
                difference_say(d, event, "the kernel's configuration was added to in another way: %s", event->text);
        else if (is_outside_driver(event->pcr, event->type))
                difference_say(d, event, "another UEFI driver from outside the firmware ran: %s", event->text);
        else
                difference_say(d, event, "%s differs: %s", event->type_name, event->text);
}
