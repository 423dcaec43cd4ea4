# SPDX-License-Identifier: Apache-2.0
"""The KIWI description: valid for KIWI and by its schema alone, and what differs between the product and the tested
profile."""

import json
import pathlib
import re
import subprocess

import pytest

import promised
import recipe
from machine import SOURCE

KIWI = SOURCE / "kiwi"


def in_kiwi(*command):
    return subprocess.run([KIWI / "chroot", "--bind", f"{SOURCE}:/source", "forky", KIWI / "packages", *command],
                          capture_output=True, text=True, check=False)


@pytest.mark.parametrize("profile", ("al2023", "al2023-gpu", "debian", "debian-gpu"))
def test_kiwi_accepts_the_profiles(profile):
    done = in_kiwi("kiwi-ng", "--profile", profile, "image", "info", "--description", "/source/kiwi")
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"image": "sealboot"' in done.stdout


CONVERTED = """
import json, os, kiwi
from kiwi.markup import Markup
converted = Markup.new("/source/kiwi/config.xml")
names = os.path.dirname(kiwi.__file__) + "/schema/kiwi.rng", converted.get_xml_description()
print(json.dumps([open(name).read() for name in names]))
"""


def test_schema_accepts_the_description_and_refuses_another(tmp_path):
    """As KIWI converts it to its own version."""
    done = in_kiwi("python3", "-c", CONVERTED)
    assert done.returncode == 0, done.stderr
    schema, text = json.loads(done.stdout.splitlines()[-1])
    (tmp_path / "kiwi.rng").write_text(schema)
    (tmp_path / "good.xml").write_text(text)
    (tmp_path / "bad.xml").write_text(text.replace('erofscompression=', 'erofscompressor='))

    def jing(name):
        return subprocess.run([
            KIWI / "chroot", "--bind", tmp_path, "trixie", SOURCE / "tests/vm/schema-packages", "jing",
            tmp_path / "kiwi.rng", tmp_path / name
        ], capture_output=True, text=True, check=False)
    good = jing("good.xml")
    assert good.returncode == 0, good.stdout + good.stderr
    assert jing("bad.xml").returncode != 0


def test_a_directory_with_a_space_is_seen_in_the_chroot(tmp_path):
    (tmp_path / "a b").mkdir()
    done = subprocess.run([KIWI / "chroot", "--bind", f"{tmp_path / 'a b'}:/a directory", "forky", KIWI / "packages",
                           "sh", "-c", 'echo "$1" >"/a directory/file"', "sh", "some words"], check=False)
    assert done.returncode == 0 and (tmp_path / "a b/file").read_text() == "some words\n"


STATE = """
import json, sys
from kiwi.xml_description import XMLDescription
from kiwi.xml_state import XMLState

def state(*profiles):
    s = XMLState(XMLDescription("/source/kiwi/config.xml").load(), list(profiles), "erofs")
    t = s.build_type
    layout = {name: str(getattr(t, name)) for name in vars(t) if not name.startswith("_") and name.endswith("_")}
    layout |= {name: str(value) for name, value in vars(t).items()
               if isinstance(value, (str, bool, int)) and value is not None}
    return {"layout": layout, "manager": s.get_package_manager(), "packages": sorted(s.get_system_packages()),
            "bootstrap": sorted(s.get_bootstrap_packages()), "ignored": sorted(s.get_system_ignore_packages()),
            "repositories": sorted(r.get_alias() for r in s.get_repository_sections()),
            "bootloader": s.get_build_type_bootloader_name()}
print(json.dumps({p: state(*p.split("+")) for p in ("al2023", "al2023-gpu", "debian", "debian-gpu")}))
"""


@pytest.fixture(scope="module")
def states():
    done = in_kiwi("python3", "-c", STATE)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_profiles_share_the_file_system(states):
    product, tested = states["al2023"], states["debian"]
    assert product["layout"] == tested["layout"]
    assert product["layout"]["image"] == "erofs" and product["layout"]["erofscompression"] == "lz4hc,level=12"


def test_the_command_line_keeps_what_comes_from_outside_away():
    """One for both systems: kiwi/disk-stage knows no profile."""
    assert {"efi=noruntime", "systemd.import_credentials=no",
            "lockdown=confidentiality"} <= set(recipe.command_line().split())


