# SPDX-License-Identifier: Apache-2.0
"""What the recipe gives and what it refuses, by evaluating it with nix against nix/stub. Run by nix/check.

With $NIXPKGS, a whole tree of nixpkgs, the example is evaluated against that instead."""

import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
OPTIONS = [
    "--extra-experimental-features", "nix-command flakes", "--option", "build-users-group", "", "--option", "sandbox",
    "false", "--option", "substituters", ""
]
PRELUDE = f"""
let
  nixpkgs = import {HERE}/stub/flake-inputs.nix {{ libPath = "{os.environ.get('NIXPKGS_LIB', '')}"; }};
  self = (import {HERE}/flake.nix).outputs {{ inherit self nixpkgs; }};
  image = module: self.lib.mkImage "x86_64-linux" [ {HERE}/example.nix module ];
in
"""
KEY = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def nix(*arguments):
    return subprocess.run(["nix", *arguments[:1], *OPTIONS, *arguments[1:]], capture_output=True, text=True,
                          check=False)


def evaluate(expression):
    done = nix("eval", "--impure", "--json", "--expr", PRELUDE + expression)
    assert done.returncode == 0, f"{expression}\n{done.stderr}"
    return json.loads(done.stdout)


def build(expression):
    done = nix("build", "--impure", "--no-link", "--print-out-paths", "--expr", PRELUDE + expression)
    assert done.returncode == 0, f"{expression}\n{done.stderr}"
    return pathlib.Path(done.stdout.strip()).read_text()


def built_from(attribute):
    """The file that an attribute of the example's outputs builds."""
    return build(f"self.packages.x86_64-linux.{attribute}")


def image_of(module):
    return json.loads(build(f"(image ({module})).config.system.build.finalImage"))


def described(module, system="x86_64-linux"):
    """What an image is made of, without building anything of it."""
    return json.loads(evaluate(f'(self.lib.mkImage "{system}" [ {HERE}/example.nix ({module}) ])'
                               ".config.system.build.finalImage.description"))


def refused(module, reason):
    done = nix("eval", "--impure", "--raw", "--expr",
               f"{PRELUDE} (image ({module})).config.system.build.finalImage.drvPath")
    assert done.returncode != 0, f"accepted: {module}"
    refusal = any(words in done.stderr for words in reason.split("|"))
    assert refusal, f"{module}\nrefused, but not for '{reason}':\n{done.stderr}"


