# SPDX-License-Identifier: Apache-2.0
"""Watching boots: the copy of the report in the operator's bucket, metrics, and the verbs that read them."""

import json
import re
import shutil
import subprocess
import threading

import pytest

import boots
import manuals
from stack import browser


BUCKET = "operators-reports"


@pytest.fixture(scope="module")
def bucket(stack) -> str:
    """The operator's bucket, with what `sealboot policy --for role --report-to` allows the instances' role."""
    statement = {"Effect": "Allow", "Principal": {"AWS": stack.role_arn}, "Action": "s3:PutObject",
                 "Resource": f"arn:aws:s3:::{BUCKET}/by-*"}
    stack.s3().create_bucket(Bucket=BUCKET)
    stack.s3().put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    return BUCKET


@pytest.fixture
def stored(stack, bucket):
    """The reports below a prefix of that bucket: {key: report}."""
    def call(prefix) -> dict:
        s3 = stack.s3()
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        return {o["Key"]: json.loads(s3.get_object(Bucket=bucket, Key=o["Key"])["Body"].read()) for o in listed}
    return call


def launch(boot, stack, **more):
    """User data that names the model, and more."""
    stack.control.user_data(json.dumps({"sealboot": {"model": f"s3://{stack.bucket}/{boots.OBJECT}", **more}}).encode())


def test_the_report_is_stored_in_the_bucket(boot, stack, stored, tmp_path):
    """On success and on failure, by the measured configuration or by user data, which has precedence."""
    boots.single(boot)
    boot.config["report_to"] = f"s3://{BUCKET}/by-image/"
    result = boot.run()
    assert result.returncode == 0, result
    (key, report), = stored("by-image/").items()
    instance = report["identity"]["instance_id"]
    assert re.fullmatch(rf"by-image/\d{{8}}T\d{{6}}Z-{instance}\.json", key)
    assert report["outcome"] == "published" and "files" not in report["model"] and result.report["model"]["files"]
    assert result.report["report_to"] == {"key": key} and "progress" not in result.report
    metrics = (tmp_path / "report.prom").read_text()
    assert "sealboot_boot_published 1\n" in metrics and f'instance_id="{instance}"' in metrics

    shutil.rmtree(boot.directory / "current")
    launch(boot, stack, report_to=f"s3://{BUCKET}/by-user/")
    result = boot.run()
    assert result.returncode == 23, result        # PCR15 was extended: known before the metadata service is asked
    (key, report), = stored("by-user/").items()
    assert report["failure"]["exit_code"] == 23 and report["identity"]["instance_id"] == instance
    assert len(stored("by-image/")) == 1
    assert "sealboot_boot_exit_code 23\n" in (tmp_path / "report.prom").read_text()


def test_a_report_that_cannot_be_stored_is_a_warning(boot, stack):
    boots.single(boot)
    boot.config["report_to"] = "s3://no-such-bucket-here/reports/"
    result = boot.run()
    assert result.returncode == 0 and "warning: the boot report is not stored at s3://no-such-bucket" in result.stderr
    assert "NoSuchBucket" in result.report["report_to"]["error"] and result.report["outcome"] == "published"


@pytest.mark.parametrize("value, words", [
    ("s3://bucket/reports", "which ends in a slash"), ("http://x/", "s3://"), ("s3://b/", "bucket"), ("", "report_to"),
    ("s3://bucket/" + "x" * 901 + "/", "longer than"), (3, "report_to"),
])
def test_places_that_are_none(boot, stack, value, words):
    boots.single(boot)
    launch(boot, stack, report_to=value)
    boot.refused(11, words)
    boot.config["report_to"] = value
    boot.refused(10, words)


# --- sealboot status

LINE = re.compile(r'([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (\S+)')


def metrics(text: str) -> dict:
    """{name and labels: value} of Prometheus's text format, read as strictly as promtool checks it: each metric has
    HELP and TYPE before its samples, samples of a metric stand together, no sample twice, units in names."""
    found, described, done, current = {}, {}, set(), None
    assert text.endswith("\n") and "\n\n" not in text
    for line in text.splitlines():
        if line.startswith("#"):
            word, name, rest = line[2:].split(" ", 2)
            assert word in ("HELP", "TYPE") and (name, word) not in described and rest
            described[name, word] = rest
            continue
        name, labels, value = LINE.fullmatch(line).groups()
        assert name not in done and described[name, "TYPE"] == "gauge" and described[name, "HELP"].endswith(".")
        if name != current and current:
            done.add(current)
        current = name
        assert not name.endswith(("_total", "_count", "_sum", "_bucket", "_ms", "_milliseconds", "_kib"))
        assert name + (labels or "") not in found
        found[name + (labels or "")] = float(value)
    return found


