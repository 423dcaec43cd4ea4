# SPDX-License-Identifier: Apache-2.0
"""`sealboot replay` over the event logs of real boots (tests/fixtures/measure)."""

import hashlib
import json
import pathlib
import re
import struct
import subprocess
import time

import pytest

from firmware_log import (ACPI, DRIVER, FILE, HD, PCI, ROM, RUNTIME_DRIVER, VARIABLE, image_event, load_option, log_of,
                          log_with, variable_event)
from manuals import members, undocumented
from recorded import CASES, FIXTURES, options_of
from stack import attestation, pki


MANUALS = pathlib.Path(__file__).resolve().parents[2] / "policy/man"


def image_options(case):
    return [o if str(o).startswith("--") else f"--image={o}" for o in options_of(case)]


def compared(printed, *arguments, code=0):  # noqa: F811
    """{pcr: finding} of one comparison."""
    output = printed("replay", "--json", *arguments, code=code)
    answer = json.loads(output)
    assert answer["equal"] == (code == 0)
    return {finding["pcr"]: finding for finding in answer["comparisons"]}


@pytest.mark.parametrize("bank", ["sha256", "sha384"])
@pytest.mark.parametrize("name", CASES)
def test_replays_to_the_pcrs_of_the_tpm(printed, name, bank):  # noqa: F811
    answer = json.loads(printed("replay", "--json", f"--bank={bank}", log_of(name)))
    assert answer["bank"] == bank
    assert answer["pcrs"] == {f"PCR{i}": value for i, value in enumerate(CASES[name]["pcrs"][bank])}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_prediction_event_by_event(printed, name):  # noqa: F811
    findings = compared(printed, *image_options(CASES[name]), log_of(name))
    assert set(findings) == {2, 3, 4, 7, 12}
    given = compared(printed, *image_options(CASES[name]), f"--pcr2={'ab' * 48}", log_of(name), code=73)
    assert {pcr for pcr, finding in given.items() if not finding["equal"]} == {2}
    assert "no driver from outside the firmware ran" in given[2]["meaning"]


DIFFERENCES = [
    # boot, the boot it is compared with, PCR, words of the meaning, text of the event
    ("debian12-appended", "debian12", 12, 'a command line was appended: "init=/bin/sh"', '"init=/bin/sh"'),
    ("debian13-appended", "debian13", 12, 'a command line was appended: "init=/bin/sh"', '"init=/bin/sh"'),
    ("debian12-blank-first", "debian12", 4, "another boot option was tried first",
     '"Returning from EFI Application from Boot Option"'),
    ("debian12-sb-blank-first", "debian12-sb", 4, "another boot option was tried first",
     '"Returning from EFI Application from Boot Option"'),
    ("debian13-addon", "debian13", 4, "an addon was loaded",
     "\\EFI\\BOOT\\BOOTX64.EFI.extra.d\\fixture.addon.efi"),
    ("debian13-sb-addon", "debian13-sb-two-entries", 7, "one more entry of db authorised an image",
     "db entry: certificate /CN=sealboot fixture B"),
]


@pytest.mark.parametrize("name, good, pcr, words, text", DIFFERENCES)
def test_points_at_the_event_by_every_way_of_comparing(printed, tmp_path, name, good, pcr, words, text):  # noqa: F811
    reference = tmp_path / "reference.json"
    reference.write_text(printed("measure", "--json", *options_of(CASES[good])))
    value = CASES[good]["pcrs"]["sha384"][pcr]
    for comparison in ([f"--reference={reference}"], [f"--expect=PCR{pcr}={value}"], [f"--against={log_of(good)}"],
                       image_options(CASES[good])):
        finding = compared(printed, f"--pcr={pcr}", *comparison, log_of(name), code=73)[pcr]
        assert words in finding["meaning"], comparison
        assert finding["event"]["text"] == text
        assert finding["event"]["pcr"] == pcr


