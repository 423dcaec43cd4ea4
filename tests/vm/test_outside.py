# SPDX-License-Identifier: Apache-2.0
"""Everything that an operator can set and no bound PCR tells of, tried on the whole image at once: the model must be
served, and each input must have had no effect. One boot with Secure Boot off, one with it on; each row is a test of
what that boot showed.

Each input's way to the policy is in test_firmware.py, where a PCR tells of it."""

import contextlib
import json
import re
import socket
import struct
import subprocess
import time

import pytest

import hostile
from firmware import (GLOBAL, LOADER, SEPARATOR, SYSTEMD, load_option, numbers, program, store, unread_variables, utf16,
                      variable)
from instance import (BOOT, PROMPTS, ZEROS, Instance, changed_esp, corrupt, injections, references, release,
                      sealed_pcr15, sign)
from instance import configuration, image, key, model, overlay, released, stack  # noqa: F401 (fixtures)
from isolation import Guest
from machine import SOURCE, STUBS, VARIABLES, Report, script, wait_until
from network import DNS, DOMAIN, GATEWAY, METADATA, NAME, NTP, Network

# What an EFI variable SystemdOptions says to systemd before 258: more of a command line that nothing measures.
OPTIONS = (
    "systemd.mount-extra=/dev/vdb:/usr/lib/sealboot:erofs:ro rd.systemd.debug_shell=ttyS0 systemd.debug_shell=ttyS0 "
    "systemd.hostname=systemd-options systemd.import_credentials=yes systemd.mask=sealboot-firewall.service "
    "systemd.set_credential=operator:operator systemd.setenv=OPERATOR=1 systemd.crash_shell=yes systemd.gpt_auto=yes "
    "systemd.swap=yes systemd.unit-dropin=operator")
SYSRQ_EARLY = "h9tmpwlgvxzdq"  # not what a machine may stop by while it boots
SYSRQ = SYSRQ_EARLY + "scefijknrubo"
DUMP = re.compile(
    r"Call Trace|Show Memory|Mem-Info|Show Blocked State|Show Regs|\bR(IP|AX|SP): |Code: [0-9a-f]{2}|kgdb|kdb>|"
    r"Entering kdb|task:\S+ +state")


def replacement(directory, overlay):
    """The operator's /usr/lib/sealboot: what runs as root before the agent asks for the key says so."""
    tree = directory / "replacement"
    (directory / "replacement.c").write_text("""#include <stdio.h>
        #include <unistd.h>
        int main(void) {
            FILE *f = fopen("/dev/console", "w");
            return f ? fprintf(f, "operator: runs as %d\\n", getuid()) < 0 : 1;
        }""")
    script(f"mkdir {tree}; cp -a {SOURCE}/kiwi/root/usr/lib/sealboot/. {overlay}/usr/lib/sealboot/. {tree}/")
    for name in ("lockdown", "sealboot-lockdown"):
        subprocess.run(["gcc", "-static", "-Os", "-o", tree / name, directory / "replacement.c"], check=True)
    script(f"mkfs.erofs {directory}/replacement.raw {tree} >/dev/null")
    return directory / "replacement.raw"


def sysext(directory):
    """A system extension for any system; were it merged into the initrd, its unit would speak."""
    tree = directory / "operator"
    units = tree / "usr/lib/systemd/system"
    (units / "initrd.target.wants").mkdir(parents=True)
    (units / "operator-sysext.service").write_text(
        "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sh -c 'echo operator: sysext >/dev/console'\n")
    (units / "initrd.target.wants/operator-sysext.service").symlink_to("../operator-sysext.service")
    release = tree / "usr/lib/extension-release.d"
    release.mkdir(parents=True)
    (release / "extension-release.operator").write_text("ID=_any\nEXTENSION_RELOAD_MANAGER=1\n")
    script(f"mkfs.erofs {directory}/operator.raw {tree} >/dev/null")
    return directory / "operator.raw"