def test_profiles_differ_in_packages_alone(states):
    product, tested = states["al2023"], states["debian"]
    assert {name for name in product if product[name] != tested[name]} == \
        {"manager", "packages", "bootstrap", "ignored", "repositories"}
    assert product["manager"] == "dnf4" and tested["manager"] == "apt"
    assert product["repositories"] == ["amazonlinux"] and tested["repositories"] == ["locked"]
    # What KIWI pulls in by itself is also ignored, so that no way in comes as a dependency's recommendation.
    assert {"openssh-server", "amazon-ssm-agent", "cloud-init", "ec2-instance-connect"} <= set(product["ignored"])
    assert not {p for p in product["packages"] + tested["packages"] if "ssh" in p or "ssm" in p or "cloud-init" in p}


def test_a_gpu_profile_installs_what_its_system_installs(states):
    """kiwi/gpu-driver makes the driver: no package of it, and no DKMS, is installed."""
    assert states["al2023-gpu"] == states["al2023"] and states["debian-gpu"] == states["debian"]


def test_a_gpu_image_differs_in_the_driver_alone():
    """Of a plain image, the recipe's files and lists are the same with and without the GPU profiles."""
    for system in ("debian", "al2023"):
        plain, gpu = recipe.files(system), recipe.files(f"{system}-gpu")
        lockdown = recipe.UNITS + "sealboot-lockdown.service"
        assert {name for name in plain if gpu.get(name) != plain[name]} == {lockdown}
        added = {name.rsplit("/", 1)[-1] for name in set(gpu) - set(plain)}
        assert {"sealboot-gpu.service", "nvidia-persistenced.service"} <= added
        assert not [name for name in plain if "gpu" in name or "nvidia" in name]
        assert set(recipe.kept(system)) < set(recipe.kept(f"{system}-gpu"))
    units = [promised.said(recipe.files("debian-gpu")[recipe.UNITS + name].decode())
             for name in ("sealboot-gpu.service", "sealboot-lockdown.service")]
    assert all("network-pre.target" in unit["[Unit]Before"].split() for unit in units)
    assert not [name for name in (KIWI / "keep").iterdir() if "nvidia" in name.name]


def test_every_source_of_a_driver_is_pinned_by_its_hash():
    """Debian's packages, NVIDIA's archives and AWS's source; the modules that Debian's give are known."""
    debian = [line.split() for line in (KIWI / "gpu/debian.lock").read_text().splitlines()]
    assert all(re.fullmatch("[0-9a-f]{64}", digest) and path.startswith("pool/") for digest, path in debian)
    names = [pathlib.PurePath(path).name.split("_")[0] for _, path in debian]
    kernel = re.search(r"linux-image-([0-9][^_]*)_", (KIWI / "debian.lock").read_text())[1]
    wanted = recipe.words(KIWI / "gpu/debian.packages")
    version = kernel.split("-", maxsplit=1)[0]
    assert sorted(names) == sorted(w.replace("RELEASE", kernel).replace("VERSION", version) for w in wanted)
    known = [line.split() for line in (KIWI / "gpu/debian.modules").read_text().splitlines() if line[0] != "#"]
    assert [entry[1:] for entry in known] == [[f"{name}.ko", kernel] for name in ("nvidia", "nvidia-uvm", "neuron")]
    lines = [line.split() for line in (KIWI / "gpu/al2023.lock").read_text().splitlines() if line[0] != "#"]
    (base, *archives) = lines
    assert base[0] == "base" and base[1].startswith("https://developer.download.nvidia.com/")
    versions = set()
    for machine in ("x86_64", "aarch64"):
        found = [entry for entry in archives if entry[0] == machine]
        assert [entry[2].split("/")[0] for entry in found] == ["nvidia_driver", "fabricmanager"]
        assert all(re.fullmatch("[0-9a-f]{64}", entry[1]) for entry in found)
        versions |= {re.search(r"-([0-9.]+)-archive\.tar\.xz$", entry[2])[1] for entry in found}
    assert len(versions) == 1  # the fabric manager must be of the driver's own version
    neuron = (KIWI / "gpu/neuron.lock").read_text().splitlines()[-1]
    assert re.fullmatch(r"[0-9a-f]{64} https://github.com/aws-neuron/aws-neuron-driver/archive/[0-9a-f]{40}\.tar\.gz",
                        neuron)