LIST_DIFFERENCES = [
    ("handmade", "debian12", 4, "the image differs"),
    ("debian13", "debian13-keys-but-off", 7, "the key list PK is another one"),
    ("debian13-keys-but-off", "debian13-sb", 7, "Secure Boot is off"),
    ("debian13-sb", "debian13-keys-but-off", 7, "Secure Boot is on"),
    ("debian13-sb-dbx", "debian13-sb", 7, "the key list dbx is another one"),
    ("debian13-sb-two-entries", "debian13-sb", 7, "the key list db is another one"),
    ("debian12-sb", "debian12", 4, "the kernel in .linux was not measured: Secure Boot is on"),
    ("debian12", "debian12-sb", 4, "the kernel was measured by firmware too: Secure Boot is off"),
    ("debian13", "debian12", 4, "so the stub differs"),
    ("debian12", "debian12-blank-first", 4, "fewer boot options were tried"),
    ("debian13", "debian13-appended", 12, "a command line was expected and is missing"),
]


@pytest.mark.parametrize("name, good, pcr, words", LIST_DIFFERENCES)
def test_explains_a_difference_between_two_logs(printed, name, good, pcr, words):  # noqa: F811
    assert words in compared(printed, f"--against={log_of(good)}", log_of(name), code=73)[pcr]["meaning"]


def test_names_the_section_that_differs(printed):  # noqa: F811
    """The same stub with another kernel: the image differs, and PCR11 tells in which section."""
    finding = compared(printed, f"--image={FIXTURES}/debian12-inner-B.efi", log_of("debian12"), code=73)[4]
    assert 'the image differs' in finding["meaning"]
    assert finding["meaning"].endswith("by PCR11 the .linux section differs")
    assert finding["event"]["text"] == "\\EFI\\BOOT\\BOOTX64.EFI"


VALUE_DIFFERENCES = [
    # What a value alone tells: the reference was computed for another state of the firmware.
    ("debian12", "debian12-blank-first", 4, "1 failed first"),
    ("debian13-sb-dbx", "debian13-sb", 7, "the key list dbx is set"),
    ("debian12-sb", "debian12", 4, "an image differs"),
    ("debian13-sb", "debian13", 7, "a key list differs"),
    ("debian13", "debian13-appended", 12, "nothing was measured"),
]


@pytest.mark.parametrize("name, good, pcr, words", VALUE_DIFFERENCES)
def test_explains_a_value(printed, name, good, pcr, words):  # noqa: F811
    value = CASES[good]["pcrs"]["sha384"][pcr]
    assert words in compared(printed, f"--expect=PCR{pcr}={value}", log_of(name), code=73)[pcr]["meaning"]


def test_secure_boot_switched_off_is_told_from_the_value(printed):  # noqa: F811
    value = CASES["debian13-keys-but-off"]["pcrs"]["sha384"][7]
    finding = compared(printed, f"--expect=PCR7={value}", log_of("debian13-sb"), code=73)[7]
    assert finding["meaning"] == "Secure Boot is on"
    assert finding["event"]["text"] == "variable SecureBoot = 1"


def test_one_of_several_sets_must_match_whole(printed, tmp_path):  # noqa: F811
    pcrs = {name: CASES[name]["pcrs"]["sha384"] for name in ("debian12", "debian13", "debian13-appended")}

    def write(*sets):
        path = tmp_path / "sets.json"
        path.write_text(json.dumps([{"Measurements": {"PCR4": a, "PCR12": b}} for a, b in sets]))
        return f"--reference={path}"

    good = [(p[4], p[12]) for p in pcrs.values()]
    assert all(f["equal"] for f in compared(printed, write(*good), log_of("debian13-appended")).values())
    # PCR4 of the first set and PCR12 of the second do not make a match.
    mixed = write((pcrs["debian12"][4], pcrs["debian13-appended"][12]), (pcrs["debian13"][4], pcrs["debian13"][12]))
    findings = compared(printed, mixed, log_of("debian13-appended"), code=73)
    assert [f["equal"] for f in findings.values()].count(False) == 1


