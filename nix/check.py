# SPDX-License-Identifier: Apache-2.0
"""What the recipe gives and what it refuses, by evaluating it with nix against nix/stub. Run by nix/check."""

import concurrent.futures
import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
OPTIONS = ["--extra-experimental-features", "nix-command flakes", "--option", "build-users-group", "", "--option", "sandbox",
           "false", "--option", "substituters", ""]
PRELUDE = f"""
let
  nixpkgs = import {HERE}/stub/flake-inputs.nix {{ libPath = "{os.environ.get('NIXPKGS_LIB', '')}"; }};
  self = (import {HERE}/flake.nix).outputs {{ inherit self nixpkgs; }};
  image = module: self.lib.mkImage "x86_64-linux" [ {HERE}/example.nix module ];
in
"""
KEY = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def nix(*arguments):
    return subprocess.run(["nix", *arguments[:1], *OPTIONS, *arguments[1:]], capture_output=True, text=True, check=False)


def evaluate(expression):
    done = nix("eval", "--impure", "--json", "--expr", PRELUDE + expression)
    assert done.returncode == 0, f"{expression}\n{done.stderr}"
    return json.loads(done.stdout)


def build(expression):
    done = nix("build", "--impure", "--no-link", "--print-out-paths", "--expr", PRELUDE + expression)
    assert done.returncode == 0, f"{expression}\n{done.stderr}"
    return pathlib.Path(done.stdout.strip()).read_text()


def refused(module, reason):
    done = nix("eval", "--impure", "--raw", "--expr", f"{PRELUDE} (image ({module})).config.system.build.finalImage.drvPath")
    assert done.returncode != 0, f"accepted: {module}"
    assert reason in done.stderr, f"{module}\nrefused, but not for '{reason}':\n{done.stderr}"


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
    ('{ users.users.admin.openssh.authorizedKeys.keys = [ "ssh-ed25519 x" ]; }', "these users have a password or a key: admin"),
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
    ("{ systemd.services.sealboot-lockdown.enable = force false; }", 'stays open without systemd.services."sealboot-lockdown"'),
    ("{ systemd.services.sealboot-agent.requires = force [ ]; }", "the agent would get a key before"),
    ('{ systemd.services.sealboot-agent.after = force [ "nftables.service" ]; }', "the agent would get a key before"),
    ("{ boot.kernelPatches = force [ ]; }", "no lockdown"),
    ('{ boot.kernel.sysctl."kernel.core_pattern" = force "core"; }', "sysctl kernel.core_pattern"),
    ('{ boot.kernel.sysctl."kernel.core_pattern" = force null; }', "sysctl kernel.core_pattern"),
    ('{ boot.kernel.sysctl."kernel/core_pattern" = "core"; }', "sysctl kernel/core_pattern"),
    ('{ boot.kernel.sysctl."kernel.kexec_load_disabled" = force 0; }', "sysctl kernel.kexec_load_disabled"),
    ('{ fileSystems."/data" = { device = "/dev/nvme1n1"; fsType = "ext4"; }; }', "these file systems: /data"),
    ('{ fileSystems."/data" = { device = "/dev/nvme1n1"; fsType = "ext4"; options = [ "ro" "rw" ]; }; }', "these file systems: /data"),
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
    "systemd.debug_shell", "systemd.debug-shell", "rd.systemd.debug-shell", "rd.systemd.debug_shell=ttyS0", "systemd.crash_shell",
    "systemd.crash-shell=yes", "init=/bin/sh", "rdinit=/bin/sh", "single", "s", "1", "emergency", "rescue", "systemd.unit=rescue.target",
    "rd.systemd.unit=emergency.target", "systemd.wants=debug-shell.service", "systemd.run=/bin/sh", "systemd.setenv=A=B",
    "systemd.import_credentials=yes", "systemd.set-credential=a:b", "lockdown=none", "lockdown=integrity", "rd.shell", "rd.break",
    "rd.cmdline=ask", "rd.emergency=shell", "systemd.verity_usr_options=", "systemd.mask=nftables.service", "usrhash=00", "root=/dev/sda1",
    "systemd.gpt_auto=yes", "panic=0", "quiet init=/bin/sh", "loglevel=4 systemd.debug_shell", "nvidia.a=b init=/bin/sh",
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
            "packages": ["default", "pcr-measurements", "raw-image", "sealboot"],
            "apps": dict.fromkeys(["measure", "register-ami", "sign", "uefi-data"], "app"),
            "measured": True,
            "uki": f"/EFI/BOOT/{loader}",
            "modules": ["default", "image", "sealboot"],
        }, given


def built_image():
    image = json.loads(build("self.packages.x86_64-linux.raw-image"))
    assert json.loads(image["agent"]) == {"keys": [KEY], "encryption_context": {"model": "example"}, "measure": "model"}
    assert image["writable"] == []
    assert image["partitions"]["00-esp"]["Format"] == "vfat"
    services = image["services"]
    assert "debug-shell" in image["off"] and "systemd-logind" in image["off"] and "sealboot-agent" in services
    assert {"systemd.verity_usr_options=panic-on-corruption", "lockdown=confidentiality"} <= set(image["parameters"])
    assert re.search(r'SUBSYSTEM=="block", RUN\+="/nix/store/[^/]+-util-linux/bin/blockdev --setro \$devnode"', image["rules"])
    assert image["activationScripts"]["usrbinenv"] == ""
    assert image["sysctl"]["kernel.core_pattern"] == "|/bin/false" and image["sysctl"]["kernel.yama.ptrace_scope"] == "3"
    the_door_is_shut_before_the_key(services)
    the_kernel_has_lockdown(*image["kernelPatches"])
    the_server_is_confined(services, image["sockets"])
    the_rules_are_checked_without_their_users(**image["firewall"])