def esp_of_the_operator(image, directory):
    """The image's disk, with what a loader or systemd would read beside the UKI and no bound PCR tells of."""
    changed_esp(image, directory / "disk.raw", f"""
        mmd -i $esp ::/EFI/BOOT/BOOTX64.EFI.extra.d ::/loader ::/loader/entries ::/EFI/Linux ::/EFI/systemd
        mcopy -i $esp {sysext(directory)} ::/EFI/BOOT/BOOTX64.EFI.extra.d/operator.raw
        printf 'timeout 60\\ndefault operator.conf\\n' >loader.conf
        printf 'title operator\\nlinux /EFI/BOOT/BOOTX64.EFI\\noptions init=/bin/sh\\n' >operator.conf
        mcopy -i $esp loader.conf ::/loader/; mcopy -i $esp operator.conf ::/loader/entries/
        head -c 32 operator.conf >seed; mcopy -i $esp seed ::/loader/random-seed
        mcopy -i $esp /usr/lib/systemd/boot/efi/systemd-bootx64.efi ::/EFI/systemd/
        printf '\\\\EFI\\\\systemd\\\\systemd-bootx64.efi\\r\\n' >startup.nsh; mcopy -i $esp startup.nsh ::/""")
    return directory / "disk.raw"


def variables(disk, secure_boot):
    said = {name: (guid, data) for name, guid, data in unread_variables()}
    said |= {
        "SystemdOptions": (SYSTEMD, utf16(OPTIONS)),
        "HibernateLocation": (SYSTEMD, utf16(hostile.hibernate_location())),
        "LoaderDevicePartUUID": (LOADER, utf16(hostile.ESP.upper()))
    }
    if secure_boot:  # the stub takes a boot option's command line where it is off: then PCR12 tells
        said |= {
            "Boot0000": (GLOBAL, load_option(disk, "/EFI/BOOT/BOOTX64.EFI", utf16("init=/bin/sh"))),
            "BootOrder": (GLOBAL, numbers(0))
        }
    return [variable(name, data, guid=guid) for name, (guid, data) in said.items()]


class Observed:
    """What one boot showed, at the points where something was tried."""

    def __init__(self):
        self.report = self.guest = self.later = self.answer = None
        self.booting = self.serving = self.after_nmi = ""
        self.sent, self.through_gateway, self.alive = set(), 0, False
        self.failures = []

    @contextlib.contextmanager
    def step(self, name):
        """A step that fails says so in its rows; the others still have theirs."""
        try:
            yield
        except (AssertionError, OSError) as e:
            self.failures.append(f"{name}: {str(e)[-1500:]}")


def keys(instance, letters):
    """BREAK and a letter each: the serial console's SysRq. Then what somebody types who hopes for a shell."""
    for letter in letters:
        instance.monitor(("chardev-send-break", {"id": "console"}))
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(instance.directory / "console.socket"))
            s.sendall(letter.encode())
            time.sleep(0.2)
    instance.type("\r\recho typed-$((6 * 7))\r\x03\x04\x1a\x1c")


def machine_options(directory, overlay):
    spare = hostile.build(directory, "spare")
    return [
        *injections(directory), *hostile.drive(replacement(directory, overlay), "replacement"),
        *hostile.drive(hostile.build(directory), "hostile"), "-smbios",
        "type=11,value=io.systemd.boot.kernel-cmdline-extra=operator", "-smbios",
        "type=11,value=io.systemd.boot.entries-extra:operator=linux /vmlinuz", "-smbios",
        "type=11,value=io.systemd.credential:operator=1", "-fw_cfg", "name=opt/com.example.operator,string=operator",
        "-qmp", f"unix:{directory}/qmp.socket,server=on,wait=off", "-device",
        "pcie-root-port,id=slot1,chassis=1,slot=1", "-device", "pcie-root-port,id=slot2,chassis=2,slot=2", "-drive",
        f"if=none,id=spare,format=raw,snapshot=on,file={spare}", "-netdev",
        "user,id=second,restrict=on,hostname=operator-2"
    ]


def command_line(image):
    """The words of the UKI's own command line."""
    return script(
        f"objcopy --dump-section .cmdline=/tmp/cmdline {image}/sealboot.efi /tmp/rewritten; tr -d '\\0' </tmp/cmdline",
        binds=["--bind", str(image)]).split()


def reports(instance):
    return re.findall(r"report-begin.*?report-end", instance.raw(), re.DOTALL)