def test_status_of_a_boot_that_published(boot, sealboot, tmp_path):
    boots.single(boot)
    result = boot.run()
    assert result.returncode == 0, result
    report = tmp_path / "report.json"
    shown = sealboot("status", report, "--measurement-log", boot.log)
    assert shown.returncode == 0 and shown.stdout.startswith("published after "), shown
    for stage in result.report["stages"]:
        assert re.search(rf"^  {stage['name']} +[0-9.]+ m?s  \|[ #]{{40}}\|", shown.stdout, re.M), shown.stdout
    assert f"value    {result.report['pcr15']['sha384']['after']}" in shown.stdout
    assert "sealboot-model" in shown.stdout

    told = sealboot("status", report, "--measurement-log", boot.log, "--json").json
    assert told["report"] == result.report and told["pcr15"]["value"] == result.report["pcr15"]["sha384"]["after"]
    assert not manuals.undocumented({**told, "report": None}, "status")
    printed = sealboot("status", report, "--prometheus").stdout
    assert printed == (tmp_path / "report.prom").read_text()
    found = metrics(printed)
    assert found["sealboot_boot_published"] == 1 and found["sealboot_model_bytes"] == result.report["model"]["bytes"]
    assert found['sealboot_boot_stage_duration_seconds{stage="kms"}'] > 0
    page = manuals.ROOT / "policy/man/sealboot-status.1"
    assert not {name.split("{")[0] for name in found} - set(re.findall(r"sealboot_[a-z_]+", page.read_text()))


def test_status_of_a_boot_that_failed(boot, sealboot, tmp_path, stack):
    boots.single(boot)
    stack.kms().disable_key(KeyId=boot.arn)
    boot.refused(31)
    shown = sealboot("status", tmp_path / "report.json")
    assert shown.returncode == 73 and "kms-key (exit code 31)" in shown.stdout and "what to do" in shown.stdout, shown
    assert metrics(sealboot("status", "--prometheus", tmp_path / "report.json").stdout)["sealboot_boot_exit_code"] == 31


def test_a_boot_is_watched_while_it_runs(boot, sealboot, tmp_path, stack):
    boots.single(boot, plaintext=bytes(3_000_000))
    stack.control.fault("slow", service="s3", operation="GetObject", rate=1_000_000, count=None)
    done = []
    thread = threading.Thread(target=lambda: done.append(boot.run()))
    thread.start()
    report = tmp_path / "report.json"
    while not report.exists():
        assert thread.is_alive()
    shown = sealboot("status", "--follow", report)
    thread.join()
    assert done[0].returncode == 0, done
    progress = r"^unseal: [0-9.]+ MB of 3.00 MB \([0-9]+ %\) at 0.00 GB/s, [0-9.]+ m?s left$"
    assert re.search(progress, shown.stdout, re.M), shown
    assert "\npublished after " in shown.stdout and shown.returncode == 0


@pytest.mark.parametrize("arguments, code, words", [
    (["/nonexistent"], 61, "No such file"), (["/dev/null"], 2, "not valid JSON"),
    (["--json", "--prometheus"], 2, "exclude"),
    (["--follow", "-"], 2, "not standard input"), (["a", "b"], 2, "one report at most"),
])
def test_usage_of_status(sealboot, arguments, code, words):
    done = sealboot("status", *arguments)
    assert (done.returncode, done.stdout) == (code, "") and words in done.stderr, done


# --- sealboot fleet

@pytest.fixture(scope="module")
def herd(tmp_path_factory):
    """Reports of many instances, some of them hostile; by other words than the unit tests' own."""
    directory = tmp_path_factory.mktemp("herd")
    for i in range(40):
        report = {"outcome": "published", "clock": {"realtime_ms": 1796000000000 + i * 60000}, "duration_ms": 1000 + i,
                  "identity": {"instance_id": f"i-{i:017x}", "instance_type": "g6.xlarge"},
                  "stages": [{"name": "unseal", "began_ms": 100.5, "duration_ms": 800 + i, "bytes": 1000}]}
        if i % 10 == 0:
            report |= {"outcome": "failed", "failure": {
                "exit_code": 42, "name": "s3-unavailable", "title": "S3 did not answer",
                "reason": f"HTTP 503 SlowDown (i-{i:017x}) \x1b[2J <script>alert('reason')</script>"}}
        (directory / f"2026-{i:02}.json").write_text(json.dumps(report))
    (directory / "x<img src=x onerror=alert(1)>.json").write_text('{"outcome": "published"}')
    (directory / "y.json").write_bytes(b"\xff\xfe")
    (directory / "z.json").symlink_to("2026-00.json")
    (directory / "notes.txt").write_text("not a report")
    return directory