# module -> part of the message that refuses it
NEGATIVES = [
    ("{ services.openssh.enable = force true; }", "services.openssh"),
    ("{ services.amazon-ssm-agent.enable = true; }", "services.amazon-ssm-agent"),
    ("{ services.cloud-init.enable = true; }", "services.cloud-init"),
    ('{ services.getty.autologinUser = force "root"; }', "services.getty.autologinUser"),
    ('{ users.users.root.password = "x"; }', "these users have a password or a key: root"),
    ('{ users.users.root.hashedPassword = "$6$x"; }', "these users have a password or a key: root"),
    ('{ users.users.root.hashedPasswordFile = "/x"; }', "these users have a password or a key: root"),
    ('{ users.users.admin.initialPassword = "x"; }', "these users have a password or a key: admin"),
    ('{ users.users.root.initialHashedPassword = "$6$x"; }', "these users have a password or a key: root"),
    ('{ users.users.admin.openssh.authorizedKeys.keys = [ "ssh-ed25519 x" ]; }',
     "these users have a password or a key: admin"),
    ("{ users.mutableUsers = force true; }", "users.mutableUsers"),
    ('{ boot.kernelParams = force [ "panic=10" ]; }', "lacks systemd.verity_usr_options=panic-on-corruption"),
    ('{ boot.kernelParams = force [ "panic=10" ]; }', "lacks systemd.import_credentials=no"),
    ("{ boot.initrd.systemd.emergencyAccess = force true; }", "boot.initrd.systemd.emergencyAccess"),
    ("{ systemd.enableEmergencyMode = force true; }", "systemd.enableEmergencyMode"),
    ("{ systemd.coredump.enable = force true; }", "core dumps"),
    ('{ swapDevices = force [ { device = "/dev/sda"; } ]; }', "swap"),
    ("{ networking.nftables.enable = force false; }", "no firewall"),
    ('{ networking.nftables.ruleset = force ""; }', "no firewall"),
    ('{ networking.nftables.ruleset = "table inet more { }"; }', "no firewall"),
    ("{ networking.nftables.rulesetFile = ./example.nix; }", "no firewall"),
    ("{ networking.nftables.tables.mine = { }; }", "no firewall"),
    ("{ systemd.services.nftables.enable = force false; }", 'stays open without systemd.services."nftables"'),
    ("{ systemd.services.sealboot-lockdown.enable = force false; }",
     'stays open without systemd.services."sealboot-lockdown"'),
    ("{ systemd.services.sealboot-agent.requires = force [ ]; }", "the agent would get a key before"),
    ('{ systemd.services.sealboot-agent.after = force [ "nftables.service" ]; }', "the agent would get a key before"),
    ("{ services.sealboot.gpu.enable = true; systemd.services.sealboot-gpu.enable = force false; }",
     "modules would be closed before the drivers are loaded"),
    ('{ services.sealboot.gpu.enable = true; systemd.services.sealboot-lockdown.after = force [ ]; }',
     "modules would be closed before the drivers are loaded|the agent would get a key before"),
    ("{ services.sealboot.gpu.neuron.enable = true; systemd.services.sealboot-gpu.enable = force false; }",
     "modules would be closed before the drivers are loaded"),
    ('{ services.sealboot.gpu.enable = true; boot.kernelModules = [ "nvidia" ]; }',
     "sealboot-gpu alone loads the drivers: nvidia among"),
    ('{ services.sealboot.gpu.neuron.enable = true; boot.initrd.kernelModules = [ "neuron" ]; }',
     "sealboot-gpu alone loads the drivers: neuron among"),
    ('{ services.sealboot.gpu = { enable = true; fabricManager = "/bin/x"; }; }', "not of type"),
    ("{ boot.kernelPatches = force [ ]; }", "no lockdown"),
    ('{ boot.kernelPatches = force [ { name = "sealboot-lockdown"; } ]; }',
     "boot.kernelPatches lacks sealboot-no-efi-variables"),
    ('{ boot.kernelParams = force [ "panic=10" ]; }', "lacks efi=noruntime"),
    ('{ boot.kernelParams = force [ "panic=10" ]; }', "lacks nohibernate"),
    ('{ boot.initrd.availableKernelModules = force [ "efivarfs" ]; }', "efivarfs among the kernel modules"),
    ('{ boot.initrd.kernelModules = [ "efivarfs" ]; }', "efivarfs among the kernel modules"),
    ('{ boot.kernelModules = [ "efivarfs" ]; }', "efivarfs among the kernel modules"),
    ('{ boot.kernel.sysctl."user.max_user_namespaces" = force 1; }', "sysctl user.max_user_namespaces"),
    ('{ boot.kernel.sysctl."kernel.io_uring_disabled" = force 0; }', "sysctl kernel.io_uring_disabled"),
    ('{ boot.kernel.sysctl."kernel.sysrq" = force 1; }', "sysctl kernel.sysrq"),
    ('{ boot.kernel.sysctl."kernel.printk" = force 7; }', "sysctl kernel.printk"),
    ('{ boot.kernel.sysctl."kernel.unknown_nmi_panic" = force 1; }', "sysctl kernel.unknown_nmi_panic"),
    ('{ boot.kernel.sysctl."-kernel.sysrq" = 1; }', "sysctl -kernel.sysrq"),
    ("{ systemd.services.llama-cpp.serviceConfig.PrivateUsers = nixpkgs.lib.mkOverride 1 true; }",
     "PrivateUsers of llama-cpp"),
    ("{ systemd.services.sealboot-agent.serviceConfig.PrivateUsers = nixpkgs.lib.mkOverride 1 true; }",
     "PrivateUsers of sealboot-agent"),
    ("{ networking.useDHCP = force true; }", "DHCP would be believed"),
    ('{ systemd.network.networks.mine = { DHCP = "yes"; }; }', "DHCP would be believed"),
    ("{ nix.enable = force true; }", "the image changes nothing of itself"),
    ("{ system.switch.enable = force true; }", "the image changes nothing of itself"),
    ("{ system.nixos-init.enable = force false; }", "scripts would make the system at each boot"),
    ("{ system.etc.overlay.mutable = force true; }", "scripts would make the system at each boot"),
    ('{ systemd.generators.systemd-debug-generator = force "/bin/sh"; }', "systemd.generators.systemd-debug-generator"),
    ('{ systemd.generators = force { }; }', "systemd.generators.systemd-fstab-generator"),
    ('{ fileSystems."/scratch".fsType = "tmpfs"; }', "the image reads no fstab (say systemd.mounts): /scratch"),
    ('{ systemd.services.systemd-confext.enable = force true; }', 'systemd.services."systemd-confext"'),
    ('{ services.sealboot.inferenceServices.other = 8443; }', "names none of the inferenceServices"),
    ('{ services.sealboot.gate.upstream = "127.0.0.1:8080"; }', "names none of the inferenceServices"),
    ('{ services.sealboot.gate.port = 8443; }', "sealboot-nginx.socket and the firewall have 443"),
    ("{ systemd.services.sealboot-nginx.serviceConfig.PrivateUsers = nixpkgs.lib.mkOverride 1 true; }",
     "PrivateUsers of sealboot-nginx"),
    ('{ services.sealboot.settings.keys = force [ ]; services.sealboot.keys = force [ ]; }', "pins no KMS key"),
    ('{ services.sealboot.settings.discovery = true; }', "discovery contradicts"),
    ('{ services.sealboot.settings.workers = "4"; }', "not of type"),
    ('{ services.sealboot.settings.lifecycle_hook.group = "g"; }', "used but not defined|has no value defined"),
    ('{ services.sealboot.settings.endpoints.kms = "kms.example.com"; }', "not of type"),
    ('{ services.sealboot.settings.endpoints.sts = "https://x"; }', "does not exist"),
    ('{ services.sealboot.settings.report = "report.json"; }', "not of type"),
    ('{ services.sealboot.failureAction = "halt"; }', "not of type"),
    ('{ users.users.root.hashedPassword = "x"; }', "these users have a password or a key: root"),
    ('{ boot.kernel.sysctl."kernel.core_pattern" = force "core"; }', "sysctl kernel.core_pattern"),
    ('{ boot.kernel.sysctl."kernel.core_pattern" = force null; }', "sysctl kernel.core_pattern"),
    ('{ boot.kernel.sysctl."kernel/core_pattern" = "core"; }', "sysctl kernel/core_pattern"),
    ('{ boot.kernel.sysctl."kernel.kexec_load_disabled" = force 0; }', "sysctl kernel.kexec_load_disabled"),
    ('{ fileSystems."/data" = { device = "/dev/nvme1n1"; fsType = "ext4"; }; }', "these file systems: /data"),
    ('{ fileSystems."/data" = { device = "/dev/nvme1n1"; fsType = "ext4"; options = [ "ro" "rw" ]; }; }',
     "these file systems: /data"),
    ('{ fileSystems."/" = force { device = "/dev/nvme0n1p4"; fsType = "ext4"; }; }', "these file systems: /"),
    ('{ systemd.services.systemd-logind.enable = force true; }', 'systemd.services."systemd-logind"'),
    ('{ systemd.services."getty@".enable = force true; }', 'systemd.services."getty@"'),
    ('{ systemd.services."serial-getty@".enable = force true; }', 'systemd.services."serial-getty@"'),
    ("{ systemd.services.debug-shell.enable = force true; }", 'systemd.services."debug-shell"'),
    ("{ systemd.services.systemd-pcrmachine.enable = force true; }", 'systemd.services."systemd-pcrmachine"'),
    ("{ services.sealboot.enable = force false; }", "without services.sealboot"),
    ("{ services.sealboot.keys = force [ ]; }", "pins no KMS key"),
    ("{ services.sealboot.discovery = true; }", "discovery contradicts"),
    ('{ services.sealboot.keys = [ "alias/mine" ]; }', "not of type"),
    ('{ services.sealboot.modelDigests = [ "00" ]; }', "not of type"),
    (f'{{ services.sealboot.modelDigests = [ "{"0" * 96}" ]; }}', "not of type"),
    (f'{{ services.sealboot.modelDigests = [ "sha384:{"0" * 95}" ]; }}', "not of type"),
    ('{ services.sealboot.measure = "md5"; }', "not of type"),
    ("{ services.sealboot.workers = 0; }", "not of type"),
    ('{ services.sealboot.model = "https://x/"; }', "not of type"),
    ("{ services.sealboot.unknown = 1; }", "does not exist"),
    ("{ services.sshd.enable = true; }", "does not exist"),
    ("{ services.logind.enable = false; }", "does not exist"),  # nixos-25.11 has no such option
    ("{ services.sealboot.inferenceServices.llama-cpp = force 65536; }", "not of type"),
]
# systemd reads - and _ alike, the kernel too; what comes later on the command line wins.
for parameter in (
        "systemd.debug_shell",
        "systemd.debug-shell",
        "rd.systemd.debug-shell",
        "rd.systemd.debug_shell=ttyS0",
        "systemd.crash_shell",
        "systemd.crash-shell=yes",
        "init=/bin/sh",
        "rdinit=/bin/sh",
        "single",
        "s",
        "1",
        "emergency",
        "rescue",
        "systemd.unit=rescue.target",
        "rd.systemd.unit=emergency.target",
        "systemd.wants=debug-shell.service",
        "systemd.run=/bin/sh",
        "systemd.setenv=A=B",
        "systemd.import_credentials=yes",
        "systemd.set-credential=a:b",
        "lockdown=none",
        "lockdown=integrity",
        "rd.shell",
        "rd.break",
        "rd.cmdline=ask",
        "rd.emergency=shell",
        "systemd.verity_usr_options=",
        "systemd.mask=nftables.service",
        "usrhash=00",
        "root=/dev/sda1",
        "systemd.gpt_auto=yes",
        "systemd.mount-extra=/dev/sdb:/usr/lib:ext4",
        "efi=runtime",
        "resume=/dev/sdb",
        "hibernate=yes",
        "panic=0",
        "quiet init=/bin/sh",
        "loglevel=4 systemd.debug_shell",
        "nvidia.a=b init=/bin/sh",
):
    NEGATIVES.append((f'{{ boot.kernelParams = [ "{parameter}" ]; }}', f"kernel parameters {parameter}"))


