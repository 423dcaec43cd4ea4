# SPDX-License-Identifier: Apache-2.0
"""Raw requests to the local KMS, for members that the stock client here is too old for:
Recipient on Decrypt, and DryRun."""

import base64
import json
import urllib.error
import urllib.request

import botocore.auth
import botocore.credentials
from botocore import awsrequest


def decrypt_attested(stack, blob: bytes, context: dict, document: bytes, **more) -> dict:
    recipient = {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
                 "AttestationDocument": base64.b64encode(document).decode()}
    return request(stack, "Decrypt", stack.control.credentials(), {
        "CiphertextBlob": base64.b64encode(blob).decode(), "EncryptionContext": context, "Recipient": recipient, **more
    })


def request(stack, operation: str, issued: dict | None, members: dict) -> dict:
    body = json.dumps(members)
    signed = awsrequest.AWSRequest("POST", stack.endpoints["kms"] + "/", data=body, headers={
        "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"TrentService.{operation}"})
    issued = issued or {"AccessKeyId": stack.variables["AWS_ACCESS_KEY_ID"],
                        "SecretAccessKey": stack.variables["AWS_SECRET_ACCESS_KEY"], "Token": None}
    keys = botocore.credentials.Credentials(issued["AccessKeyId"], issued["SecretAccessKey"], issued["Token"])
    botocore.auth.SigV4Auth(keys, "kms", stack.region).add_auth(signed)
    try:
        with urllib.request.urlopen(urllib.request.Request(signed.url, body.encode(),
                                                           dict(signed.headers))) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as e:
        return {"status": e.code, **json.load(e)}
