# SPDX-License-Identifier: Apache-2.0
"""What the recipe's own files must say for the promises of kiwi/README.md and SECURITY.md to hold. The audit compares
each file with the tree that it is run from; this list does not change with the tree, so a recipe that has lost a line
fails, too."""

import re

SYSCTL, NETWORK = "usr/lib/sysctl.d/90-sealboot.conf", "usr/lib/systemd/network/80-sealboot.network"
FIREWALL, UNITS = "usr/lib/sealboot/firewall.nft", "usr/lib/systemd/system/"

# {file: {"[section]name": value}} of files in the form of systemd's; sysctl.d's have no section.
SETTINGS = {
    SYSCTL: {
        "kernel.core_pattern": "|/bin/false", "fs.suid_dumpable": "0", "kernel.kexec_load_disabled": "1",
        "kernel.printk": "1 4 1 4",
        "kernel.panic_on_oops": "1", "kernel.panic_print": "0", "kernel.unknown_nmi_panic": "0",
        "kernel.panic_on_unrecovered_nmi": "0", "kernel.panic_on_io_nmi": "0", "kernel.nmi_watchdog": "0",
        "kernel.sysrq": "0",
        "kernel.dmesg_restrict": "1", "kernel.kptr_restrict": "2", "kernel.perf_event_paranoid": "3",
        "kernel.unprivileged_bpf_disabled": "2", "kernel.yama.ptrace_scope": "3", "kernel.io_uring_disabled": "2",
        "user.max_user_namespaces": "0", "net.core.bpf_jit_harden": "2", "net.ipv4.conf.*.accept_redirects": "0",
        "net.ipv4.conf.*.send_redirects": "0", "net.ipv6.conf.*.accept_redirects": "0",
    },
    NETWORK: {
        "[Match]Type": "ether", "[Network]LLMNR": "no", "[Network]MulticastDNS": "no",
        "[DHCPv4]SendHostname": "no",
        **{f"[DHCPv4]{name}": "no" for name in ("UseDomains", "UseHostname", "UseNTP", "UseSIP", "UseTimezone")},
        **{f"[DHCPv6]{name}": "no" for name in ("UseDomains", "UseHostname", "UseNTP")},
        "[IPv6AcceptRA]UseDomains": "no",
    },
    "usr/lib/systemd/resolved.conf.d/sealboot.conf": {"[Resolve]LLMNR": "no", "[Resolve]MulticastDNS": "no"},
    "usr/lib/systemd/timesyncd.conf.d/sealboot.conf": {"[Time]NTP": "169.254.169.123", "[Time]FallbackNTP": ""},
    "usr/lib/systemd/journald.conf.d/sealboot.conf": {
        "[Journal]Storage": "volatile", "[Journal]ForwardToConsole": "no"},
    "usr/lib/systemd/system.conf.d/sealboot.conf": {
        "[Manager]DefaultLimitCORE": "0", "[Manager]CtrlAltDelBurstAction": "none"},
    UNITS + "sealboot-agent.service.d/image.conf": {
        "[Unit]Requires": "sealboot-firewall.service sealboot-lockdown.service",
        "[Unit]After": "sealboot-firewall.service sealboot-lockdown.service",
        "[Unit]OnFailure": "sealboot-power-off.timer"},
    UNITS + "sealboot-power-off.timer": {"[Timer]OnActiveSec": "20s"},
    UNITS + "sealboot-power-off.service": {"[Unit]SuccessAction": "poweroff-force"},
    UNITS + "sealboot-lockdown.service": {"[Service]ExecStart": "/usr/lib/sealboot/sealboot-lockdown"},
    UNITS + "sealboot-firewall.service": {
        "[Service]ExecStart": f"/usr/sbin/nft -f /{FIREWALL}", "[Unit]Before": "network-pre.target shutdown.target"},
    UNITS + "sealboot-agent.service": {
        "[Service]ExecStopPost": "/usr/bin/sealboot-agent --clean-up", "[Service]LimitCORE": "0",
        "[Service]User": "sealboot", "[Service]DevicePolicy": "closed", "[Service]CapabilityBoundingSet": ""},
}
DEBIAN = {UNITS + "run-sealboot-model.mount.d/image.conf": {
    "[Mount]Options": "size=90%,huge=within_size,noswap,noexec,nosuid,nodev,noatime,mode=0750,"
                      "uid=sealboot,gid=sealboot"}}