@pytest.mark.parametrize("option", ["--expect=PCR7={zero}", "--reference={reference}", "--image={f}/debian13.efi"])
def test_a_comparison_that_compares_nothing_is_no_success(printed, tmp_path, option):  # noqa: F811
    reference = tmp_path / "reference.json"
    reference.write_text(json.dumps({"Measurements": {"PCR4": "00" * 48, "PCR7": "00" * 48}}))
    option = option.format(zero="00" * 48, reference=reference, f=FIXTURES)
    assert "compares nothing" in printed("replay", "--pcr=15", option, log_of("debian13"), code=2)
    # Nor does another comparison that does hold make up for it.
    zero = f"--expect=PCR15={'00' * 48}"
    assert "compares nothing" in printed("replay", "--pcr=15", f"--reference={reference}", zero, log_of("debian13"),
                                          code=2)
    assert compared(printed, "--pcr=15", zero, log_of("debian13"))[15]["equal"]


def test_a_set_that_has_none_of_the_pcrs_is_no_match(printed, tmp_path):  # noqa: F811
    path = tmp_path / "sets.json"
    for value, code in (("00" * 48, 0), ("ab" * 48, 73)):
        path.write_text(json.dumps([{"Measurements": {"PCR4": "00" * 48}}, {"Measurements": {"PCR12": value}}]))
        assert set(compared(printed, "--pcr=12", f"--reference={path}", log_of("debian13"), code=code)) == {12}


def test_a_reference_to_a_pcr_that_no_tpm_has(printed, tmp_path):  # noqa: F811
    reference = tmp_path / "reference.json"
    reference.write_text(json.dumps({"Measurements": {"PCR12": "00" * 48, "PCR24": "00" * 48}}))
    assert "PCR24, which no TPM has" in printed("replay", f"--reference={reference}", log_of("debian13"), code=2)


def test_pcrs_that_neither_log_touches_are_equal(printed):  # noqa: F811
    findings = compared(printed, "--pcr=12,15", f"--against={log_of('debian12')}", log_of("debian13"))
    assert {pcr: f["equal"] for pcr, f in findings.items()} == {12: True, 15: True}


ALTERED = [
    # Bytes of the log, what they become, the event's text then, and a PCR that the digests still lead to.
    ("SecureBoot".encode("utf-16le") + b"\0", "SecureBoot".encode("utf-16le") + b"\1", 7, "variable SecureBoot = 1"),
    (b"Calling EFI Application", b"Nothing to see here....", 4, '"Nothing to see here.... from Boot Option"'),
    ("dbx".encode("utf-16le"), "DBX".encode("utf-16le"), 7, "variable DBX, not set"),
]


@pytest.mark.parametrize("before, after, pcr, text", ALTERED)
def test_words_that_were_not_measured_are_told_from_those_that_were(printed, tmp_path, before, after, pcr,
                                                                    text):  # noqa: F811
    log = log_of("debian13").read_bytes()
    assert log.count(before) == 1
    path = tmp_path / "altered.log"
    path.write_bytes(log.replace(before, after))
    value = CASES["debian13"]["pcrs"]["sha384"][pcr]
    answer = json.loads(printed("replay", "--json", f"--pcr={pcr}", f"--expect=PCR{pcr}={value}", path, code=73))
    assert [f["equal"] for f in answer["comparisons"]] == [True] and not answer["equal"]
    assert [e["text"] for e in answer["events"] if e["text_measured"] is False] == [text]
    said = printed("replay", f"--pcr={pcr}", path, code=73)
    assert "NOT WHAT WAS MEASURED" in said.split(text)[1].splitlines()[1]
    assert "The log was ALTERED: 1 of its events" in said
    # Only where it is looked at.
    assert compared(printed, "--pcr=12", f"--expect=PCR12={'00' * 48}", path)[12]["equal"]
    # What such an event says explains nothing.
    finding = compared(printed, f"--pcr={pcr}", f"--expect=PCR{pcr}={'ab' * 48}", f"--against={log_of('debian13-sb')}",
                       path, code=73)[pcr]
    assert text not in finding["meaning"] and "Secure Boot is on" not in finding["meaning"]