def outputs():
    for system, loader in (("x86_64-linux", "BOOTX64.EFI"), ("aarch64-linux", "BOOTAA64.EFI")):
        given = evaluate(f"""{{
            packages = builtins.attrNames self.packages.{system};
            apps = builtins.mapAttrs (_: a: a.type) self.apps.{system};
            measured = self.packages.{system}.pcr-measurements ? drvPath;
            uki = (self.lib.mkImage "{system}" [ {HERE}/example.nix ]).config.image.repart.verityStore.ukiPath;
            modules = builtins.attrNames self.nixosModules;
        }}""")
        assert given == {
            "packages": ["agent-config", "default", "pcr-measurements", "raw-image", "sealboot"],
            "apps": dict.fromkeys(["measure", "register-ami", "sign", "uefi-data"], "app"),
            "measured": True,
            "uki": f"/EFI/BOOT/{loader}",
            "modules": ["default", "image", "sealboot"],
        }, given


def configuration_of(image):
    """The agent's configuration in an image, which the agent has read by then."""
    return json.loads(pathlib.Path(image["etc"]["sealboot/agent.json"]["source"]).read_text())


def built_image():
    image = json.loads(built_from("raw-image"))
    assert configuration_of(image) == {"keys": [KEY], "encryption_context": {"model": "example"}, "measure": "model"}
    assert configuration_of(image) == json.loads(built_from("agent-config"))
    gate = json.loads(pathlib.Path(image["etc"]["sealboot/gate.json"]["source"]).read_text())
    assert gate["upstream"] == "unix:/run/sealboot-upstream/llama-cpp.sock"
    assert gate["paths"] == {"server": "llama-server"}
    assert json.loads(
        pathlib.Path(image["etc"]["sealboot/nginx.conf"]["source"]).read_text().removeprefix("# of\n")) == gate
    start = image["services"]["sealboot-nginx"]["serviceConfig"]["ExecStart"]
    assert start[0] == "" and re.fullmatch(r"/nix/store/\S+/bin/nginx -e stderr -c /etc/sealboot/nginx.conf", start[1])
    assert image["writable"] == []
    assert image["partitions"]["00-esp"]["Format"] == "vfat"
    services = image["services"]
    assert "debug-shell" in image["off"] and "systemd-logind" in image["off"] and "sealboot-agent" in services
    assert {"systemd.verity_usr_options=panic-on-corruption", "lockdown=confidentiality", "efi=noruntime",
            "nohibernate", "sysctl.kernel.sysrq=0"} <= set(image["parameters"])
    devices = dict(re.findall(r'SUBSYSTEM=="([^"]+)", RUN\+="/nix/store/[^/]+/(\S+ .*)[$]devnode"', image["rules"]))
    assert set("|".join(devices).split("|")) == {"block", "nvme", "nvme-generic"}, devices
    assert "/usr/" not in image["rules"], devices
    assert set(devices.values()) == {"lib/sealboot/sealboot-lockdown --device "}, devices
    sysctl = {name.removeprefix("-"): value for name, value in image["sysctl"].items()}
    assert {
        "kernel.core_pattern": "|/bin/false", "kernel.yama.ptrace_scope": "3", "user.max_user_namespaces": "0",
        "kernel.sysrq": "0", "kernel.io_uring_disabled": "2", "kernel.unknown_nmi_panic": "0",
        "kernel.printk": "1 4 1 4"
    }.items() <= sysctl.items()
    the_door_is_shut_before_the_key(services)
    the_kernel_has_lockdown_and_no_efi_variables(*image["kernelPatches"])
    the_initrd_is_what_is_needed(image["initrd"])
    the_root_is_what_is_needed(image)
    dhcp_is_not_trusted(image["etc"])
    a_failed_boot_ends_the_machine(services)
    the_server_is_confined(services, image["sockets"])
    the_rules_are_checked_without_their_users(**image["firewall"])
    the_firewall_lets_in(image["firewall"]["ruleset"], "443")


def the_door_is_shut_before_the_key(services):
    agent, lockdown, firewall = (services[name] for name in ("sealboot-agent", "sealboot-lockdown", "nftables"))
    for order in ("requires", "after"):
        assert {"nftables.service", "sealboot-lockdown.service"} <= set(agent[order]), agent
        assert "nftables.service" in lockdown[order], lockdown
    assert "systemd-networkd.service" in firewall["requiredBy"], firewall
    assert firewall["serviceConfig"]["ExecStop"] == [], firewall
    assert lockdown["serviceConfig"]["Type"] == "oneshot"
    assert re.fullmatch(r"/nix/store/[^/]+-sealboot-[0-9.]+/lib/sealboot/sealboot-lockdown",
                        lockdown["serviceConfig"]["ExecStart"])
    assert any("util-linux" in directory for directory in lockdown["path"])


def the_kernel_has_lockdown_and_no_efi_variables(lockdown, variables):
    assert lockdown["patch"].endswith("-lockdown.patch") and variables["patch"] is None
    said = [{name: (option["content"].get("tristate") or option["content"]["freeform"], option["content"]["optional"])
             for name, option in patch["structuredExtraConfig"].items()} for patch in (lockdown, variables)]
    assert said[0] == {"SECURITY_LOCKDOWN_LSM": ("y", False), "SECURITY_LOCKDOWN_LSM_EARLY": ("y", False)}
    # nixpkgs fails the kernel's build where an option that is not optional did not come out as wanted.
    assert said[1]["EFIVAR_FS"] == ("n", False) and said[1]["EFI_DISABLE_RUNTIME"] == ("y", False)
    assert said[1]["EFI_VARS_PSTORE"] == said[1]["MAGIC_SYSRQ_SERIAL"] == ("n", True)
    assert said[1]["MAGIC_SYSRQ_DEFAULT_ENABLE"] == ("0x0", True)