REPOSITORIES = """
import json, pathlib, sys, types
from kiwi.repository.dnf4 import RepositoryDnf4
from kiwi.system.uri import Uri
from kiwi.xml_description import XMLDescription
from kiwi.xml_state import XMLState

written = {}
state = XMLState(XMLDescription("/source/kiwi/config.xml").load(), ["al2023-gpu"], "erofs")
sections = state.get_repository_sections_used_for_build()
with RepositoryDnf4(types.SimpleNamespace(root_dir="/tmp", shared_location=sys.argv[1])) as repository:
    for r in sections:
        uri = Uri(r.get_source().get_path(), r.get_type()).translate()
        repository.add_repo(r.get_alias(), uri, r.get_type(), sourcetype=r.get_sourcetype(),
                            pkg_gpgcheck=r.get_package_gpgcheck())
        file = pathlib.Path(repository.shared_dnf_dir["reposd-dir"], r.get_alias() + ".repo")
        written[r.get_alias()] = file.read_text()
print(json.dumps(written))
"""


def test_dnf_is_given_mirror_lists_as_such_and_checks_packages():
    """A mirror list that is given as a base URL is a repository without packages; neither KIWI nor the schema says
    so."""
    done = in_kiwi("bash", "-euc", 'directory=$(mktemp -d); python3 -c "$1" "$directory"; rm -rf "$directory"', "sh",
                   REPOSITORIES)
    assert done.returncode == 0, done.stderr
    written = json.loads(done.stdout.splitlines()[-1])
    assert list(written) == ["amazonlinux"]
    for alias, text in written.items():
        lines = text.splitlines()
        assert any(re.fullmatch(r"mirrorlist = https://\S+/\$basearch/mirror\.list", line) for line in lines), text
        assert "gpgcheck = 1" in lines and not [line for line in lines if line.startswith("baseurl")], alias


STAND_IN = r"""#!/bin/bash
# In KIWI's place: notes what it was asked, and leaves what KIWI would: a root with an empty file for each that the
# lists name, and
# the libraries that the compiled programs link.
set -eu
echo "$* $SOURCE_DATE_EPOCH $SEALBOOT" >>/output/asked
while [ $# -gt 0 ]; do
        case $1 in
        --description)
                root=/build/root
                cp -a "$2" /output/description
                sed 's/#.*//; s/^?//' /tree/kiwi/keep/files /tree/kiwi/keep/files.al2023 | tr '*' x |
                        while read -r name; do
                        [ -z "$name" ] || install -D -m 644 /dev/null "$root/$name"
                done
                ldd /build/recipe/usr/bin/sealboot-{agent,gate} /build/recipe/usr/lib/sealboot/sealboot-lockdown |
                        grep -o '/[^ ]*[.]so[^ ]*' | sort -u |
                        while read -r library; do install -D -m 755 "$library" "$root/usr/lib64/${library##*/}"; done
                ln -s usr/lib64 $root/lib64
                install -D -m 755 /dev/null $root/usr/bin/unasked
                echo ID=amzn >$root/usr/lib/os-release
                mkdir -p $root/image $root/usr/lib/systemd/boot/efi $root/usr/lib/modules $root/boot
                cp /usr/lib/systemd/boot/efi/linuxx64.efi.stub $root/usr/lib/systemd/boot/efi/
                cp -a /output/modules/6.1.0 $root/usr/lib/modules/
                ln -s usr/lib $root/lib
                echo kernel >$root/usr/lib/modules/6.1.0/vmlinuz
                exit ;;
        --target-dir) truncate -s 1M "$2/sealboot.x86_64-1.0.0.erofs"; exit ;;
        esac
        shift
done
"""
RPM = r"""#!/bin/bash
# In rpm's place: everything is of one package.
cd "$2" && find . -type f -o -type l | sed 's#^\.#a-package-1-1.x86_64 #'
"""


MODULES = r"""
cd /output
echo 'static const char license[] __attribute__((section(".modinfo"), used)) = "license=GPL";' >module.c
gcc -c module.c -o module.o
module() { # KEY PATH: a module with the signature that the kernel's sign-file would append
        openssl cms -sign -binary -noattr -nocerts -outform DER -in module.o -signer $1.pem -inkey $1.key -out signature
        mkdir -p ${2%/*}
        size=$(stat -c %s signature)
        tail=$(printf '\\x%02x' 0 0 2 0 0 0 0 0 0 0 $((size >> 8)) $((size & 255)))
        { cat module.o signature; printf "$tail~Module signature appended~\n"; } >$2
}
for key in kernel dkms; do
        openssl req -new -x509 -newkey rsa:2048 -nodes -subj /CN=$key -keyout $key.key -out $key.pem 2>/dev/null
done
for name in nf_tables nft_ct nf_conntrack dm-mod dm-verity erofs; do module kernel modules/6.1.0/kernel/$name.ko; done
module $KEY modules/6.1.0/extra/other.ko
touch modules/6.1.0/modules.{builtin,builtin.modinfo,order}
mkdir -p base/lib && ln -sfn /output/modules base/lib/modules && depmod --basedir base 6.1.0
"""