def boot(directory, disk, stack, source, secure_boot, overlay):
    observed, link = Observed(), Network(directory)
    link.start()
    try:
        with Instance(directory, disk, stack, network=link, extra=machine_options(directory, overlay),
                      first=not secure_boot, variables=store(directory / "variables", variables(disk, secure_boot),
                                                             source)) as instance:
            with observed.step("boot"):
                instance.wait_for("starting Boot", 300)
                try_while_booting(instance)
                observed.report, observed.guest = Report(reports(instance)[0]), Guest(reports(instance)[0])
            observed.booting = instance.text()
            with observed.step("answer"):
                observed.answer = instance.ask("/completion", {"prompt": "a", "n_predict": 4})
            with observed.step("keys, devices"):
                try_while_serving(observed, instance)
            with observed.step("NMI"):
                before = len(instance.text())
                instance.monitor("inject-nmi")
                time.sleep(15)
                observed.after_nmi = instance.text()[before:]
    finally:
        link.stop()
    observed.sent, observed.through_gateway = link.sent, link.through_gateway
    return observed


def try_while_booting(instance):
    """Typing goes on until the report is there: each stage of a boot has its turn."""
    def look():
        if reports(instance) or instance.qemu.poll() is not None:
            return True
        with contextlib.suppress(OSError):
            keys(instance, SYSRQ_EARLY)
        return False
    wait_until(look, BOOT, "report from the guest", instance.tail)
    assert reports(instance), f"the machine stopped without a report:\n{instance.tail()}"


def try_while_serving(observed, instance):
    before = len(instance.text())
    keys(instance, SYSRQ)
    for _ in range(10):  # more than systemd's burst
        instance.monitor(("send-key", {"keys": [{"type": "qcode", "data": k} for k in ("ctrl", "alt", "delete")]}))
        time.sleep(0.1)
    time.sleep(5)
    instance.monitor(
        ("device_add", {"driver": "virtio-blk-pci", "drive": "spare", "bus": "slot1", "id": "late"}),
        ("device_add", {"driver": "virtio-net-pci", "netdev": "second", "bus": "slot2", "id": "late2", "romfile": ""}))
    wait_until(lambda: len(reports(instance)) > 1 or instance.qemu.poll() is not None, 300, "second report",
               instance.tail)
    observed.serving = instance.text()[before:]
    observed.alive = instance.qemu.poll() is None
    observed.later = Guest(reports(instance)[-1])


@pytest.fixture(scope="module")
def secure_boot_off(image, stack, key, sealboot, model, overlay, tmp_path_factory):  # noqa: F811
    directory, measurements = tmp_path_factory.mktemp("off"), image / "pcr_measurements.json"
    release(stack, key, sealboot, measurements)
    observed = boot(directory, esp_of_the_operator(image, directory), stack, VARIABLES, False, overlay)
    observed.cmdline = command_line(image)
    observed.reference = json.loads(sealboot("measure", "--json", "--secure-boot", "off",
                                             image / "sealboot.efi"))["Measurements"]
    assert references(measurements)["PCR4"] == observed.reference["PCR4"]
    return observed


@pytest.fixture(scope="module")
def secure_boot_on(image, stack, key, sealboot, model, overlay, owner_keys, tmp_path_factory):  # noqa: F811
    directory = tmp_path_factory.mktemp("on")
    disk = esp_of_the_operator(image, directory)
    measurements = sign(disk, owner_keys, sealboot)
    release(stack, key, sealboot, measurements)
    observed = boot(directory, disk, stack, owner_keys / "OVMF_VARS.fd", True, overlay)
    observed.cmdline = command_line(image)
    observed.reference = references(measurements)
    return observed


# --- what each input must not have done

CHECKS = {}


def row(name):
    def add(check):
        CHECKS[name] = check
        return check
    return add


def console(observed):
    return observed.booting + observed.serving


@row("all at once")
def served(o, sealed):
    """The measurements are the reference, KMS releases, the model answers."""
    assert not o.failures, o.failures
    pcrs = o.report.pcrs["sha384"]
    assert {i: pcrs[i] for i in (2, 4, 7, 12)} == {i: o.reference.get(f"PCR{i}", SEPARATOR) for i in (2, 4, 7, 12)}
    assert pcrs[12] == ZEROS and pcrs[15] == sealed_pcr15(sealed)
    assert o.guest.fact("agent-state") == "active", o.guest.fact("agent-journal")
    assert o.answer["tokens_predicted"] >= 1


