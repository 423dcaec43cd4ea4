# SPDX-License-Identifier: Apache-2.0
"""Watching boots: the copy of the report in the operator's bucket, metrics, and the verbs that read them."""

import json
import re
import shutil

import pytest

import boots


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
