# SPDX-License-Identifier: Apache-2.0
"""Buckets of versioned objects; the bytes lie in files, so that answers can be sent from them."""

import hashlib
import os
import secrets
import threading
import uuid
from dataclasses import dataclass, field


@dataclass
class Version:
    id: str
    path: str | None               # None: a delete marker
    size: int
    etag: str
    modified: float
    content_type: str
    metadata: dict = field(default_factory=dict)
    checksum: dict = field(default_factory=dict)   # algorithm -> value
    locked_until: float = 0


@dataclass
class Upload:
    id: str
    bucket: str
    key: str
    content_type: str
    metadata: dict
    algorithm: str | None = None                   # of the checksums that parts must have
    composite: bool = True                         # the object's checksum is one of its parts' checksums
    parts: dict = field(default_factory=dict)      # number -> Version


@dataclass
class Bucket:
    name: str
    owner: str
    policy: dict | None = None
    created: float = 0
    object_lock: bool = False
    retention: tuple[str, int] | None = None       # mode and days: the default of Object Lock
    keys: dict = field(default_factory=dict)       # key -> [Version, ...], newest last


class Store:
    def __init__(self, directory: str, clock):
        self.directory, self.clock, self.lock = directory, clock, threading.RLock()
        self.buckets: dict[str, Bucket] = {}
        self.uploads: dict[str, Upload] = {}
        os.makedirs(directory, exist_ok=True)

    def create(self, name: str, owner: str) -> Bucket:
        bucket = Bucket(name, owner, created=self.clock.now())
        self.buckets[name] = bucket
        return bucket

    def new_path(self) -> str:
        return os.path.join(self.directory, uuid.uuid4().hex)

    def latest(self, bucket: Bucket, key: str) -> Version | None:
        with self.lock:
            versions = bucket.keys.get(key)
            return versions[-1] if versions and versions[-1].path else None

    def version(self, bucket: Bucket, key: str, id: str) -> Version | None:
        with self.lock:
            return next((v for v in bucket.keys.get(key, ()) if v.id == id), None)

    def listing(self, bucket: Bucket) -> list[tuple[str, Version]]:
        """Keys in S3's order: that of their UTF-8 bytes."""
        with self.lock:
            current = [(k, v[-1]) for k, v in bucket.keys.items() if v and v[-1].path]
        return sorted(current, key=lambda pair: pair[0].encode("utf-8", "surrogateescape"))

    def save(self, chunks, *, sha256: bool = False) -> tuple[str, int, bytes, str | None]:
        """Path, size, MD5 and, if wanted, the hexadecimal SHA-256 of the bytes."""
        path, size, md5, sha = self.new_path(), 0, hashlib.md5(), hashlib.sha256() if sha256 else None
        try:
            with open(path, "wb") as f:
                for chunk in chunks:
                    f.write(chunk)
                    md5.update(chunk)
                    if sha:
                        sha.update(chunk)
                    size += len(chunk)
        except BaseException:
            os.unlink(path)
            raise
        return path, size, md5.digest(), sha.hexdigest() if sha else None

    def put(self, bucket: Bucket, key: str, path: str | None, size: int, etag: str, content_type: str,
            metadata: dict) -> Version:
        version = Version(secrets.token_urlsafe(24), path, size, etag, self.clock.now(), content_type, metadata)
        with self.lock:
            bucket.keys.setdefault(key, []).append(version)
        return version

    def remove(self, bucket: Bucket, key: str, id: str | None) -> Version | None:
        """Without id: put a delete marker on top. With: that version is gone for good."""
        if id is None:
            return self.put(bucket, key, None, 0, "", "", {}) if key in bucket.keys else None
        with self.lock:
            gone = self.version(bucket, key, id)
            if gone:
                bucket.keys[key].remove(gone)
                if gone.path:
                    os.unlink(gone.path)
                if not bucket.keys[key]:
                    del bucket.keys[key]
            return gone

    def replace_inverted(self, bucket: Bucket, key: str) -> Version:
        """A new version with every byte inverted: same size, other contents, other ETag."""
        old, table = self.latest(bucket, key), bytes(255 - b for b in range(256))
        with open(old.path, "rb") as f:
            path, size, md5, _ = self.save(piece.translate(table) for piece in iter(lambda: f.read(1 << 20), b""))
        return self.put(bucket, key, path, size, md5.hex(), old.content_type, old.metadata)

    def concatenate(self, parts: list[Version]) -> tuple[str, int]:
        path, size = self.new_path(), 0
        with open(path, "wb") as out:
            for part in parts:
                with open(part.path, "rb") as f:
                    while n := os.copy_file_range(f.fileno(), out.fileno(), 1 << 30):
                        size += n
                os.unlink(part.path)
        return path, size