def the_initrd_is_what_is_needed(initrd):
    assert not initrd["shell"] and not {"efivarfs", "ahci"} & set(initrd["modules"]) and "nvme" in initrd["modules"]
    assert {"debug-shell.service", "rescue.service",
            "systemd-ask-password-console.path"} <= set(initrd["suppressedUnits"])
    for name in ("debug", "fstab", "gpt-auto", "hibernate-resume", "run"):
        assert any(path.endswith(f"-systemd/lib/systemd/system-generators/systemd-{name}-generator")
                   for path in initrd["suppressedStorePaths"]), name
    assert any(path.endswith("-util-linux/bin/sulogin") for path in initrd["suppressedStorePaths"])
    assert not any("veritysetup" in path for path in initrd["suppressedStorePaths"])
    # Without the generator, what it made of fstab.
    mounts = {mount["where"]: mount for mount in initrd["mounts"]}
    assert {where: (mount["what"], mount["type"]) for where, mount in mounts.items()} == {
        "/sysroot": ("tmpfs", "tmpfs"), "/sysroot/usr": ("/dev/mapper/usr", "erofs"),
        "/sysroot/nix/store": ("/sysroot/usr/nix/store", "none")}
    assert "ro" in mounts["/sysroot/usr"]["options"] and mounts["/sysroot/nix/store"]["options"] == "bind,ro"
    for where, mount in mounts.items():
        target = "initrd-root-fs.target" if where == "/sysroot" else "initrd-fs.target"
        assert mount["requiredBy"] == mount["before"] == [target], mount
    starts = {name: service["serviceConfig"]["ExecStart"] for name, service in initrd["services"].items()}
    assert starts["initrd-parse-etc"] == ["", "systemctl --no-block start initrd-cleanup.service"]
    assert starts["emergency"][-1] == "/bin/systemctl --force poweroff"
    assert "event_activation = 0" in initrd["contents"]["/etc/lvm/lvm.conf"]["text"]


def the_root_is_what_is_needed(image):
    assert image["packages"] == [] and not image["wrappers"]
    assert {"perl", "-nix-[0-9]"} <= set(image["forbidden"])
    assert {f"systemd-{name}-generator"
            for name in ("debug", "fstab", "gpt-auto", "run", "ssh", "getty")} <= set(image["generators"])
    assert set(image["generators"].values()) == {"/dev/null"}
    for name in ("system.conf.d", "journald.conf.d", "resolved.conf.d"):
        shared = f"systemd/{name}/sealboot.conf"
        given = pathlib.Path(image["etc"][shared]["source"]).read_bytes()
        assert given == (HERE / "../kiwi/root/usr/lib" / shared).read_bytes()
    assert image["etc"]["machine-id"] == {"text": "", "mode": "0444"}
    assert {"config {}", "global/event_activation = 0"} <= set(image["etc"]["lvm/lvm.conf"]["text"].splitlines())
    model = next(mount for mount in image["mounts"] if mount["where"] == "/run/sealboot/model")
    wanted = re.search("^Options=(.*)$", (HERE / "../units/run-sealboot-model.mount").read_text(), re.M)[1].split(",")
    assert model["what"] == model["type"] == "tmpfs" and set(model["options"].split(",")) == {*wanted, "noswap"}, model
    (audit,) = image["audit"]
    assert re.search(r"zstd -dc /nix/store/\S+/initrd \| cpio", audit) and "-audit-initrd list" in audit


def dhcp_is_not_trusted(etc):
    said, section = {}, None
    for line in etc["systemd/network/80-sealboot.network"]["text"].splitlines():
        if line.startswith("["):
            section = said.setdefault(line.strip("[]"), {})
        elif line:
            section.update([line.split("=", 1)])
    for protocol in ("DHCPv4", "DHCPv6"):
        for name in ("UseNTP", "UseHostname", "UseDomains", "UseCaptivePortal", "SendHostname"):
            assert said[protocol][name] == "no", (protocol, name)
    assert said["DHCPv4"]["UseRoutes"] == said["IPv6AcceptRA"]["UseDomains"] == said["IPv6AcceptRA"][
        "UseRoutePrefix"] == "no"
    assert said["DHCPv4"]["UseGateway"] == said["DHCPv4"]["UseDNS"] == "yes" and said["Network"]["LLMNR"] == "no"


def a_failed_boot_ends_the_machine(services):
    assert services["sealboot-agent"]["onFailure"] == ["sealboot-failed.service"]
    failed = services["sealboot-failed"]
    assert failed["unitConfig"] == {"SuccessAction": "poweroff-force", "FailureAction": "poweroff-force"}
    assert failed["serviceConfig"]["StandardOutput"] == "journal+console"
    said, synced, _ = failed["serviceConfig"]["ExecStart"]
    assert "echo sealboot: no model was published" in said and synced.endswith("journalctl --sync")
    assert all(line.startswith("-/nix/store/") for line in failed["serviceConfig"]["ExecStart"])


def lines_of(unit):
    """The lines of a unit's [Service] section, as lists by key."""
    lines = {}
    for key, value in re.findall(r"^(\w+)=(.*)$",
                                 (HERE / "../units/examples" / unit).read_text().partition("[Service]")[2], re.M):
        lines.setdefault(key, []).append(value)
    return lines


def the_server_is_confined(services, sockets):
    server, proxy = services["llama-cpp"], services["llama-cpp-proxy"]
    wanted = lines_of("llama-server.service.d/sealboot.conf")
    assert wanted.pop("Environment") and wanted["PrivateNetwork"] == ["yes"
                                                                      ] and "/run:ro" in wanted["TemporaryFileSystem"]
    for key, values in wanted.items():
        given = server["serviceConfig"][key]
        assert given == values[-1] or isinstance(given, list) and given[:len(values)] == values, (key, given)
    assert server["serviceConfig"]["PrivateUsers"] is services["sealboot-agent"]["serviceConfig"][
        "PrivateUsers"] is False
    assert server["serviceConfig"]["RestrictAddressFamilies"] == "AF_UNIX AF_INET"
    assert server["serviceConfig"]["BindReadOnlyPaths"] == ["/run/sealboot/model", "-/run/opengl-driver"]
    assert server["serviceConfig"]["ExecStart"] == "llama-server --host 127.0.0.1 --port 8080"
    for order in ("requires", "after"):
        assert "sealboot-model.target" in server[order], server
        assert {"llama-cpp.service", "llama-cpp-proxy.socket"} <= set(proxy[order]), proxy
    assert proxy["unitConfig"] == {"JoinsNamespaceOf": "llama-cpp.service"}
    start = proxy["serviceConfig"].pop("ExecStart")
    proxyd, _, options = start.partition(" ")
    assert re.fullmatch(r"/nix/store/\S+/lib/systemd/systemd-socket-proxyd", proxyd), start
    wanted = lines_of("llama-proxy.service")
    assert [options] == [line.partition(" ")[2] for line in wanted.pop("ExecStart")], start
    assert proxy["serviceConfig"] == {key: values if values[1:] else values[0] for key, values in wanted.items()}
    assert sockets == {"llama-cpp-proxy": ["/run/sealboot-upstream/llama-cpp.sock"]}


