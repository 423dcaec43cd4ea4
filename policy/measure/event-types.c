/* SPDX-License-Identifier: Apache-2.0 */
#include "measure/event-types.h"

#include "basic/macros.h"

#define NAME(type) \
        { type, #type }

static const struct {
        uint32_t type;
        const char *name;
} names[] = {
        NAME(EV_PREBOOT_CERT),
        NAME(EV_POST_CODE),
        NAME(EV_NO_ACTION),
        NAME(EV_SEPARATOR),
        NAME(EV_ACTION),
        NAME(EV_EVENT_TAG),
        NAME(EV_S_CRTM_CONTENTS),
        NAME(EV_S_CRTM_VERSION),
        NAME(EV_CPU_MICROCODE),
        NAME(EV_PLATFORM_CONFIG_FLAGS),
        NAME(EV_TABLE_OF_DEVICES),
        NAME(EV_COMPACT_HASH),
        NAME(EV_IPL),
        NAME(EV_NONHOST_CODE),
        NAME(EV_NONHOST_CONFIG),
        NAME(EV_NONHOST_INFO),
        NAME(EV_OMIT_BOOT_DEVICE_EVENTS),
        NAME(EV_EFI_VARIABLE_DRIVER_CONFIG),
        NAME(EV_EFI_VARIABLE_BOOT),
        NAME(EV_EFI_BOOT_SERVICES_APPLICATION),
        NAME(EV_EFI_BOOT_SERVICES_DRIVER),
        NAME(EV_EFI_RUNTIME_SERVICES_DRIVER),
        NAME(EV_EFI_GPT_EVENT),
        NAME(EV_EFI_ACTION),
        NAME(EV_EFI_PLATFORM_FIRMWARE_BLOB),
        NAME(EV_EFI_HANDOFF_TABLES),
        NAME(EV_EFI_PLATFORM_FIRMWARE_BLOB2),
        NAME(EV_EFI_HANDOFF_TABLES2),
        NAME(EV_EFI_VARIABLE_BOOT2),
        NAME(EV_EFI_HCRTM_EVENT),
        NAME(EV_EFI_VARIABLE_AUTHORITY),
};

const char *event_type_name(uint32_t type) {
        for (size_t i = 0; i < ELEMENTS(names); i++)
                if (names[i].type == type)
                        return names[i].name;
        return NULL;
}

int event_type_named(const char *name, uint32_t *ret) {
        for (size_t i = 0; i < ELEMENTS(names); i++)
                if (streq(names[i].name, name)) {
                        *ret = names[i].type;
                        return 0;
                }
        return -ENOENT;
}