# Of a GPU image: the kernel is locked, and loads no more modules, before there is a network.
GPU = {
    UNITS + "sealboot-gpu.service": {
        "[Service]ExecStart": "/usr/lib/sealboot/sealboot-gpu",
        "[Unit]Before": "network-pre.target sealboot-lockdown.service shutdown.target"},
    UNITS + "sealboot-lockdown.service": {
        "[Service]ExecStart": "/usr/lib/sealboot/sealboot-lockdown",
        "[Unit]Before": "network-pre.target shutdown.target",
        "[Unit]Requires": "sealboot-firewall.service sealboot-gpu.service"},
    "usr/lib/modprobe.d/sealboot-gpu.conf": {"options nvidia NVreg_ModifyDeviceFiles": "0"}}

# {file: lines}
LINES = {
    FIREWALL: [
        *(f"type filter hook {hook} priority filter; policy drop;" for hook in ("input", "forward", "output")),
        "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept",
        'meta skuid "systemd-network" udp dport 547 accept',
        "ip daddr 169.254.169.123 udp dport 123 accept",
        'meta skuid "sealboot" ip daddr 169.254.169.254 tcp dport 80 accept',
        'meta skuid "sealboot" tcp dport 443 accept'],
    "usr/lib/udev/rules.d/99-sealboot-read-only.rules": [
        'ACTION=="add|change", SUBSYSTEM=="block|nvme|nvme-generic", '
        'RUN+="/usr/lib/sealboot/sealboot-lockdown --device $devnode"'],
}
LINKS = {UNITS + name: "../" + name.rsplit("/", 1)[1] for name in (
    "systemd-networkd.service.requires/sealboot-firewall.service", "multi-user.target.wants/sealboot-lockdown.service")}
GPU_LINKS = {UNITS + name: "../" + name.rsplit("/", 1)[1] for name in (
    "systemd-networkd.service.requires/sealboot-gpu.service", "sealboot-lockdown.service.requires/sealboot-gpu.service",
    "systemd-networkd.service.requires/sealboot-lockdown.service")}


def said(text):
    """{"[section]name": value} of a file in systemd's form: the last one counts."""
    found, section = {}, ""
    for line in map(str.strip, text.splitlines()):
        if re.fullmatch(r"\[.*\]", line):
            section = line
        elif line and line[0] not in "#;" and "=" in line:
            name, _, value = line.lstrip("-").partition("=")
            found[section + name.strip()] = value.strip()
    return found


def settings(profile):
    return SETTINGS | (DEBIAN if profile.startswith("debian") else {}) | (GPU if profile.endswith("-gpu") else {})


def links(profile):
    return LINKS | (GPU_LINKS if profile.endswith("-gpu") else {})


def broken(image):
    """What of this an image's root (isolation.Image) does not say: [reason]."""
    wrong = []
    for name, wanted in settings(image.profile).items():
        found = said(image.path(name).read_text()) if image.path(name).is_file() else {}
        wrong += [f"{name}: {key} is {found.get(key, 'not set')}"
                  for key, value in wanted.items() if found.get(key) != value]
    for name, wanted in LINES.items():
        text = image.path(name).read_text() if image.path(name).is_file() else ""
        found = [line.strip() for line in text.splitlines()]
        wrong += [f"{name} lacks {line}" for line in wanted if line not in found]
    return wrong + [f"{name} does not lead to {target}" for name, target in links(image.profile).items()
                    if not image.path(name).is_symlink() or image.path(name).readlink().as_posix() != target]
