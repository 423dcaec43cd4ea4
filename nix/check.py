# SPDX-License-Identifier: Apache-2.0
"""What the recipe gives and what it refuses, by evaluating it with nix against nix/stub. Run by nix/check."""

import concurrent.futures
import functools
import json
import os
import pathlib
import subprocess
import sys

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
    ('{ boot.kernelParams = [ "systemd.debug_shell" ]; }', "kernel parameters systemd.debug_shell"),
    ('{ boot.kernelParams = [ "init=/bin/sh" ]; }', "kernel parameters init=/bin/sh"),
    ('{ boot.kernelParams = [ "rd.break" ]; }', "kernel parameters rd.break"),
    ('{ boot.kernelParams = force [ "panic=10" ]; }', "lacks systemd.verity_usr_options=panic-on-corruption"),
    ('{ boot.kernelParams = force [ "panic=10" ]; }', "lacks systemd.import_credentials=no"),
    ("{ boot.initrd.systemd.emergencyAccess = force true; }", "boot.initrd.systemd.emergencyAccess"),
    ("{ systemd.enableEmergencyMode = force true; }", "systemd.enableEmergencyMode"),
    ("{ systemd.coredump.enable = force true; }", "core dumps"),
    ('{ swapDevices = force [ { device = "/dev/sda"; } ]; }', "swap"),
    ("{ security.lockKernelModules = force false; }", "modules could be loaded"),
    ("{ networking.nftables.enable = force false; }", "no firewall"),
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
]


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
    assert "sealboot-model.target" in image["after"]["llama-cpp"]
    assert "debug-shell" in image["off"] and "sealboot-agent" not in image["off"]
    assert {"systemd.verity_usr_options=panic-on-corruption", "lockdown=confidentiality"} <= set(image["parameters"])


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
    checks = [outputs, built_image, built_measurements_come_from_the_image, every_option_is_documented]
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