def nft(ruleset):
    return subprocess.run(["unshare", "--net", "nft", "--check", "--file", "-"], input=ruleset, capture_output=True,
                          text=True, check=False)


def the_rules_are_checked_without_their_users(ruleset, preCheckRuleset):
    """NixOS runs the script beside a copy of the rules, then nft on the copy, in a sandbox without the image's
    users."""
    shared = (HERE / "../kiwi/root/usr/lib/sealboot/firewall.nft").read_text()
    assert ruleset.startswith(shared) and 'skuid "' in ruleset
    with tempfile.TemporaryDirectory() as directory:
        rules = pathlib.Path(directory, "ruleset.conf")
        rules.write_text(ruleset)
        subprocess.run(["bash", "-euc", preCheckRuleset], cwd=directory, check=True)
        assert rules.read_text() == re.sub('skuid "[a-z-]+"', "skuid 0", ruleset)
        assert "User does not exist" in nft(ruleset).stderr
        assert nft(rules.read_text()).returncode == 0, nft(rules.read_text()).stderr


def the_firewall_lets_in(ruleset, ports):
    """What the kernel made of the rules, loaded into a network namespace of their own."""
    done = subprocess.run(["unshare", "--net", "sh", "-c", "nft -f - && nft list ruleset"],
                          input=re.sub('skuid "[^"]+"', "skuid 0", ruleset), capture_output=True, text=True, check=True)
    chain = dict(re.findall(r"chain (\w+) \{\n(.*?)\n\t\}", done.stdout, re.S))
    assert all("policy drop" in chain[name] for name in ("input", "output", "forward"))
    assert "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept" in chain[
        "input"] and "udp dport 547 accept" in chain["output"]
    assert re.findall(r"tcp dport ([^a-z]+) accept", chain["input"]) == ([ports] if ports else [])


def any_port_is_reachable():
    image = image_of("let port = nixpkgs.lib.mkForce 9000; in "
                     "{ services.llama-cpp.port = port; services.sealboot.inferenceServices.llama-cpp = port; }")
    assert image["sockets"] == {"llama-cpp-proxy": ["/run/sealboot-upstream/llama-cpp.sock"]}
    assert image["services"]["llama-cpp-proxy"]["serviceConfig"]["ExecStart"].endswith(" 127.0.0.1:9000")
    the_firewall_lets_in(image["firewall"]["ruleset"], "443")
    image = image_of("{ services.sealboot.inferenceServices.other = 8080; "
                     'services.sealboot.gate.upstream = "unix:/run/sealboot-upstream/other.sock"; }')
    for name in ("llama-cpp", "other"):
        assert image["services"][name]["serviceConfig"]["PrivateNetwork"] == "yes"
        proxy = image["services"][f"{name}-proxy"]
        assert proxy["serviceConfig"]["ExecStart"].endswith(" 127.0.0.1:8080")
        assert proxy["unitConfig"]["JoinsNamespaceOf"] == f"{name}.service"
    assert image["sockets"] == {
        f"{name}-proxy": [f"/run/sealboot-upstream/{name}.sock"] for name in ("llama-cpp", "other")
    }
    gate = json.loads(pathlib.Path(image["etc"]["sealboot/gate.json"]["source"]).read_text())
    assert gate["upstream"] == "unix:/run/sealboot-upstream/other.sock"
    the_firewall_lets_in(image["firewall"]["ruleset"], "443")
    the_firewall_lets_in(
        image_of("{ services.sealboot.inferenceServices = nixpkgs.lib.mkForce { }; }")["firewall"]["ruleset"], "")


MODPROBE = HERE / "../kiwi/root-gpu/usr/lib/modprobe.d/sealboot-gpu.conf"


def the_driver_of_a_gpu_is_loaded_before_the_door_shuts():
    """And nothing of it is in an image that does not ask for it."""
    plain = image_of("{ }")
    assert plain["driver"] == [] and not [name for name in plain["services"] if "gpu" in name or "nvidia" in name]
    assert plain["modprobe"] == {"blacklistedKernelModules": [], "extraModprobeConfig": ""}
    fabric = ("{ config, ... }: { services.sealboot.gpu = { enable = true; "
              "fabricManager = config.services.sealboot.gpu.package.fabricmanager; }; }")
    for module, more in (("{ services.sealboot.gpu.enable = true; }", ""), (fabric, "nvidia-fabricmanager")):
        image = image_of(module)
        services = image["services"]
        gpu, lockdown, held = (services[n] for n in ("sealboot-gpu", "sealboot-lockdown", "nvidia-persistenced"))
        assert {"systemd-networkd.service", "sealboot-lockdown.service"} == set(gpu["requiredBy"]), gpu
        assert {"network-pre.target", "sealboot-lockdown.service"} <= set(gpu["before"]), gpu
        assert "sealboot-gpu.service" in lockdown["requires"] and "sealboot-gpu.service" in lockdown["after"]
        program, *words = gpu["serviceConfig"]["ExecStart"].split()
        assert re.fullmatch(r"/nix/store/[^/]+-sealboot-[0-9.]+/lib/sealboot/sealboot-gpu", program), program
        assert bool(words) == bool(more) and (not more or words[0] == "--fabric-manager"
                                              and words[1].endswith("-nvidia-fabricmanager/bin/nv-fabricmanager"))
        assert any("-kmod" in directory for directory in gpu["path"]), gpu
        assert [path.rsplit("-nvidia", 1)[1] for path in image["driver"]] == ["-open", "-firmware", ""]
        assert image["modprobe"] == {
            "blacklistedKernelModules": ["nouveau", "nova_core"], "extraModprobeConfig": MODPROBE.read_text()
        }
        assert "char-neuron rw" not in services["llama-cpp"]["serviceConfig"]["DeviceAllow"]
        wanted = dict(re.findall(r"^(\w+)=(.*)$", (HERE / "../kiwi/root-gpu/usr/lib/systemd/system" /
                      "nvidia-persistenced.service").read_text().partition("[Service]")[2].partition("[Install]")[0],
                                 re.M))
        start = held["serviceConfig"].pop("ExecStart")
        assert start.endswith("-nvidia-persistenced/bin/nvidia-persistenced --user nvpd"), start
        del wanted["ExecStart"]
        assert held["serviceConfig"] == wanted, held
        assert ("nvidia-fabricmanager" in services) == bool(more)
        assert {"lockdown=confidentiality", "efi=noruntime"} <= set(image["parameters"])