def test_an_altered_event_in_a_log_of_records(printed, tmp_path):  # noqa: F811
    path = tmp_path / "cel"
    for data, code in ((bytes(4), 0), (b"\1\0\0\0", 73)):
        digests = [{"hashAlg": "sha384", "digest": hashlib.sha384(bytes(4)).hexdigest()}]
        path.write_text(json.dumps({"pcr": 7, "digests": digests, "content_type": "pcclient_std",
                                    "content": {"event_type": 4, "event_data": data.hex()}}))
        answer = json.loads(printed("replay", "--json", path, code=code))
        assert answer["events"][0]["text_measured"] == (code == 0)


@pytest.mark.parametrize("measured, words", [
    ("init=/bin/sh\0", 'a command line was appended: "init=/bin/sh"'),
    ("an archive", 'the kernel\'s configuration was added to: "init=/bin/sh"'),  # its label may say anything
])
def test_a_label_is_not_taken_for_a_command_line(printed, tmp_path, measured, words):  # noqa: F811
    digest = hashlib.sha384(measured.encode("utf-16le")).hexdigest()
    (tmp_path / "cel").write_text(json.dumps({
        "pcr": 12, "digests": [{"hashAlg": "sha384", "digest": digest}], "content_type": "pcclient_std",
        "content": {"event_type": 13, "event_data": "init=/bin/sh\0".encode("utf-16le").hex()}}))
    finding = compared(printed, f"--expect=PCR12={'00' * 48}", tmp_path / "cel", code=73)[12]
    assert finding["meaning"] == words


def test_which_words_can_be_checked(printed):  # noqa: F811
    standing = {}
    for name in ("debian13-sb", "debian13-appended"):
        for event in json.loads(printed("replay", "--json", log_of(name)))["events"]:
            standing[event["pcr"], event["type"]] = event["text_measured"]
    for measured in ((7, "EV_EFI_VARIABLE_DRIVER_CONFIG"), (7, "EV_EFI_VARIABLE_AUTHORITY"), (4, "EV_SEPARATOR"),
                     (4, "EV_EFI_ACTION"), (12, "EV_IPL")):
        assert standing[measured] is True
    assert standing[4, "EV_EFI_BOOT_SERVICES_APPLICATION"] is None and standing[11, "EV_IPL"] is None


# --- code from outside the firmware

RAN = "a UEFI driver from outside the firmware ran before the image"


@pytest.mark.parametrize("kind, nodes, text", [
    (DRIVER, (ACPI, PCI, HD, FILE), "driver PCI 03.0, partition 1, \\EFI\\BOOT\\drv.efi"),
    (RUNTIME_DRIVER, (HD, FILE), "driver partition 1, \\EFI\\BOOT\\drv.efi"),
    (DRIVER, (ACPI, PCI, ROM), "driver PCI 03.0, option ROM"),
    (DRIVER, (ACPI, PCI, PCI, ROM), "driver PCI 03.0/03.0, option ROM"),
    (DRIVER, (), "driver of unknown origin"),
])
def test_names_a_driver_from_outside_by_every_way_of_comparing(printed, tmp_path, kind, nodes, text):  # noqa: F811
    log = log_with(tmp_path, "debian13", (2, kind, image_event(*nodes), b"a driver"))
    reference = tmp_path / "reference.json"
    reference.write_text(printed("measure", "--json", *options_of(CASES["debian13"])))
    value = CASES["debian13"]["pcrs"]["sha384"][2]
    for comparison in ([f"--reference={reference}"], [f"--expect=PCR2={value}"], [f"--against={log_of('debian13')}"],
                       image_options(CASES["debian13"])):
        findings = compared(printed, *comparison, log, code=73)
        assert {pcr for pcr, finding in findings.items() if not finding["equal"]} == {2}, comparison
        assert findings[2]["meaning"].startswith(RAN) and findings[2]["meaning"].endswith(text), comparison
        assert findings[2]["event"]["text"] == text and findings[2]["event"]["note"].startswith(RAN)
    said = printed("replay", log)
    assert "NOTE: " + RAN in said.split(text)[1].splitlines()[1]


