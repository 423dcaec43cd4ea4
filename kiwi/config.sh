#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs in the image's root after its packages and files are installed: closes every way in, and removes what would differ
# between two builds. Both profiles run all of it.
set -euxo pipefail

# shellcheck disable=SC1091 # KIWI's
[ ! -e /.profile ] || . /.profile

# Ways in: logins, shells, units from outside the image. Masked, since a generator or a want may start what is disabled.
mask=(
        getty@.service serial-getty@.service console-getty.service container-getty@.service autovt@.service getty.target
        debug-shell.service emergency.service rescue.service emergency.target rescue.target sulogin.service
        ssh.service ssh.socket sshd.service sshd.socket sshd@.service sshd-unix-local.socket sshd-vsock.socket
        amazon-ssm-agent.service cloud-init.service cloud-init-local.service cloud-config.service cloud-final.service
        ctrl-alt-del.target systemd-user-sessions.service user@.service systemd-logind.service systemd-homed.service
        systemd-importd.service systemd-machined.service systemd-sysext.service systemd-sysext.socket systemd-confext.service
        systemd-udev-load-credentials.service
        systemd-storagetm.service systemd-networkd-persistent-storage.service
)
# Prompts on consoles, and sockets that do things for whoever asks.
mask+=(
        systemd-ask-password-console.path systemd-ask-password-wall.path systemd-initctl.socket systemd-creds.socket
        systemd-pcrextend.socket systemd-pcrlock.socket systemd-bootctl.socket
)
# What measures into PCR15, where only the model digest belongs.
mask+=(systemd-pcrmachine.service systemd-pcrfs@.service systemd-pcrfs-root.service systemd-pcrlock.service)
# What needs storage that persists, or would make some.
mask+=(
        swap.target systemd-coredump.socket systemd-coredump@.service systemd-pstore.service systemd-random-seed.service
        systemd-boot-random-seed.service systemd-boot-update.service systemd-bless-boot.service systemd-hibernate.service
        systemd-suspend.service systemd-hybrid-sleep.service systemd-suspend-then-hibernate.service
        systemd-remount-fs.service systemd-firstboot.service systemd-machine-id-commit.service
        ldconfig.service systemd-journal-catalog-update.service
        systemd-tpm2-setup.service systemd-tpm2-setup-early.service systemd-update-done.service systemd-repart.service
        systemd-growfs@.service systemd-growfs-root.service systemd-hwdb-update.service systemd-journal-flush.service
        apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer e2scrub_reap.service
        man-db.timer dnf-makecache.timer
        # They come with KIWI's dracut modules.
        lvm2-monitor.service lvm2-lvmpolld.service lvm2-lvmpolld.socket blk-availability.service dm-event.service dm-event.socket
        mdmonitor.service mdmonitor-oneshot.timer mdcheck_start.timer mdcheck_continue.timer
)
systemctl mask "${mask[@]}"
# Generators that turn a command line, a credential or a partition into units.
mkdir -p /etc/systemd/system-generators
for generator in systemd-debug-generator systemd-getty-generator systemd-gpt-auto-generator systemd-run-generator \
        systemd-ssh-generator systemd-hibernate-resume-generator systemd-bless-boot-generator systemd-import-generator; do
        ln -sf /dev/null "/etc/systemd/system-generators/$generator"
done

systemd-sysusers
systemctl enable systemd-networkd.service systemd-networkd-wait-online.service systemd-resolved.service
systemctl enable sealboot-firewall.service sealboot-lockdown.service sealboot-model.target sealboot-agent.service
case ",${kiwi_profiles:-}," in
*,debian,*) systemctl enable systemd-timesyncd.service llama-proxy.socket llama-server.service ;;
*,al2023,*) systemctl enable chronyd.service inference-proxy.socket vllm.service ollama.service ;;
esac
ln -sf /run/systemd/resolve/stub-resolv.conf /etc/resolv.conf

# No account can log in, no program raises its own privileges, and the programs that log somebody in are gone.
while IFS=: read -r user _; do
        usermod --lock --expiredate 1 "$user"
        case $(getent passwd "$user" | cut -d: -f7) in
        */nologin | */false) ;;
        *) usermod --shell "$(command -v nologin || echo /usr/sbin/nologin)" "$user" ;;
        esac
done </etc/passwd
find / -xdev -type f -perm /6000 -exec chmod u-s,g-s {} +
rm -f /usr/sbin/agetty /usr/sbin/sulogin /usr/bin/login /usr/bin/su /usr/bin/newgrp /usr/bin/sg
rm -f /etc/ssh/ssh_host_* /root/.ssh/authorized_keys

# What a build leaves behind and another would leave differently.
awk -F: -v OFS=: '{ $3 = 1; print }' /etc/shadow >/etc/shadow.new
cat /etc/shadow.new >/etc/shadow
rm -f /etc/shadow.new /etc/{passwd,shadow,group,gshadow,subuid,subgid}- /etc/hostname /etc/.pwd.lock
: >/etc/machine-id
rm -rf /var/lib/dbus/machine-id /var/log/* /var/cache/ldconfig /var/cache/debconf /var/cache/apt/* /var/cache/dnf \
        /var/lib/dpkg/*-old /var/lib/systemd/{random-seed,catalog} /var/lib/apt/lists/* /var/tmp/* /boot/initrd* \
        /var/lib/dkms /usr/share/man/* /usr/share/doc/* /usr/share/info/*
mkdir -p /efi