PINNED = {
    "keys": ["arn:aws:kms:us-east-1:111122223333:key/5ea1b007"], "ca_bundle": "/usr/share/sealboot/amazon-roots.pem"
}


def built(directory, key, configuration=PINNED):
    """kiwi/build of al2023 with a module of another package, which KEY signed. A Debian root stands in for Amazon
    Linux, and a script for KIWI."""
    (directory / "bin").mkdir()
    (directory / "bin/kiwi-ng").write_text(STAND_IN)
    (directory / "bin/rpm").write_text(RPM)
    for name in ("kiwi-ng", "rpm"):
        (directory / "bin" / name).chmod(0o755)
    (directory / "agent.json").write_text(json.dumps(configuration))
    (directory / "gate.json").write_text((SOURCE / "units/gate.json.example").read_text())
    (directory / "an image").mkdir()
    (directory / "an image/sealboot.raw.pcr_measurements.json").write_text("of an earlier build that was signed")
    in_amazon = [
        KIWI / "chroot", "--bind", f"{SOURCE}:/tree", "--bind", f"{directory}:/output", "forky", KIWI / "packages",
        "env"
    ]
    subprocess.run([*in_amazon, f"KEY={key}", "bash", "-euc", MODULES], check=True)
    return subprocess.run([
        *in_amazon, "PATH=/output/bin:/usr/sbin:/usr/bin:/sbin:/bin", "/tree/kiwi/build", "--profile", "al2023",
        "--config", "/output/agent.json", "--gate", "/output/gate.json", "--output", "/output/an image", "--date", "1"
    ], capture_output=True, text=True, check=False)


def test_product_is_built_by_the_machines_own_tools(tmp_path):
    """Not by Debian's, whose libraries it does not have."""
    done = built(tmp_path, "kernel")
    assert done.returncode == 0, done.stdout + done.stderr
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == 2 and all("--profile al2023 " in line for line in asked)
    assert all(line.endswith(" 1 /build/tools/sealboot") for line in asked)
    image = tmp_path / "an image"
    names = [line.split(" ", 2)[2] for line in (image / "files").read_text().splitlines()]
    assert {
        "usr/bin/sealboot-agent", "usr/lib/systemd/system/sealboot-agent.service",
        "usr/lib/systemd/system/vllm.service", "usr/lib/systemd/system/ollama.service.d/sealboot.conf",
        "usr/lib/sealboot/vllm-early", "usr/lib/sealboot/sealboot-lockdown", "etc/sealboot/agent.json",
        "usr/bin/sealboot-gate", "usr/lib/systemd/system/sealboot-nginx.service", "etc/sealboot/nginx.conf",
        "usr/sbin/chronyd", "usr/lib/tmpfiles.d/chrony.conf"
    } <= set(names)
    assert "usr/bin/unasked" not in names
    assert not [
        name for name in names
        if any(part in name for part in ("/llama-", "/man/", "/catalog/"))
        or name.endswith(("/sealboot", "/sealboot-init", ".h", ".a"))
    ]
    assert [name.rsplit("/", 1)[1] for name in names
            if name.endswith(".ko")] == ["nf_conntrack.ko", "nf_tables.ko", "nft_ct.ko"]
    assert (image / "packages").read_text() == "a-package-1-1.x86_64\n"
    assert len((image / "SHA256SUMS").read_text().splitlines()) == 5
    assert {p.name for p in image.iterdir()
            } == {"sealboot.raw", "sealboot.efi", "pcr_measurements.json", "packages", "files", "SHA256SUMS"}


@pytest.mark.parametrize("configuration, why", [({}, '"keys" is missing'),
                                                ({**PINNED, "ca_bundle": "/etc/no-such.pem"}, "no-such.pem"),
                                                ({**PINNED, "region": "eu_west"}, "Region")])