def test_a_known_driver_and_another_one(printed, tmp_path):  # noqa: F811
    """An instance type with option ROMs: its PCR2 is given, and its log is that of a good boot."""
    rom, driver = image_event(ACPI, PCI, ROM), image_event(HD, FILE)
    good = log_with(tmp_path, "debian13", (2, DRIVER, rom, b"rom"))
    good = good.rename(tmp_path / "good.log")
    value = json.loads(printed("replay", "--json", good))["pcrs"]["PCR2"]
    image = [*image_options(CASES["debian13"]), f"--pcr2={value}"]
    assert all(f["equal"] for f in compared(printed, *image, good).values())
    for events, words in (
        ([(2, DRIVER, rom, b"rom"), (2, DRIVER, driver, b"evil")], RAN),
        ([(2, DRIVER, driver, b"evil")], "a UEFI driver from outside the firmware differs"),
        ([], "no driver from outside the firmware ran, and one was expected"),
    ):
        log = log_with(tmp_path, "debian13", *events)
        assert words in compared(printed, *image, "--pcr=2", log, code=73)[2]["meaning"], events
    log = log_with(tmp_path, "debian13", (2, DRIVER, driver, b"evil"))
    meaning = compared(printed, f"--against={good}", "--pcr=2", log, code=73)[2]["meaning"]
    assert meaning == "another UEFI driver from outside the firmware ran: driver partition 1, \\EFI\\BOOT\\drv.efi"
    meaning = compared(printed, f"--against={good}", "--pcr=2", log_of("debian13"), code=73)[2]["meaning"]
    assert meaning.startswith("a UEFI driver from outside the firmware was expected and did not run")


@pytest.mark.parametrize("pcr", [1, 5])
@pytest.mark.parametrize(
    "name, value, text, note",
    [
        ("Driver0000", load_option(
            "evil", HD, FILE), 'variable Driver0000 "evil": partition 1, \\EFI\\BOOT\\drv.efi', "UEFI driver"),
        ("DriverOrder", b"\0\0\x1f\0", "variable DriverOrder: 0000, 001F", "UEFI driver"),
        ("SysPrep00AB", load_option("x",
                                    FILE), 'variable SysPrep00AB "x": \\EFI\\BOOT\\drv.efi', "another application"),
        ("SysPrepOrder", b"\1\0", "variable SysPrepOrder: 0001", "another application"),
        ("DriverOrder", b"", "variable DriverOrder, not set", None),
        ("Driver0001", b"\1\0\0\0\xff\xffx\0\0\0", 'variable Driver0001 "x"', "UEFI driver"),  # a path beyond the end
        ("Driver0001", b"\1\0\0", "variable Driver0001", "UEFI driver"),
        ("Driver0001", b"\1\0\0\0\4\0x\0", 'variable Driver0001 "x"', "UEFI driver"),  # a title without an end
        ("Boot0001", load_option("disk", HD, FILE), 'variable Boot0001 "disk"', None),
        ("Boot1001", load_option("disk", HD, FILE), 'variable Boot1001 "disk"', None),
    ])
def test_names_what_the_firmware_was_told_to_run(printed, tmp_path, pcr, name, value, text, note):  # noqa: F811
    log = log_with(tmp_path, "debian13", (pcr, VARIABLE, variable_event(name, value), value))
    events = json.loads(printed("replay", "--json", f"--pcr={pcr}", log))["events"]
    event, = (e for e in events if e["text"] == text)
    assert event["text_measured"] is True and (note in event["note"] if note else "note" not in event)
    meaning = compared(printed, f"--against={log_of('debian13')}", f"--pcr={pcr}", log, code=73)[pcr]["meaning"]
    assert text in meaning and (note or "one more event was measured") in meaning


def test_a_label_alone_tells_of_no_driver(printed, tmp_path):  # noqa: F811
    """Its digest is of other bytes: the log was altered."""
    log = log_with(tmp_path, "debian13",
                   (1, VARIABLE, variable_event("Driver0000", load_option("evil", FILE)), b"other"))
    event, = (e for e in json.loads(printed("replay", "--json", "--pcr=1", log, code=73))["events"]
              if "Driver0000" in e["text"])
    assert event["text_measured"] is False and "note" not in event


