/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/outside.h"

#include "measure/event-types.h"

bool is_outside_driver(unsigned pcr, uint32_t type) {
        return pcr == PCR_DRIVERS && (type == EV_EFI_BOOT_SERVICES_DRIVER || type == EV_EFI_RUNTIME_SERVICES_DRIVER);
}

static bool is_set_variable(const struct log_event *event, const char *name) {
        static const char before[] = "variable ", unset[] = ", not set";
        size_t n = strlen(event->text), m = strlen(unset);

        if (event->type != EV_EFI_VARIABLE_BOOT && event->type != EV_EFI_VARIABLE_BOOT2)
                return false;
        return strncmp(event->text, before, strlen(before)) == 0 &&
               strncmp(event->text + strlen(before), name, strlen(name)) == 0 &&
               !(n >= m && streq(event->text + n - m, unset));
}

const char *event_outside(const struct log_event *event) {
        if (!event->extended || event->text_is == TEXT_NOT_MEASURED)
                return NULL;
        if (is_outside_driver(event->pcr, event->type))
                return "a UEFI driver from outside the firmware ran before the image, and could change it after it was "
                       "measured (with Secure Boot on, only one that db authorises runs)";
        if (is_set_variable(event, "Driver"))
                return "the firmware was told to run a UEFI driver before the image; if it did, PCR2 tells";
        if (is_set_variable(event, "SysPrep"))
                return "the firmware was told to run another application before the image; if it did, PCR4 tells";
        return NULL;
}