def test_a_configuration_that_no_boot_would_take_is_refused_before_the_build(tmp_path, configuration, why):
    done = built(tmp_path, "kernel", configuration)
    assert done.returncode == 1 and why in done.stderr, done.stderr
    assert "no image with this configuration would boot" in done.stderr, done.stderr
    assert not (tmp_path / "asked").exists()


def test_modules_that_the_locked_down_kernel_would_refuse_are_refused(tmp_path):
    """As DKMS signs them: with a key that the kernel does not hold."""
    done = built(tmp_path, "dkms")
    assert done.returncode == 1 and "6.1.0/extra/other.ko" in done.stderr and "would refuse" in done.stderr
    assert {p.name for p in (tmp_path / "an image").iterdir()} == {"work"}


def test_product_takes_its_packages_from_one_release():
    """Not from whatever is latest when it is built."""
    releases = re.findall(r"al2023/core/mirrors/([^/]*)/", (KIWI / "config.xml").read_text())
    assert releases and all(re.fullmatch(r"2023\.\d+\.\d{8}", release) for release in releases)


def test_the_clock_comes_from_where_the_firewall_lets_it():
    """Of both systems, and from nowhere else."""
    server = re.search(r"ip daddr (\S+) udp dport 123 accept",
                       (KIWI / "root/usr/lib/sealboot/firewall.nft").read_text())[1]
    chrony = [
        line for line in (KIWI / "root-al2023/etc/chrony.conf").read_text().splitlines() if not line.startswith("#")
    ]
    assert [line.split()[:2] for line in chrony if line.startswith(("server", "pool", "peer"))] == [["server", server]]
    assert {"cmdport 0", "bindcmdaddress /"} <= set(chrony)
    assert not [
        line
        for line in chrony if line.startswith(("driftfile", "dumpdir", "logdir", "ntsdumpdir", "confdir", "sourcedir"))
    ]
    folders = (KIWI / "root-al2023/usr/lib/tmpfiles.d/chrony.conf").read_text().splitlines()
    assert "d /var/lib/chrony 0750 chrony chrony -" in folders  # its unit asks for it, and /var is empty
    timesyncd = (KIWI / "root/usr/lib/systemd/timesyncd.conf.d/sealboot.conf").read_text().splitlines()
    assert f"NTP={server}" in timesyncd and "FallbackNTP=" in timesyncd


def test_files_that_differ_are_the_inference_servers_units_and_the_clock():
    def files(name):
        return {str(p.relative_to(KIWI / name)) for p in (KIWI / name).rglob("*") if p.is_symlink() or p.is_file()}
    units = "usr/lib/systemd/system/"
    assert files("root-al2023") == {
        "etc/chrony.conf", "etc/pki/tls/certs/ca-bundle.crt", "usr/lib/sysusers.d/chrony.conf",
        "usr/lib/tmpfiles.d/chrony.conf"
    } | {
        units + name
        for name in ("multi-user.target.wants/chronyd.service", "multi-user.target.wants/vllm.service",
                     "multi-user.target.wants/ollama.service", "sockets.target.wants/ollama-proxy.socket",
                     "sockets.target.wants/vllm-proxy.socket")
    }
    assert files("root-debian") == {
        units + name
        for name in ("run-sealboot-model.mount.d/image.conf",
                     "multi-user.target.wants/llama-server.service", "sockets.target.wants/llama-proxy.socket",
                     "sysinit.target.wants/systemd-timesyncd.service")
    }


ATTACHED = """
mkdir -p /run/udev/rules.d /usr/lib/sealboot
cp /source/kiwi/root/usr/lib/udev/rules.d/*.rules /run/udev/rules.d/
cp /built/sealboot-lockdown /usr/lib/sealboot/
mknod /dev/ng9n1 c 5 9; mknod /dev/nvme9 c 5 8; mknod /dev/nvme-fabrics c 5 7
for node in ng9n1 nvme9 nvme-fabrics; do /usr/lib/sealboot/sealboot-lockdown --device /dev/$node; done
ls /dev | grep -E '^ng|^nvme'
/usr/lib/systemd/systemd-udevd --daemon
modprobe brd rd_nr=1 rd_size=8192
truncate -s 8M /tmp/data /tmp/hashes
veritysetup open /tmp/data root /tmp/hashes \
        "$(veritysetup format /tmp/data /tmp/hashes | awk '/Root hash/ { print $3 }')"
udevadm settle
for device in ram0 loop0 dm-0; do echo "$device $(cat /sys/block/$device/ro)"; done
cmp /tmp/data /dev/mapper/root && echo readable
if echo x >/dev/ram0; then echo written; fi
/usr/lib/sealboot/sealboot-lockdown; echo "lockdown $?"
"""