def record(pcr, text, **more):
    digests = [{"hashAlg": bank, "digest": hashlib.new(bank, text.encode()).hexdigest()}
               for bank in ("sha256", "sha384")]
    return {"pcr": pcr, "digests": digests, "content_type": "systemd",
            "content": {"eventType": "phase", "string": text}, **more}


def extend(value, text, bank="sha384"):
    return hashlib.new(bank, value + hashlib.new(bank, text.encode()).digest()).digest()


@pytest.mark.parametrize("form", ["sequence", "lines", "array", "indented", "windows"])
def test_userspace_logs_continue_the_firmwares(printed, tmp_path, form):  # noqa: F811
    records = [record(11, "enter-initrd", recnum=0), record(15, "machine-id:0123", recnum=1),
               record(11, "sysinit", recnum=2)]
    path = tmp_path / "tpm2-measure.log"
    path.write_text({
        "sequence": "".join(f"\x1e{json.dumps(r)}\n" for r in records),
        "lines": "".join(f"{json.dumps(r)}\n" for r in records),
        "array": json.dumps(records),
        "indented": "".join(f"{json.dumps(r, indent=2)}\n" for r in records),
        "windows": "\ufeff" + "".join(f"{json.dumps(r)}\r\n" for r in records),
    }[form])
    answer = json.loads(printed("replay", "--json", log_of("debian13"), path))
    before = CASES["debian13"]["pcrs"]["sha384"]
    expected = extend(extend(bytes.fromhex(before[11]), "enter-initrd"), "sysinit")
    assert answer["pcrs"]["PCR11"] == expected.hex()
    assert answer["pcrs"]["PCR15"] == extend(bytes(48), "machine-id:0123").hex()
    assert answer["events"][-1]["text"] == "sysinit" and answer["events"][-1]["type"] == "systemd phase"
    finding = compared(printed, f"--expect=PCR15={'00' * 48}", path, code=73)[15]
    assert "machine-id:0123" in finding["meaning"]


def records_of_systemd_259():
    """In that version's order of members: PCR records around those of NV indexes, some of which have SHA-256 alone."""
    index = {key: value for key, value in record(0, "nvpcr:hardware").items() if key != "pcr"}
    index["digests"] = index["digests"][:1]
    index["content"] = {"nvIndexName": "hardware", **index["content"], "eventType": "nvpcr-init"}
    return [record(11, "enter-initrd"), {"nv_index": 0x01800421, **index}, record(9, "nvpcr-separator"),
            {"quote_of": "a kind that is yet to come", **index}, record(15, "machine-id:0123")]


def test_records_of_nv_indexes_extend_no_pcr(printed, tmp_path):  # noqa: F811
    path = tmp_path / "tpm2-measure.log"
    path.write_text("".join(f"\x1e{json.dumps(r)}\n" for r in records_of_systemd_259()))
    answer = json.loads(printed("replay", "--json", log_of("debian13"), path))
    assert answer["bank"] == "sha384"
    before = CASES["debian13"]["pcrs"]["sha384"]
    for pcr, text in ((9, "nvpcr-separator"), (11, "enter-initrd"), (15, "machine-id:0123")):
        assert answer["pcrs"][f"PCR{pcr}"] == extend(bytes.fromhex(before[pcr]), text).hex()
    assert [(e["number"], e["text"]) for e in answer["elsewhere"]] == [
        (2, "NV index 0x01800421 hardware: nvpcr:hardware"), (4, "no PCR hardware: nvpcr:hardware")]
    assert "NV index 0x01800421 hardware: nvpcr:hardware" in printed("replay", path)
    assert "NV index" not in printed("replay", "--pcr=11", path)
    assert undocumented(answer, "replay") - {f"PCR{i}" for i in range(24)} == set()
    path.write_text(json.dumps(records_of_systemd_259()[1]))
    assert "no digest of any PCR" in printed("replay", path, code=71)


SIZES = {4: 20, 11: 32, 12: 48}


