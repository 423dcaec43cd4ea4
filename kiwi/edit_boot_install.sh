#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# KIWI calls this with the raw disk and the device of the root: the UKI becomes the only file on the ESP, at the path that
# firmware starts by itself, so that nothing else is measured; and its reference measurements are written beside the disk.
set -euo pipefail

disk=$1
root=$(findmnt --noheadings --output TARGET "$2" | head -n 1)
esp=$root/boot/efi
output=$(dirname "$disk")
loader=$(find "$esp/EFI/BOOT" -iname 'BOOT*.EFI' -printf '%f\n' | head -n 1)
if [ ! -s "$esp/EFI/Linux/kiwi.efi" ] || [ -z "$loader" ]; then
        echo "no UKI on the ESP at $esp" >&2
        exit 1
fi

cp "$esp/EFI/Linux/kiwi.efi" "$output/sealboot.efi"
find "$esp" -mindepth 1 -delete
mkdir -p "$esp/EFI/BOOT"
cp "$output/sealboot.efi" "$esp/EFI/BOOT/${loader^^}"
"${SEALBOOT:-sealboot}" measure --json "$output/sealboot.efi" >"$output/pcr_measurements.json"