def test_an_attached_volume_is_read_only_and_verity_works_on(tmp_path):
    """Under user-mode Linux, with its udevd and the image's rule: a device that appears cannot be written, and NVMe's
    devices that pass commands on are taken away. A kernel without lockdown is refused."""
    (tmp_path / "built").mkdir()
    compiled = subprocess.run([
        KIWI / "chroot", "--bind", f"{SOURCE}:/source", "--bind", tmp_path, "forky", KIWI / "packages", "gcc",
        "-D_GNU_SOURCE", "-I/source/agent", "-o", tmp_path / "built/sealboot-lockdown",
        "/source/agent/machine/lockdown.c"
    ], capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stderr
    volume = tmp_path / "volume"
    subprocess.run([KIWI / "chroot", "--bind", tmp_path, "forky", KIWI / "packages", "mkfs.ext4", "-q", volume, "8M"],
                   check=True)
    done = subprocess.run([
        KIWI / "uml", "--bind", f"{SOURCE}:/source", "--bind", f"{tmp_path / 'built'}:/built", volume, "bash", "-uc",
        ATTACHED
    ], capture_output=True, text=True, check=False)
    said = done.stdout.replace("\r", "").splitlines()
    assert {"ram0 1", "loop0 1", "dm-0 1", "readable", "lockdown 1"
            } <= set(said) and "written" not in said, done.stdout + done.stderr
    assert "Operation not permitted" in done.stdout and "the kernel has no lockdown" in done.stdout
    assert [line for line in said if re.match("ng|nvme", line)] == ["nvme-fabrics"]


def test_scripts_are_clean():
    scripts = [p for folder in ("kiwi", "nix", "tests/vm") for p in (SOURCE / folder).rglob("*")
               if p.is_file() and not p.is_symlink() and p.suffix not in (".py", ".nix") and p.read_bytes()[:2] == b"#!"
               and b"sh" in p.read_bytes().splitlines()[0]]
    assert len(scripts) > 12
    done = subprocess.run(["shellcheck", "-x", "--source-path", SOURCE, *scripts], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("options, why", [
    (["--profile", "nvidia"], "there is no profile nvidia"),
    (["--profile", "debian", "--profile", "debian-gpu"], "one profile"),
    (["--neuron"], "are for the profiles debian-gpu and al2023-gpu"),
    (["--profile", "al2023", "--module-signatures", "/tmp"], "are for the profiles debian-gpu and al2023-gpu"),
    (["--profile", "debian-gpu", "--module-signatures", "/no-such-directory"], "no-such-directory"),
])
def test_profiles_and_options_that_do_not_go_together_are_refused(options, why, tmp_path):
    done = subprocess.run([KIWI / "build", "--config", "x", "--gate", "x", "--output", tmp_path / "out", *options],
                          capture_output=True, text=True, check=False)
    assert done.returncode != 0 and why in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


def test_the_lock_pins_every_package_once():
    lines = (KIWI / "debian.lock").read_text().splitlines()
    names = [pathlib.PurePath(line.split()[1]).name.split("_")[0] for line in lines]
    assert len(names) == len(set(names)) > 100
    assert all(len(line.split()[0]) == 64 and line.split()[1].startswith("pool/") for line in lines)


def test_a_package_that_is_not_the_locked_one_is_refused(tmp_path):
    """A mirror, or somebody between it and us, gives another package."""
    (tmp_path / "kiwi").mkdir()
    for name in ("lock", "config.xml"):
        (tmp_path / "kiwi" / name).write_bytes((KIWI / name).read_bytes())
    (tmp_path / "kiwi/lock").chmod(0o755)
    package = tmp_path / "mirror/pool/x_1_amd64.deb"
    package.parent.mkdir(parents=True)
    package.write_text("another")
    (tmp_path / "kiwi/debian.lock").write_text(f"{'00' * 32}  pool/x_1_amd64.deb\n")
    done = subprocess.run(
        [tmp_path / "kiwi/lock", "--fetch", tmp_path / "out"], capture_output=True, text=True, check=False, env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SEALBOOT_CACHE": str(tmp_path / "cache"),
            "SEALBOOT_MIRROR": f"file:{tmp_path}/mirror"
        })
    assert done.returncode != 0
    assert not list((tmp_path / "out").glob("*.deb"))