def with_digests(log, keep):
    """The firmware log with those digests of each event that keep(pcr, algorithm) says; its header unchanged."""
    size, = struct.unpack_from("<I", log, 28)
    at, out = 32 + size, [log[:32 + size]]
    while at < len(log):
        pcr, kind, n = struct.unpack_from("<III", log, at)
        at, digests = at + 12, []
        for _ in range(n):
            algorithm, = struct.unpack_from("<H", log, at)
            if keep(pcr, algorithm):
                digests.append(log[at:at + 2 + SIZES[algorithm]])
            at += 2 + SIZES[algorithm]
        size, = struct.unpack_from("<I", log, at)
        out += [struct.pack("<III", pcr, kind, len(digests)), *digests, log[at:at + 4 + size]]
        at += 4 + size
    return b"".join(out)


def test_events_with_fewer_digests_than_the_header_lists(printed, tmp_path):  # noqa: F811
    log, path, values = log_of("debian13").read_bytes(), tmp_path / "log", CASES["debian13"]["pcrs"]

    def replayed(keep, *options, code=0):
        path.write_bytes(with_digests(log, keep))
        return json.loads(printed("replay", "--json", *options, path, code=code))

    for algorithm, bank in ((11, "sha256"), (12, "sha384")):
        answer = replayed(lambda pcr, a: a == algorithm)
        assert answer["bank"] == bank
        assert answer["pcrs"] == {f"PCR{i}": value for i, value in enumerate(values[bank])}
    answer = replayed(lambda pcr, a: pcr != 4 or a != 12)
    assert answer["bank"] == "sha384"
    assert answer["pcrs"] == {f"PCR{i}": value for i, value in enumerate(values["sha384"]) if i != 4}
    answer = replayed(lambda pcr, a: pcr != 4 or a != 12, "--bank=sha256")
    assert answer["pcrs"] == {f"PCR{i}": value for i, value in enumerate(values["sha256"])}
    # What cannot be compared is not equal.
    for option in (f"--expect=PCR4={values['sha384'][4]}", f"--against={log_of('debian13')}"):
        answer = replayed(lambda pcr, a: pcr != 4 or a != 12, option, code=73)
        unequal = {f["pcr"]: f["meaning"] for f in answer["comparisons"] if not f["equal"]}
        assert set(unequal) == {4} and ("lacks sha384 digests" in unequal[4] or "no sha384 digest" in unequal[4])
    answer = json.loads(printed("replay", "--json", f"--against={path}", log_of("debian13"), code=73))
    assert [f["meaning"] for f in answer["comparisons"] if not f["equal"]] == [
        "cannot be compared: the other log has no sha384 digest of it"]
    # All of the memory that the firmware keeps the log in was copied.
    for filling in (b"\0" * 4096, b"\xff" * 4096):
        path.write_bytes(log + filling)
        assert json.loads(printed("replay", "--json", path))["pcrs"]["PCR4"] == values["sha384"][4]