def the_door_is_shut_before_the_key(services):
    agent, lockdown, firewall = (services[name] for name in ("sealboot-agent", "sealboot-lockdown", "nftables"))
    for order in ("requires", "after"):
        assert {"nftables.service", "sealboot-lockdown.service"} <= set(agent[order]), agent
        assert "nftables.service" in lockdown[order], lockdown
    assert "systemd-networkd.service" in firewall["requiredBy"] and firewall["serviceConfig"]["ExecStop"] == [], firewall
    shell, script = lockdown["serviceConfig"]["ExecStart"].split()
    assert shell.endswith("/bin/bash") and lockdown["serviceConfig"]["Type"] == "oneshot"
    assert pathlib.Path(script).read_bytes() == (HERE / "../kiwi/root/usr/lib/sealboot/lockdown").read_bytes()
    assert any("util-linux" in directory for directory in lockdown["path"])


def the_kernel_has_lockdown(patch):
    assert patch["patch"].endswith("-lockdown.patch")
    assert {name: option["content"]["tristate"] for name, option in patch["structuredExtraConfig"].items()} == {
        "SECURITY_LOCKDOWN_LSM": "y", "SECURITY_LOCKDOWN_LSM_EARLY": "y"}


def lines_of(unit):
    """The lines of a unit's [Service] section, as lists by key."""
    lines = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", (HERE / "../units/examples" / unit).read_text().partition("[Service]")[2], re.M):
        lines.setdefault(key, []).append(value)
    return lines


def the_server_is_confined(services, sockets):
    server, proxy = services["llama-cpp"], services["llama-cpp-proxy"]
    wanted = lines_of("llama-server.service.d/sealboot.conf")
    assert wanted.pop("Environment") and wanted["PrivateNetwork"] == ["yes"] and "/run:ro" in wanted["TemporaryFileSystem"]
    for key, values in wanted.items():
        given = server["serviceConfig"][key]
        assert given == values[-1] or isinstance(given, list) and given[:len(values)] == values, (key, given)
    assert server["serviceConfig"]["RestrictAddressFamilies"] == "AF_UNIX AF_INET"
    assert server["serviceConfig"]["BindReadOnlyPaths"] == ["/run/sealboot/model", "-/run/opengl-driver"]
    assert server["serviceConfig"]["ExecStart"] == "llama-server --host 127.0.0.1 --port 8080"
    for order in ("requires", "after"):
        assert "sealboot-model.target" in server[order], server
        assert {"llama-cpp.service", "llama-cpp-proxy.socket"} <= set(proxy[order]), proxy
    assert proxy["unitConfig"] == {"JoinsNamespaceOf": "llama-cpp.service"}
    start = proxy["serviceConfig"].pop("ExecStart")
    assert re.fullmatch(r"/nix/store/\S+/lib/systemd/systemd-socket-proxyd 127[.]0[.]0[.]1:8080", start), start
    wanted = lines_of("llama-proxy.service")
    wanted.pop("ExecStart")
    assert proxy["serviceConfig"] == {key: values if values[1:] else values[0] for key, values in wanted.items()}
    assert sockets == {"llama-cpp-proxy": ["8080"]}


def nft(ruleset):
    return subprocess.run(["unshare", "--net", "nft", "--check", "--file", "-"], input=ruleset, capture_output=True, text=True, check=False)


def the_rules_are_checked_without_their_users(ruleset, preCheckRuleset):
    """NixOS runs the script beside a copy of the rules, then nft on the copy, in a sandbox without the image's users."""
    assert ruleset == (HERE / "../kiwi/root/usr/lib/sealboot/firewall.nft").read_text() and 'skuid "' in ruleset
    with tempfile.TemporaryDirectory() as directory:
        rules = pathlib.Path(directory, "ruleset.conf")
        rules.write_text(ruleset)
        subprocess.run(["bash", "-euc", preCheckRuleset], cwd=directory, check=True)
        assert rules.read_text() == re.sub('skuid "[a-z-]+"', "skuid 0", ruleset)
        assert "User does not exist" in nft(ruleset).stderr
        assert nft(rules.read_text()).returncode == 0, nft(rules.read_text()).stderr


def apps_bring_their_shell():
    """The scripts of kiwi/ say /bin/bash, which NixOS has not."""
    for app, script, verb in (("sign", "secure-boot", "sign"), ("uefi-data", "secure-boot", "variables"), ("register-ami", "register-ami", "")):
        text, inputs = build(f"""nixpkgs.legacyPackages.x86_64-linux.runCommand "text" {{ inherit (self.apps.x86_64-linux.{app}) program; }}
            "while read -r line; do printf '%s\\n' \\"$line\\"; done <\\"\\${{program%/bin/*}}\\" >$out" """).splitlines()
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
            module = import {HERE}/module.nix {{ config = {{ }}; lib = nixpkgs.lib; pkgs = {{ }}; }};
        in walk "" module.options""")
    assert undocumented == [], undocumented


def main():
    checks = [outputs, built_image, apps_bring_their_shell, built_measurements_come_from_the_image, every_option_is_documented]
    checks += [functools.partial(refused, f"let force = nixpkgs.lib.mkForce; in {module}", reason) for module, reason in NEGATIVES]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for check in [pool.submit(check) for check in checks]:
            if check.exception():
                failed += 1
                print(check.exception(), file=sys.stderr)
    print(f"{len(checks) - failed} passed, {failed} failed")
    return failed != 0


sys.exit(main())