def neuron_devices_need_nothing_of_nvidia():
    image = described("{ services.sealboot.gpu.neuron.enable = true; }")
    services = image["services"]
    assert [path.partition("-")[2] for path in image["driver"]] == ["aws-neuron-driver-2.24.7.0-6.12.58"]
    assert image["modprobe"] == {"blacklistedKernelModules": [], "extraModprobeConfig": MODPROBE.read_text()}
    assert "blacklist neuron" in MODPROBE.read_text().splitlines()
    assert not [name for name in services if "nvidia" in name] and "sealboot-gpu" in services
    assert "sealboot-gpu.service" in services["sealboot-lockdown"]["requires"]
    assert "char-neuron rw" in services["llama-cpp"]["serviceConfig"]["DeviceAllow"]
    both = described("{ services.sealboot.gpu = { enable = true; neuron.enable = true; }; }")
    assert both["driver"][0].endswith("-nvidia-open") and both["driver"][1:2] == image["driver"]
    assert "nvidia-persistenced" in both["services"]


def neuron_is_compiled_as_kiwi_compiles_it():
    """The source that kiwi's lock names; and for a source made up here, what make and strip are told."""
    lock = (HERE / "../kiwi/gpu/neuron.lock").read_text()
    source = evaluate("""let source = (image { services.sealboot.gpu.neuron.enable = true; })
        .config.services.sealboot.gpu.neuron.package.src; in [ source.outputHash source.url ]""")
    assert source == lock.splitlines()[-1].split(), source
    with tempfile.TemporaryDirectory() as directory:
        archive = pathlib.Path(directory, "source.tar")
        with tarfile.open(archive, "w") as tar:
            tar.add(HERE / "neuron.nix", "aws-neuron-driver-commit/neuron.c")
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        subprocess.run(["gzip", archive], check=True)
        made_up = pathlib.Path(directory, "lock")
        made_up.write_text(f"{lock.splitlines()[0]}\n{digest} file://{archive}.gz\n")
        package = (f"((image {{ }}).config.boot.kernelPackages.callPackage {HERE}/neuron.nix "
                   f"{{ neuronLock = {made_up}; }})")
        done = nix("build", "--impure", "--no-link", "--print-out-paths", "--expr", PRELUDE + package)
    assert done.returncode == 0, done.stderr
    (module,) = (path for path in pathlib.Path(done.stdout.strip()).rglob("*") if path.is_file())
    assert str(module).endswith("/lib/modules/6.12.58/updates/neuron.ko"), module
    stripped, made = module.read_text().splitlines()
    compiled = (HERE / "../kiwi/gpu/compile").read_text().partition("cd $top/neuron\n")[2]
    wanted = re.search(r'make (-s) .* (-C) "\$headers/build" (M=)"\$PWD" (.*)', compiled)
    flags = re.fullmatch(r"make (-s) -j2 ARCH=of-the-kernel (-C) /kernel-dev/lib/modules/6.12.58/build "
                         r"(M=)/\S*/aws-neuron-driver-commit (.*)", made)
    assert wanted and flags and flags.groups() == wanted.groups(), made
    wanted = re.search(r"strip (\S*) -o \S* neuron.ko", compiled)
    assert wanted and re.fullmatch(rf"strip {wanted[1]} -o \S* neuron.ko", stripped), stripped


def the_image_decides_what_a_failure_means():
    image = image_of('{ services.sealboot.failureAction = "none"; }')
    assert image["services"]["sealboot-agent"]["onFailure"] == [] and "sealboot-failed" not in image["services"]
    image = image_of('{ services.sealboot.failureAction = "reboot-force"; }')
    assert image["services"]["sealboot-failed"]["unitConfig"]["SuccessAction"] == "reboot-force"


def older_kernels_know_no_noswap():
    for version, known in (("6.3", False), ("6.4", True)):
        image = image_of(
            f'{{ boot.kernelPackages.kernel.version = "{version}"; services.sealboot.modelSize = "64G"; }}')
        options = next(mount for mount in image["mounts"]
                       if mount["where"] == "/run/sealboot/model")["options"].split(",")
        assert ("noswap" in options) == known and "size=64G" in options and "size=90%" not in options, options


def a_machine_without_a_clock_waits_for_one():
    image = described("{ }", "aarch64-linux")
    assert "time-sync.target" in image["services"]["sealboot-agent"]["after"]
    assert image["additionalUpstreamSystemUnits"] == ["systemd-time-wait-sync.service"]
    assert "-kernel.unknown_nmi_panic" in image["sysctl"] and "kernel.unknown_nmi_panic" not in image["sysctl"]  # x86's


WHOLE = {
    "keys": [KEY],
    "encryption_context": {"model": "example"},
    "measure": "sha384",
    "model_digests": ["sha384:" + "0a" * 48],
    "model": "s3://bucket/prefix/",
    "region": "eusc-de-east-1",
    "tcti": "device:/dev/tpm0",
    "ca_bundle": "/etc/ca.pem",
    "endpoints": {"imds": "http://[fd00:ec2::254]", "kms": "https://k", "s3": "https://s", "autoscaling": "https://a"},
    "model_directory": "/run/sealboot/model",
    "measurement_log": "/run/log/m",
    "report": "/run/r",
    "report_to": "s3://bucket/reports/",
    "workers": 4,
    "connections": 9,
    "lifecycle_hook": {"group": "g", "name": "n"},
    "ready": {"upstream": "unix:/run/s", "health": "/h", "seconds": 9, "warm_up": {"path": "/w", "body": {"a": [1]}}},
    "keep": "until-ready",
    "kms_deadline_seconds": 30,
    "heartbeat_seconds": 10,
    "allow_any_iv": True,
    "use_fips_endpoint": True,
    "use_dualstack_endpoint": True,
}


def every_key_can_be_said():
    """By the agent's names, and by those that Nix had before; what is not known here is left to the agent to refuse."""
    settings = json.dumps({key: value for key, value in WHOLE.items() if key not in ("keys", "encryption_context")})
    given = f"{{ services.sealboot.settings = builtins.fromJSON ''{settings}''; }}"
    assert configuration_of(image_of(given)) == WHOLE
    given = f"""{{ services.sealboot = {{
        modelDigests = [ "{WHOLE['model_digests'][0]}" ]; lifecycleHook = {{ group = "g"; name = "n"; }};
        kmsDeadlineSeconds = 30; allowAnyIv = true; useFipsEndpoint = true; useDualstackEndpoint = true;
        endpoints.autoscaling = "https://a"; caBundle = "/etc/ca.pem"; measure = "sha384"; }}; }}"""
    said = configuration_of(image_of(given))
    others = {key: WHOLE[key] for key in said if key != "endpoints"}
    assert said == others | {"endpoints": {"autoscaling": "https://a"}} and len(said) == 11, said
    assert configuration_of(
        image_of("{ services.sealboot.settings.of_tomorrow.a = [ 1 ]; }"))["of_tomorrow"] == {"a": [1]}
    manual = (
        HERE / "../units/man/sealboot-agent.8").read_text().partition(".Sh CONFIGURATION")[2].partition(".Sh LAUNCH")[0]
    documented = set(re.findall(r"^\.It Cm (\w+)$", manual, re.M))
    known = set(evaluate("builtins.attrNames (image { }).config.services.sealboot.settings"))
    assert documented == known == {*WHOLE, "discovery", "inputs", "key_store"}, documented ^ known


