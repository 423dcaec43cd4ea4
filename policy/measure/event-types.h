/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* TCG event types (PC Client Platform Firmware Profile 1.06, 10.4.1); the values are the standard's. */

#include <stdint.h>

enum {
        EV_PREBOOT_CERT = 0x0,
        EV_POST_CODE = 0x1,
        EV_NO_ACTION = 0x3,
        EV_SEPARATOR = 0x4,
        EV_ACTION = 0x5,
        EV_EVENT_TAG = 0x6,
        EV_S_CRTM_CONTENTS = 0x7,
        EV_S_CRTM_VERSION = 0x8,
        EV_CPU_MICROCODE = 0x9,
        EV_PLATFORM_CONFIG_FLAGS = 0xa,
        EV_TABLE_OF_DEVICES = 0xb,
        EV_COMPACT_HASH = 0xc,
        EV_IPL = 0xd,
        EV_NONHOST_CODE = 0xf,
        EV_NONHOST_CONFIG = 0x10,
        EV_NONHOST_INFO = 0x11,
        EV_OMIT_BOOT_DEVICE_EVENTS = 0x12,
};

/* Beyond what fits the int of an enum constant. */
#define EV_EFI_VARIABLE_DRIVER_CONFIG UINT32_C(0x80000001)
#define EV_EFI_VARIABLE_BOOT UINT32_C(0x80000002)
#define EV_EFI_BOOT_SERVICES_APPLICATION UINT32_C(0x80000003)
#define EV_EFI_BOOT_SERVICES_DRIVER UINT32_C(0x80000004)
#define EV_EFI_RUNTIME_SERVICES_DRIVER UINT32_C(0x80000005)
#define EV_EFI_GPT_EVENT UINT32_C(0x80000006)
#define EV_EFI_ACTION UINT32_C(0x80000007)
#define EV_EFI_PLATFORM_FIRMWARE_BLOB UINT32_C(0x80000008)
#define EV_EFI_HANDOFF_TABLES UINT32_C(0x80000009)
#define EV_EFI_PLATFORM_FIRMWARE_BLOB2 UINT32_C(0x8000000a)
#define EV_EFI_HANDOFF_TABLES2 UINT32_C(0x8000000b)
#define EV_EFI_VARIABLE_BOOT2 UINT32_C(0x8000000c)
#define EV_EFI_HCRTM_EVENT UINT32_C(0x80000010)
#define EV_EFI_VARIABLE_AUTHORITY UINT32_C(0x800000e0)

/* "EV_SEPARATOR"; NULL for a type the profile does not name. */
const char *event_type_name(uint32_t type);
/* -ENOENT for a name that is none of these. */
int event_type_named(const char *name, uint32_t *ret);
