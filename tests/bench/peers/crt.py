#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""AWS's own fast client for S3 (the Common Runtime, aws-c-s3), which downloads and does nothing else.

crt.py ENDPOINT CA BUCKET KEY OUTPUT"""

import sys
import urllib.parse

from awscrt import auth, http, io, s3

endpoint, ca, bucket, key, output = sys.argv[1:]
url = urllib.parse.urlsplit(endpoint)
provider = auth.AwsCredentialsProvider.new_static("bench", "bench")
tls = None
if url.scheme == "https":
    options = io.TlsContextOptions()
    options.override_default_trust_store_from_path(None, ca)
    tls = io.TlsConnectionOptions(io.ClientTlsContext(options))
client = s3.S3Client(
    region="us-east-1", credential_provider=provider, tls_connection_options=tls,
    tls_mode=s3.S3RequestTlsMode.ENABLED if tls else s3.S3RequestTlsMode.DISABLED, throughput_target_gbps=25)
request = http.HttpRequest("GET", f"/{bucket}/{key}", http.HttpHeaders([("Host", url.netloc)]))
client.make_request(type=s3.S3RequestType.GET_OBJECT, request=request, recv_filepath=output).finished_future.result()