@row("EFI variable SystemdOptions: mount-extra")
def mount_extra(o, _):
    assert "operator: runs as" not in o.booting
    assert "/usr/lib/sealboot" not in o.guest.fact("mounts")


@row("EFI variable SystemdOptions: debug_shell")
def debug_shell(o, _):
    assert "typed-42" not in console(o) and not PROMPTS.search(o.booting), o.booting[-2500:]
    assert not re.search("debug-shell", o.guest.fact("run-units"))


@row("EFI variable SystemdOptions: settings")
def settings(o, _):
    assert o.guest.fact("host-name") != "systemd-options"
    assert "sealboot-firewall.service" not in o.guest.fact("run-units")


@row("EFI variables Loader*, FactoryReset, Mok*")
def loader(o, _):
    """gpt-auto would take the operator's disk for the one that was booted, repart would reset it."""
    assert "vdc" not in o.guest.fact("mounts") and not re.search("gpt-auto|repart|factory", o.guest.fact("run-units"))


@row("EFI variable HibernateLocation")
def hibernate_location(o, _):
    """The kernel was not even asked to look for an image."""
    assert "hibernate-resume" not in o.guest.fact("run-units")
    assert o.guest.fact("resume") == "0:0" or "No such file" in o.guest.fact("resume")
    assert not re.search(r"PM: (hibernation: )?(Image|Loading|resum|Read)|Lockdown: systemd\S*: hibernation",
                         o.guest.fact("kernel-log"))


@row("EFI variables are not to be had")
def no_variables(o, _):
    """Neither the system nor the server can read them, or leave something there for the next boot."""
    assert "efivarfs" not in o.guest.fact("mounts") and "efivarfs" not in o.guest.fact("modules")
    assert "SystemdOptions" not in o.guest.fact("efi-variables")


@row("ESP: sysext")
def extension(o, _):
    assert "operator: sysext" not in o.booting and "operator" not in o.guest.fact("extensions")


@row("ESP: loader.conf, entries, random seed, stray files")
def stray(o, _):
    assert o.report.cmdline.split() == o.cmdline


@row("SMBIOS and fw_cfg: credentials")
def credentials(o, _):
    assert "brought by" not in console(o) and not re.search(r"^(smbios|x)\.service", o.guest.fact("units"),
                                                            re.MULTILINE)
    assert "@system" not in o.guest.fact("mounts")


@row("disks: file systems and partition types")
def file_systems(o, _):
    for guest in (o.guest, o.later):
        devices = {device for mounts in guest.mounts().values() for device, *_ in mounts if device.startswith("/dev/")}
        assert len(devices) == 1 and devices.pop().startswith(("/dev/mapper/", "/dev/dm-"))  # the root


@row("disks: LVM, MD, LUKS, btrfs")
def assembled(o, _):
    for guest in (o.guest, o.later):
        assert len(guest.lines("device-mapper")) == 1 and " verity " in guest.fact("device-mapper")
        assert not re.search(r"\bmd\d", guest.fact("partitions")) and " : active" not in guest.fact("md")
        modules = {line.split()[0] for line in guest.lines("modules")}
        assert not modules & {"btrfs", "raid0", "raid1", "raid456", "md_mod", "dm_crypt", "ext4", "isofs", "xfs"
                              }, modules


@row("disks: swap")
def swap(o, _):
    for guest in (o.guest, o.later):
        assert len(guest.lines("swaps")) == 1


@row("disks: hibernated")
def hibernated(o, _):
    assert "[disabled]" in o.guest.fact("hibernation") or "No such" in o.guest.fact("hibernation")


@row("disks: read-only")
def read_only(o, _):
    for guest in (o.guest, o.later):
        rows = dict(line.split() for line in guest.lines("block-devices"))
        assert set(rows.values()) == {"1"}, rows


@row("disk attached while the machine runs")
def late_disk(o, _):
    new = set(o.later.lines("block-devices")) - set(o.guest.lines("block-devices"))
    assert len(new) > 10, new  # the kernel sees it, partition by partition
    assert not running(o.later) - running(o.guest) - {"systemd-hostnamed.service", "llama-proxy.service"}


