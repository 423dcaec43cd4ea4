/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The Platform Configuration Registers (PCRs) by number, and the sizes of their values. Sources: TCG PC Client Platform
 * Firmware Profile 1.06, 3.3.4; systemd-stub(7); AWS Nitro Enclaves User Guide, "Cryptographic attestation". */

enum {
        PCR_DRIVERS = 2,              /* UEFI drivers from outside the firmware: option ROMs, Driver#### */
        PCR_DRIVER_CONFIGURATION = 3, /* the configuration of these drivers */
        PCR_IMAGE = 4,                /* the images that the firmware started: boot loader, UKI, addons */
        PCR_SECURE_BOOT = 7,          /* whether Secure Boot is on, its keys, and which of them authorised an image */
        PCR_FIRMWARE_LAST = 7,        /* PCR0 to PCR7 are the firmware's: it ends each with a separator */
        PCR_SECTIONS = 11,            /* the sections of the UKI, by the stub; then systemd's phases of the boot */
        PCR_COMMAND_LINE = 12,        /* what the stub was given beside the UKI: command lines, credentials, addons */
        PCR_MODEL = 15,               /* the model, by sealboot-agent */
        PCR_DRTM_FIRST = 17,          /* PCR17 to PCR22 start at all ones: no dynamic root of trust was measured */
        PCR_DRTM_LAST = 22,
        PCR_COUNT = 24, /* of a TPM */

        ENCLAVE_PCR_IMAGE = 0, /* all zero in debug mode */
        ENCLAVE_PCR_COUNT = 32,
        PCR_COUNT_MAX = ENCLAVE_PCR_COUNT, /* of a TPM or an enclave */
};

/* In bytes, of a digest and so of a PCR in the bank of that algorithm. Attestation documents, reference measurements
 * and key policies hold SHA-384 values only. */
enum {
        SHA1_SIZE = 20,
        SHA256_SIZE = 32,
        SHA384_SIZE = 48,
        SHA512_SIZE = 64,
        PCR_DIGEST_MAX = SHA512_SIZE, /* of any bank */
};
