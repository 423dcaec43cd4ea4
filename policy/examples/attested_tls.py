#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client that asks nothing of a server before the server has proven which image it booted: attested_tls.py HOST:PORT
REFERENCE.json /v1/models [ROOT.pem]. It takes the attestation document over the TLS connection that it then uses, and
has libsealboot-verify check it."""

import ctypes
import http.client
import secrets
import ssl
import sys

library = ctypes.CDLL("libsealboot-verify.so.0")
library.sealboot_verifier_new.restype = ctypes.c_void_p
library.sealboot_verifier_error.restype = ctypes.c_char_p


class Refused(Exception):
    """The server is not what it should be, or an argument makes no sense."""


class Verifier:
    """A struct sealboot_verifier. Every reference must cover the whole boot."""

    def __init__(self):
        self.handle = ctypes.c_void_p(library.sealboot_verifier_new())
        if not self.handle:
            raise MemoryError
        self.call("verifier_require_whole_reference", 1)

    def __del__(self):
        library.sealboot_verifier_free(self.handle)

    def call(self, function: str, *arguments):
        if getattr(library, f"sealboot_{function}")(self.handle, *arguments) != 0:
            raise Refused(library.sealboot_verifier_error(self.handle).decode())

    def add_reference(self, json: bytes, name: str):
        self.call("verifier_add_reference", json, ctypes.c_size_t(len(json)), name.encode())

    def set_root(self, pem: bytes):
        self.call("verifier_set_root", pem, ctypes.c_size_t(len(pem)))

    def verify_tls(self, document: bytes, certificate: bytes, nonce: bytes):
        key, size = ctypes.create_string_buffer(1024), ctypes.c_size_t()  # SEALBOOT_TLS_KEY_MAX
        if library.sealboot_tls_certificate_key(certificate, ctypes.c_size_t(len(certificate)), key,
                                                ctypes.byref(size)) != 0:
            raise Refused("the certificate cannot be read")
        self.call("verify_tls", document, ctypes.c_size_t(len(document)), key, size, nonce, ctypes.c_size_t(len(nonce)))


def attested_connection(address: str, verifier: Verifier) -> http.client.HTTPSConnection:
    """A connection to that server, or Refused. Python's ssl neither resumes a session unless asked nor has early
    data."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the certificate means nothing but its key
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    connection = http.client.HTTPSConnection(address, context=context, timeout=60)
    connection.connect()
    connection.auto_open = 0  # another connection would show another key
    nonce = secrets.token_bytes(32)
    connection.request("GET", f"/.well-known/sealboot/attestation?nonce={nonce.hex()}")
    answer = connection.getresponse()
    document = answer.read(32 * 1024 + 1)
    if answer.status != 200:
        raise Refused(f"the server has no document: HTTP status {answer.status}")
    verifier.verify_tls(document, connection.sock.getpeercert(binary_form=True), nonce)
    return connection


def main(address: str, reference: str, path: str, root: str | None = None):
    verifier = Verifier()
    with open(reference, "rb") as f:
        verifier.add_reference(f.read(), reference)
    if root:
        with open(root, "rb") as f:
            verifier.set_root(f.read())
    try:
        connection = attested_connection(address, verifier)
    except Refused as why:
        sys.exit(f"refused: {why}")
    connection.request("GET", path)
    print(connection.getresponse().read().decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