@row("interface attached while the machine runs")
def late_interface(o, _):
    assert o.later.fact("firewall") == o.guest.fact("firewall") and o.later.fact("host-name") == o.guest.fact(
        "host-name")
    assert not [s for s in listening(o.later) - listening(o.guest) if not re.search(r":(68|546)$", s)]


def running(guest):
    found = {line.split()[0] for line in guest.lines("units") if line.split()[2] not in ("inactive", "failed")}
    assert "sealboot-agent.service" in found
    return found


def listening(guest):
    """PROTOCOL ADDRESS:PORT of each socket."""
    found = {f"{protocol} {address.hex()}:{port}" for protocol, address, port, _ in guest.sockets()}
    assert any(s.endswith(":443") for s in found)
    return found


@row("DHCP: host name")
def host_name(o, _):
    assert o.guest.fact("host-name") not in (NAME, "operator-2") and NAME not in o.guest.fact("host-name")


@row("DHCP and router advertisements: domains")
def domains(o, _):
    assert DOMAIN not in o.guest.fact("resolver")


@row("DHCP: time servers")
def time_servers(o, _):
    assert "NTP=" in o.guest.lines("leases")  # of the link: none is used, whatever its lease says
    assert (17, NTP, 123) not in o.sent


@row("DHCP: routes")
def routes(o, _):
    """They may lead everything to the operator, who runs the network anyway: the machine sends nothing but what its
    firewall lets out, and believes no answer that is not authenticated."""
    assert o.through_gateway or f"{struct.unpack('<I', socket.inet_aton(GATEWAY))[0]:08X}" not in o.guest.fact("routes")
    other = {(protocol, to, port) for protocol, to, port in o.sent if port not in (443, 53, 67) and (to, port) not in (
        (METADATA, 80), ("169.254.169.123", 123))}
    assert not other


@row("DHCP and router advertisements: resolvers")
def resolvers(o, _):
    """Names may be anybody's: what is behind them shows a certificate, and its answers are authenticated. Nothing but
    DNS goes to a resolver."""
    assert {sent for sent in o.sent if sent[1] == DNS} <= {(17, DNS, 53), (6, DNS, 53)}


@row("console: keys")
def console_keys(o, _):
    assert "typed-42" not in console(o) and not PROMPTS.search(o.serving), o.serving


@row("console: BREAK and SysRq")
def sysrq(o, _):
    assert "kernel/sysrq 0" in o.guest.lines("sysctl")
    assert not DUMP.search(console(o)), DUMP.search(console(o))
    assert "sysrq" not in o.serving.lower(), o.serving


@row("console: Ctrl-Alt-Del")
def reboot_keys(o, _):
    assert o.alive


@row("diagnostic interrupt (NMI)")
def interrupt(o, _):
    """It came, and the machine says nothing of what was in its memory."""
    assert "NMI received" in o.after_nmi and "panic" not in o.after_nmi, o.after_nmi
    assert not DUMP.search(o.after_nmi) and not PROMPTS.search(o.after_nmi), o.after_nmi


@pytest.mark.parametrize("mode", ["secure_boot_off", "secure_boot_on"])
@pytest.mark.parametrize("name", CHECKS)
def test_row(name, mode, request, model):  # noqa: F811
    observed = request.getfixturevalue(mode)
    assert observed.guest, observed.failures
    CHECKS[name](observed, model)


# --- boots of their own

def test_a_volume_with_the_same_identifiers(image, stack, released, tmp_path):  # noqa: F811
    """A copy of the image's disk, all partition and file-system identifiers the same, with another systemd in the root:
    either the real one is used or the machine does not boot; the copy never is."""
    disk, copy = tmp_path / "disk.raw", tmp_path / "copy.raw"
    changed_esp(image, copy, "")
    corrupt(copy)
    script(f"cp --sparse=always {image}/sealboot.raw {disk}", binds=["--bind", image])
    released(image / "pcr_measurements.json")
    with Instance(tmp_path, disk, stack, extra=hostile.drive(copy, "copy")) as instance:
        wait_until(lambda: reports(instance) or instance.qemu.poll() is not None or "panic" in instance.text(), BOOT,
                   "end", instance.tail)
        if reports(instance):
            report, guest = Report(reports(instance)[0]), Guest(reports(instance)[0])
            assert guest.fact("agent-state") == "active" and " verity " in guest.fact("device-mapper")
            assert report.pcrs["sha384"][4] == references(image / "pcr_measurements.json")["PCR4"]
        else:
            assert re.search(r"verity.*corrupted|dm-verity device corrupted|Boot has failed|Restarting|reboot",
                             instance.text(), re.I)
            assert not stack.control.audit(service="kms")


