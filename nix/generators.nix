# SPDX-License-Identifier: Apache-2.0
# systemd's generators that create units from input that no PCR measures (EFI variables, partitions, credentials), or
# from a command line that asks for a shell. Neither the initrd nor the root has them. The image needs only the
# veritysetup generator.
map (name: "systemd-${name}-generator") [
  "debug" "fstab" "getty" "gpt-auto" "run" "ssh" "hibernate-resume" "bless-boot" "import" "system-update" "cryptsetup"
]
