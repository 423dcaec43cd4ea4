/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Findings about the boot in its log: events by which the firmware ran code before the image that is neither its own
 * nor the image's, or was told to run such code.
 *
 *   EV_EFI_BOOT_SERVICES_DRIVER,     in PCR2: an option ROM, or a driver that Driver#### names
 *   EV_EFI_RUNTIME_SERVICES_DRIVER
 *   EV_EFI_VARIABLE_BOOT,            of DriverOrder, Driver####, SysPrepOrder, SysPrep####
 *   EV_EFI_VARIABLE_BOOT2
 *
 * Firmware measures a driver before it decides by db whether to run it: with Secure Boot on, one that was refused is in
 * the log as well. Such code can change the image in memory after the image was measured. */

#include "replay/log.h"

/* The finding of this event, in words; NULL: none. */
const char *event_outside(const struct log_event *event);

/* Whether the event is of a UEFI driver from outside the firmware. */
bool is_outside_driver(unsigned pcr, uint32_t type);