def test_a_driver_of_the_operator_is_denied(image, stack, released, tmp_path):  # noqa: F811
    """It rewrites a word of the command line once that is measured: systemd does as it says. PCR2 alone tells."""
    disk = tmp_path / "disk.raw"
    built = program(tmp_path, "driver", 11, 'FOUND="systemd.show_status=no"', 'INSERTED="systemd.show_status=on"')
    changed_esp(image, disk, f"mmd -i $esp ::/EFI/operator; mcopy -i $esp {built} ::/EFI/operator/driver.efi")
    driver = [
        variable("Driver0000", load_option(disk, "/EFI/operator/driver.efi")),
        variable("DriverOrder", numbers(0))
    ]
    released(image / "pcr_measurements.json")
    with Instance(tmp_path, disk, stack, variables=store(tmp_path / "variables", driver)) as instance:
        wait_until(lambda: decisions(stack) or instance.qemu.poll() is not None, BOOT, "decision of KMS", instance.tail)
        assert "the command line is rewritten" in instance.text() and "  OK  " in instance.text(), instance.tail()
        assert decisions(stack) == ["AccessDeniedException"]


def decisions(stack):  # noqa: F811
    return [event["result"] for event in stack.control.audit(service="kms") if event.get("operation") == "Decrypt"]


def test_a_clock_of_the_operator(image, stack, released, tmp_path):  # noqa: F811
    """A clock of 2001, and no time service: the agent says that it is the clock, and nothing is released."""
    released(image / "pcr_measurements.json")
    with Instance(tmp_path, image / "sealboot.raw", stack, extra=["-rtc", "base=2001-01-01T00:00:00"]) as instance:
        _, guest = instance.told()
        assert guest.fact("agent-state") == "failed" and "the system clock is wrong" in guest.fact("agent-journal")
        assert "ok" not in decisions(stack) and "model.gguf" not in guest.fact("models")


def test_variables_are_inert_without_noruntime_too(image, stack, key, sealboot, model, tmp_path):  # noqa: F811
    """For an image whose kernel must read db, so that it cannot have efi=noruntime: there is no module that would show
    variables to systemd. The same kernel, initrd and root, with the variable SystemdOptions set and nobody's db in the
    way."""
    disk = tmp_path / "disk.raw"
    changed_esp(
        image, disk, f"""
        for section in linux initrd cmdline osrel; do
            objcopy --dump-section .$section=$section uki.efi rewritten.efi
        done
        command_line=$(tr -d "\\0" < cmdline | sed s/efi=noruntime//)
        ukify build --linux=linux --initrd=initrd --cmdline="$command_line" --os-release=@osrel \
            --stub={STUBS}/linuxx64.efi.stub --output=runtime.efi
        mcopy -o -i $esp runtime.efi ::/EFI/BOOT/BOOTX64.EFI""")
    (tmp_path / "measurements.json").write_text(sealboot("measure", "--json", tmp_path / "runtime.efi"))
    release(stack, key, sealboot, tmp_path / "measurements.json")
    options = variable("SystemdOptions", utf16(OPTIONS), guid=SYSTEMD)
    with Instance(tmp_path, disk, stack, variables=store(tmp_path / "variables", [options])) as instance:
        report, guest = instance.told()
        assert "efi=noruntime" not in report.cmdline and guest.fact("agent-state") == "active", guest.fact(
            "agent-journal")
        assert guest.fact("host-name") != "systemd-options" and not guest.fact("efi-variables")
        assert "efivarfs" not in guest.fact("mounts") and "efivarfs" not in guest.fact("modules")
        assert not PROMPTS.search(instance.text())
