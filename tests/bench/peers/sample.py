#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The steps of AWS's sample application for attestable AMIs, written anew: download to disk in parts, read all,
one-shot AES-GCM, write, a SHA-256 pass, a SHA-384 pass.

sample.py ENDPOINT CA BUCKET KEY KEYFILE SCRATCH OUTPUT"""

import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PART, PARTS = 100 << 20, 10

endpoint, ca, bucket, key, keyfile, scratch, output = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint, verify=ca, region_name="us-east-1", aws_access_key_id="bench",
                  aws_secret_access_key="bench", config=Config(s3={"addressing_style": "path"},
                                                               max_pool_connections=PARTS))
size = s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
fd = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)


def part(first: int):
    body = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={first}-{min(first + PART, size) - 1}")["Body"]
    at = first
    for piece in body.iter_chunks(1 << 20):
        at += os.pwrite(fd, piece, at)


with ThreadPoolExecutor(PARTS) as pool:
    list(pool.map(part, range(0, size, PART)))
os.close(fd)

with open(scratch, "rb") as f:
    sealed = f.read()
with open(keyfile, "rb") as f:
    decryptor = Cipher(algorithms.AES(f.read()), modes.GCM(sealed[:12], sealed[-16:])).decryptor()
plaintext = decryptor.update(memoryview(sealed)[12:-16]) + decryptor.finalize()
with open(output, "wb") as f:
    f.write(plaintext)
del sealed, plaintext
for algorithm in (hashlib.sha256(), hashlib.sha384()):
    with open(output, "rb") as f:
        while piece := f.read(1 << 20):
            algorithm.update(piece)
os.unlink(scratch)
