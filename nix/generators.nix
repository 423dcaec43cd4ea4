# SPDX-License-Identifier: Apache-2.0
# systemd's generators that make units of what no PCR tells (EFI variables, partitions, credentials), or of a command line
# that asks for a shell. Neither the initrd nor the root has them. The image needs veritysetup alone.
map (name: "systemd-${name}-generator")
  [ "debug" "fstab" "getty" "gpt-auto" "run" "ssh" "hibernate-resume" "bless-boot" "import" "system-update" "cryptsetup" ]