def test_fleet_of_a_directory(sealboot, herd):
    shown = sealboot("fleet", herd)
    assert shown.returncode == 0 and "36 published, 4 failed, 0 running; 3 bad reports" in shown.stdout, shown
    assert all(c == "\n" or c.isprintable() for c in shown.stdout)
    told = sealboot("fleet", "--json", herd).json
    assert (told["published"], told["failed"], told["running"], told["left_out"]) == (36, 4, 0, 0)
    assert told["duration"] == {"boots": 36, "p50_ms": 1019, "p99_ms": 1039, "max_ms": 1039}
    assert [f["boots"] for f in told["failures"]] == [4]
    assert told["failures"][0]["reason"].startswith("HTTP 503 SlowDown")
    assert told["slowest"][0]["duration_ms"] == 1039 and told["slowest"][0]["longest_stage"] == "unseal"
    assert [b["report"] for b in told["bad"]] == ["x<img src=x onerror=alert(1)>.json", "y.json", "z.json"]
    assert not manuals.undocumented(told, "fleet")
    told = sealboot("fleet", "--json", "--limit=5", herd).json
    assert told["published"] == 2 and told["left_out"] == 38


def test_fleet_of_a_bucket(boot, sealboot, stack, bucket):
    """The reports that agents stored there."""
    boots.single(boot)
    boot.config["report_to"] = f"s3://{bucket}/by-fleet/"
    assert boot.run().returncode == 0
    stack.s3().put_object(Bucket=bucket, Key="by-fleet/other.json", Body=b"[]")
    stack.s3().put_object(Bucket=bucket, Key="by-fleet/large.json", Body=bytes(1024 * 1024 + 1))
    for i in range(260):  # more than are fetched at a time
        stack.s3().put_object(Bucket=bucket, Key=f"by-fleet/many-{i:03}.json",
                              Body=b'{"outcome": "running", "clock": {"realtime_ms": 1}}')
    done = sealboot("fleet", "--json", f"s3://{bucket}/by-fleet/")
    assert done.returncode == 0, done
    told = done.json
    assert (told["published"], told["running"]) == (1, 260) and "key-release" in {s["name"] for s in told["stages"]}
    assert [b["report"] for b in told["bad"]] == ["by-fleet/large.json", "by-fleet/other.json"]
    for place, code, words in ((f"s3://{bucket}/none/", 41, "no boot report"), ("s3://no-such-bucket-here/", 41, "")):
        done = sealboot("fleet", place)
        assert (done.returncode, done.stdout) == (code, "") and words in done.stderr, done


def test_pages_in_a_browser(boot, sealboot, herd, tmp_path):
    """What instances wrote is shown as text; nothing is fetched, and nothing is wider than the window."""
    if not browser.program():
        pytest.skip("no Chromium")
    assert sealboot("fleet", "--html", tmp_path / "fleet.html", herd).returncode == 0
    assert sealboot("status", "--html", tmp_path / "boot.html", herd / "2026-00.json").returncode == 73
    with browser.start() as chromium:
        for name in ("fleet", "boot"):
            page = chromium.open()
            page.call("Emulation.setDeviceMetricsOverride", width=700, height=900, deviceScaleFactor=1, mobile=False)
            page.go(f"file://{tmp_path}/{name}.html")
            assert "alert('reason')" in page.text() and not chromium.dialogs
            assert page.evaluate("performance.getEntriesByType('resource').length") == 0
            assert page.evaluate("document.documentElement.scrollWidth") <= 700
            page.screenshot(tmp_path / f"{name}.png")
            if name == "fleet":
                assert page.evaluate("document.querySelectorAll('svg.chart circle').length") == 36
                assert page.evaluate("document.querySelectorAll('svg.chart path').length") == 4


# --- the journal's catalog

def test_each_message_id_is_in_the_catalog(build, tmp_path):
    """As journalctl -x finds it: systemd reads the catalog, and has an entry for each id in the sources."""
    catalog = build / "units/sealboot.catalog"
    ids = set(re.findall(r'"([0-9a-f]{32})"', "".join(
        (manuals.ROOT / "agent" / name).read_text() for name in ("basic/failure.c", "report/report.h")))) - {"0" * 32}
    assert ids == set(re.findall(r"^-- ([0-9a-f]{32})$", catalog.read_text(), re.M)) and len(ids) > 40
    if not shutil.which("journalctl"):
        pytest.skip("no journalctl")
    (tmp_path / "usr/lib/systemd/catalog").mkdir(parents=True)
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    shutil.copy(catalog, tmp_path / "usr/lib/systemd/catalog")
    done = subprocess.run(["journalctl", f"--root={tmp_path}", "--update-catalog"], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done
    listed = subprocess.run(["journalctl", f"--root={tmp_path}", "--list-catalog"], capture_output=True, text=True)
    assert ids <= {line.split(" ", 1)[0] for line in listed.stdout.splitlines()}, listed