def several_inputs_take_the_place_of_the_one_model():
    inputs = [{"name": "base", "owner": "Acme", "keys": [KEY]},
              {"name": "adapter", "owner": "St. Mary Hospital", "keys": [KEY], "required": False}]
    one = "keys = nixpkgs.lib.mkForce null; encryptionContext = nixpkgs.lib.mkForce null;"
    settings = f"settings.inputs = builtins.fromJSON ''{json.dumps(inputs)}'';"
    assert configuration_of(image_of(f"{{ services.sealboot = {{ {one} {settings} }}; }}")) == {
        "inputs": inputs, "measure": "model"
    }


def the_agent_reads_it_before_anything_holds_it():
    """The stub's agent refuses the word; the image cannot be built then, whatever else it needs."""
    for attribute in ('environment.etc."sealboot/agent.json".source', "system.build.finalImage"):
        done = nix("build", "--impure", "--no-link", "--expr",
                   f'{PRELUDE} (image {{ services.sealboot.region = "refuse"; }}).config.{attribute}')
        assert done.returncode != 0 and "the measured configuration is not valid" in done.stderr, done.stderr


def the_module_needs_no_overlay():
    for module in ("default", "sealboot"):
        package = evaluate(f"""(nixpkgs.lib.nixosSystem {{
            system = "x86_64-linux";
            modules = [ self.nixosModules.{module} {{ services.sealboot = {{ enable = true; discovery = true; }}; }} ];
        }}).config.services.sealboot.package.name""")
        version = re.search(r"version : '([0-9.]+)'", (HERE / "../meson.build").read_text())[1]
        assert package == f"sealboot-{version}", package


def a_release_tarball_needs_no_git():
    """As Nix itself reads a flake, in a directory that git knows nothing of, with the stub in the place of nixpkgs."""
    with tempfile.TemporaryDirectory() as directory:
        tree, nixpkgs = pathlib.Path(directory, "sealboot"), pathlib.Path(directory, "nixpkgs")
        for name in ("nix", "kiwi", "units"):
            shutil.copytree(HERE.parent / name, tree / name, symlinks=True)
        shutil.copy(HERE / "../meson.build", tree)
        shutil.copytree(HERE / "stub", nixpkgs)
        (nixpkgs / "flake.nix").write_text("{ outputs = { self }: import ./flake-inputs.nix { }; }")
        shown = {}
        for name, flake in (("whole", f"path:{tree}?dir=nix"), ("nix alone", f"path:{tree}/nix")):
            shown[name] = nix("eval", "--raw", "--override-input", "nixpkgs", f"path:{nixpkgs}", "--no-write-lock-file",
                              f"{flake}#packages.x86_64-linux.raw-image.drvPath")
    assert shown["whole"].returncode == 0 and shown["whole"].stdout.endswith("-image.drv"), shown["whole"].stderr
    alone = shown["nix alone"]
    assert alone.returncode != 0 and 'nix build "path:$PWD?dir=nix#raw-image"' in alone.stderr, alone.stderr


def what_lies_beside_the_sources_changes_nothing():
    """The same sources in another directory, with a build in it and another README, are the same package."""
    sources = dict.fromkeys(("meson.build", "meson_options.txt", "agent/main.c", "policy/main.c", "units/unit",
                             "tests/meson.build"), "1")
    others = dict.fromkeys(("README.md", "build/release/agent", "agent-notes", "tests/check", "kiwi/config"), "1")

    def source(name, files):
        with tempfile.TemporaryDirectory() as directory:
            tree = pathlib.Path(directory, name)
            for file, text in files.items():
                (tree / file).parent.mkdir(parents=True, exist_ok=True)
                (tree / file).write_text(text)
            shutil.copytree(HERE, tree / "nix", symlinks=True)
            done = nix("eval", "--impure", "--raw", "--expr", f"import {tree}/nix/tree.nix")
        assert done.returncode == 0, done.stderr
        return pathlib.Path(done.stdout)
    plain = source("sealboot", sources)
    assert {str(f.relative_to(plain)) for f in plain.rglob("*") if f.is_file()} == set(sources)
    assert source("other", sources | others) == plain
    for file in sources:
        assert source("sealboot", sources | {file: "2"}) != plain, file


def a_whole_nixpkgs_is_evaluated():
    """$NIXPKGS, with the stub laid out as nixpkgs is."""
    with tempfile.TemporaryDirectory() as directory:
        tree = pathlib.Path(directory)
        for name, text in {
                "lib/default.nix": f"import {HERE}/stub/lib.nix",
                "default.nix": f"{{ system }}: import {HERE}/stub/pkgs.nix {{ lib = import {HERE}/stub/lib.nix; "
                "inherit system; }",
                "nixos/lib/eval-config.nix": f"{{ system, modules, ... }}: (import {HERE}/stub/flake-inputs.nix {{ }})"
                ".lib.nixosSystem { inherit system modules; }",
        }.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(text)
        for nixpkgs, wanted in ((tree, "aarch64-linux: /nix/store/"), (tree / "lib", "is not a tree of nixpkgs")):
            done = subprocess.run([sys.executable, __file__], env=os.environ | {"NIXPKGS": str(nixpkgs)},
                                  capture_output=True, text=True, check=False)
            assert wanted in done.stdout + done.stderr and (done.returncode == 0) == (nixpkgs == tree), done


def the_initrd_is_audited():
    needed = [
        "init", "nix/store/x-systemd/lib/systemd/system-generators/systemd-veritysetup-generator",
        "nix/store/x-linux/lib/modules/6.12/kernel/drivers/md/dm-verity.ko.xz", "nix/store/x-systemd/bin/systemctl",
        "nix/store/x-bash-completion/share/refresh", "nix/store/x-lvm2/bin/dmsetup"
    ]
    surplus = [
        "bin/sh", "nix/store/x-bash/bin/bash", "nix/store/x-busybox/bin/ash", "nix/store/x-util-linux/bin/sulogin",
        "nix/store/x-systemd/lib/systemd/systemd-sulogin-shell", "etc/systemd/system/debug-shell.service",
        "etc/systemd/system/rescue.target", "nix/store/x-linux/lib/modules/6.12/kernel/fs/efivarfs/efivarfs.ko.xz",
        "nix/store/x/kernel/drivers/firmware/efi/efi-pstore.ko", "etc/systemd/system/systemd-ask-password-console.path",
        "nix/store/x/lib/systemd/systemd-sysroot-fstab-check"
    ]
    surplus += [f"nix/store/x/lib/systemd/system-generators/systemd-{name}-generator" for name in
                ("debug", "fstab", "gpt-auto", "run", "ssh", "hibernate-resume", "getty")]
    lists = [(needed, 0), *(([*needed, path], 1) for path in surplus)]
    lists += [([path for path in needed if path != left], 1) for left in needed[:3]]
    for paths, wanted in lists:
        with tempfile.NamedTemporaryFile("w") as listing:
            listing.write("".join(f"{path}\n" for path in paths))
            listing.flush()
            done = subprocess.run([HERE / "audit-initrd", listing.name], capture_output=True, text=True, check=False)
            assert done.returncode == wanted, (paths[-1], done)


