# SPDX-License-Identifier: Apache-2.0
"""What `sealboot measure` says of a boot."""

import json


def predicted(sealboot, *arguments):
    return json.loads(sealboot("measure", "--json", *arguments))["Measurements"]


def lists(keys):
    return [argument for name in ("PK", "KEK", "db", "dbx") if (keys / f"{name}.esl").exists()
            for argument in (f"--{name}", keys / f"{name}.esl")]