def test_damaged_logs_are_refused(printed, tmp_path):  # noqa: F811
    log = log_of("debian13-sb").read_bytes()
    for name, data, words in (
        ("short", log[:-1], "is cut short"),
        ("old", b"\0" * 64, "not a crypto-agile event log"),
        ("empty", b"", "its first event is cut short"),
        ("cel", json.dumps(record(24, "x")).encode(), "names no PCR from 0 to 23"),
        ("order", "\n".join(json.dumps(record(9, "x", recnum=1)) for _ in range(2)).encode(), "does not count up"),
        ("half", json.dumps(record(9, "x")).encode()[:-5], "cut short"),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        assert words in printed("replay", path, code=71)


def test_the_manual_has_every_member_of_the_json(printed):  # noqa: F811
    answer = json.loads(
        printed("replay", "--json", "--pcr=4", f"--expect=PCR4={'00' * 48}", log_of("debian13"), code=73))
    assert undocumented(answer, "replay") - {"PCR4"} == set()
    assert re.search(r"^\.Ql note\b", (MANUALS / "sealboot-replay.1").read_text(), re.MULTILINE)
    assert {"value", "event", "meaning", "text_measured"} <= members(answer)


def test_text_names_events_and_values(printed):  # noqa: F811
    text = printed("replay", "--pcr=4,7,12", log_of("debian13-sb-appended"))
    for words in ("variable SecureBoot = 1", "db entry: certificate /CN=sealboot fixture A", "\\EFI\\BOOT\\BOOTX64.EFI",
                  CASES["debian13-sb-appended"]["pcrs"]["sha384"][4]):
        assert words in text
    assert "PCR11" not in text


@pytest.fixture
def tpm(stack):
    """The stack's TPM, and a function that extends it with the digests of a log's events."""
    tcti = stack.variables["TPM2TOOLS_TCTI"]

    def extend_with(events):
        for event in events:
            digests = ",".join(f"{bank}={event[bank]}" for bank in ("sha256", "sha384"))
            subprocess.run(["tpm2_pcrextend", "-T", tcti, f"{event['pcr']}:{digests}"], check=True, timeout=30)

    return tcti, extend_with


def test_against_a_live_tpm(printed, tpm, tmp_path):  # noqa: F811
    tcti, extend_with = tpm
    texts = ["enter-initrd", "leave-initrd", "sysinit"]
    records = [record(11, text) for text in texts]
    log = tmp_path / "log"
    log.write_text("".join(f"\x1e{json.dumps(r)}\n" for r in records))
    for text in texts[:2]:
        extend_with(
            [{"pcr": 11, **{bank: hashlib.new(bank, text.encode()).hexdigest() for bank in ("sha256", "sha384")}}])
    finding = compared(printed, f"--tpm={tcti}", "--pcr=11", log, code=73)[11]
    assert "it was not measured" in finding["meaning"]
    assert finding["event"]["number"] == 3
    log.write_text("".join(f"\x1e{json.dumps(r)}\n" for r in records[:2]))
    for bank in ("sha256", "sha384"):
        assert compared(printed, f"--tpm={tcti}", f"--bank={bank}", "--pcr=11", log)[11]["equal"]


@pytest.fixture(scope="module")
def leaf():
    return pki.hierarchy(int(time.time()))


def document(leaf, pcrs, **kind):
    return attestation.document(leaf, {i: bytes.fromhex(value) for i, value in enumerate(pcrs["sha384"])}, **kind)


def test_against_an_attestation_document(printed, leaf, tmp_path):  # noqa: F811
    path = tmp_path / "document"
    path.write_bytes(document(leaf, CASES["debian13-addon"]["pcrs"]))
    findings = compared(printed, f"--document={path}", log_of("debian13-addon"))
    assert set(findings) == set(range(24))
    # A log that hides the addon is not the log of that boot; one that invents it claims what was not measured.
    findings = compared(printed, f"--document={path}", log_of("debian13"), code=73)
    assert "it is of another boot, altered" in findings[12]["meaning"]
    path.write_bytes(document(leaf, CASES["debian13"]["pcrs"]))
    findings = compared(printed, f"--document={path}", log_of("debian13-addon"), code=73)
    assert findings[12]["meaning"].startswith(
        "the log tells of it, but it was not measured: a command line was appended")
    assert findings[12]["event"]["text"] == '"sealboot.addon=1"'
    path.write_bytes(b"nonsense")
    printed("replay", f"--document={path}", log_of("debian13"), code=72)


def peak_memory(command):
    """Of a program that refuses, in MiB."""
    measured = subprocess.run([
        "/usr/bin/python3", "-c", "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], capture_output=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)", *map(str, command)
    ], capture_output=True, text=True, check=True, timeout=60)
    return int(measured.stdout)


@pytest.mark.parametrize("form", ["array", "record", "reference"])
def test_brackets_do_not_fill_the_memory(build, tmp_path, form):
    options = {o["name"]: o["value"] for o in json.loads((build / "meson-info/intro-buildoptions.json").read_text())}
    if options["b_sanitize"] != "none":
        pytest.skip("sanitizers take memory of their own")
    path = tmp_path / "input"
    small = {"array": (1 << 21, "[%s]"), "record": (1 << 20, '{"x":[%s]}'), "reference": (1_000_000, "[%s]")}
    size, whole = small[form]
    path.write_text(whole % ",".join(["{}"] * (size // 3)))
    option = [f"--reference={path}", log_of("debian13")] if form == "reference" else [path]
    assert peak_memory([build / "policy/sealboot", "replay", *option]) < 128