def the_stub_says_where_it_was_read():
    """A comment speaks for its line, or for the attribute below it with all that is in it, and for as many more as it
    says."""
    source = (HERE / "stub/options.nix").read_text()
    for comment in re.findall(r"#.*[.]nix\b.*", source):
        assert re.search(r"[.]nix @ [0-9a-f]{12}\b", comment) or "not read" in comment, comment
    many = {"what follows": 1000, "the next three": 3, "the next two": 2, "the next": 1}
    spoken, silent = {}, []  # indentation -> how many attributes there are still spoken for
    for line in source.partition("options = {\n")[2].partition("\n  config = {")[0].splitlines():
        attribute, _, comment = line.partition("#")
        indentation = len(attribute) - len(attribute.lstrip())
        spoken = {depth: left for depth, left in spoken.items() if depth <= indentation}
        more = next((number for words, number in many.items() if words in comment), 0)
        if not attribute.strip():
            spoken[indentation] = 1 + more
        elif re.match(r" *(\w|[{])", attribute):
            inside = any(left == 1000 for depth, left in spoken.items() if depth < indentation)
            told = bool(comment) or inside or spoken.get(indentation, 0) > 0
            spoken[indentation] = more if comment else spoken.get(indentation, 0) - (spoken.get(indentation, 0)
                                                                                     in (1, 2, 3, 4))
            if told and attribute.rstrip().endswith(("{", "(", "[")):
                spoken[indentation + 1] = 1000
            elif not told and not attribute.rstrip().endswith("{"):
                silent.append(line)
    assert silent == [], silent


def apps_bring_their_shell():
    """The scripts of kiwi/ say /bin/bash, which NixOS has not."""
    for app, script, verb in (("sign", "secure-boot", "sign"), ("uefi-data", "secure-boot", "variables"),
                              ("register-ami", "register-ami", "")):
        text, inputs = build(
            f"""nixpkgs.legacyPackages.x86_64-linux.runCommand "text" {{
                inherit (self.apps.x86_64-linux.{app}) program;
            }} "while read -r line; do printf '%s\\n' \\"$line\\"; done <\\"\\${{program%/bin/*}}\\" >$out" """
        ).splitlines()
        run = re.fullmatch(rf'exec bash (/nix/store/\S+-{script}) ?{verb} "\$@"', text)
        assert run and pathlib.Path(run[1]).read_bytes() == (HERE / "../kiwi" / script).read_bytes(), text
        assert {"bash", "python3"} <= {path.partition("-")[2] for path in inputs.split()}, inputs


def built_measurements_come_from_the_image():
    steps = evaluate("(image { }).config.system.build.pcrMeasurements.args")[1]
    assert "sealboot measure --json --disk" in steps and "-image/" in steps


def every_option_is_documented():
    undocumented = evaluate(f"""
        let walk = path: o: if o._type or "" == "option" then (if o ? description then [ ] else [ path ])
              else builtins.concatLists (builtins.attrValues (builtins.mapAttrs (n: walk (path + "." + n)) o));
            pkgs = nixpkgs.legacyPackages.x86_64-linux;
            options = file: (import file {{ config = {{ }}; inherit (nixpkgs) lib; inherit pkgs; }}).options;
        in builtins.concatMap (file: walk "" (options file)) [ {HERE}/module.nix {HERE}/gpu.nix ]""")
    assert undocumented == [], undocumented


def against_nixpkgs(tree):
    """The example's system and image for both machines, evaluated with all that a whole nixpkgs says."""
    if not all((tree / name).exists() for name in ("lib/default.nix", "nixos/lib/eval-config.nix", "default.nix")):
        print(f"nix/check: $NIXPKGS: {tree} is not a tree of nixpkgs: it lacks lib, nixos/lib/eval-config.nix or "
              "default.nix", file=sys.stderr)
        return 1
    prelude = f"""
        let
          lib = import {tree}/lib;
          systems = [ "x86_64-linux" "aarch64-linux" ];
          nixpkgs = {{
            lib = lib // {{
              nixosSystem = arguments: import {tree}/nixos/lib/eval-config.nix ({{ inherit lib; }} // arguments);
            }};
            legacyPackages = lib.genAttrs systems (system: import {tree} {{ inherit system; }});
          }};
          self = (import {HERE}/flake.nix).outputs {{ inherit self nixpkgs; }};
          built = system: (self.lib.mkImage system [ {HERE}/example.nix ]).config.system.build;
        in
    """
    for system in ("x86_64-linux", "aarch64-linux"):
        for attribute in ("toplevel", "finalImage", "pcrMeasurements"):
            done = nix("eval", "--impure", "--raw", "--expr", f'{prelude} (built "{system}").{attribute}.drvPath')
            if done.returncode != 0:
                print(f"nix/check: the example's {attribute} for {system} does not evaluate\n{done.stderr}",
                      file=sys.stderr)
                return 1
            print(f"{attribute} for {system}: {done.stdout}")
    return 0


def main():
    if os.environ.get("NIXPKGS"):
        return against_nixpkgs(pathlib.Path(os.environ["NIXPKGS"]))
    checks = [
        outputs, built_image, apps_bring_their_shell, built_measurements_come_from_the_image,
        every_option_is_documented, any_port_is_reachable,
        the_driver_of_a_gpu_is_loaded_before_the_door_shuts, neuron_devices_need_nothing_of_nvidia,
        neuron_is_compiled_as_kiwi_compiles_it, the_image_decides_what_a_failure_means,
        older_kernels_know_no_noswap, a_machine_without_a_clock_waits_for_one, every_key_can_be_said,
        several_inputs_take_the_place_of_the_one_model,
        the_agent_reads_it_before_anything_holds_it, the_module_needs_no_overlay, a_release_tarball_needs_no_git,
        what_lies_beside_the_sources_changes_nothing, a_whole_nixpkgs_is_evaluated, the_initrd_is_audited,
        the_stub_says_where_it_was_read
    ]
    checks += [
        functools.partial(refused, f"let force = nixpkgs.lib.mkForce; in {module}", reason)
        for module, reason in NEGATIVES
    ]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for check in [pool.submit(check) for check in checks]:
            if check.exception():
                failed += 1
                print(check.exception(), file=sys.stderr)
    print(f"{len(checks) - failed} passed, {failed} failed")
    return failed != 0


sys.exit(main())
