# SPDX-License-Identifier: Apache-2.0
"""Files of models on disk and in the stack, and what the program said of them."""


def write(directory, files: dict[str, bytes]):
    for path, content in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)
    return directory


def read(directory) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def stored(stack, uri: str) -> list[str]:
    bucket, prefix = uri.removeprefix("s3://").split("/", 1)
    listed = stack.s3().list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    return [o["Key"].removeprefix(prefix) for o in listed]


def succeed(result):
    assert result.returncode == 0, result
    return result


def refused(result, code: int, *words: str):
    assert result.returncode == code, result
    for word in words:
        assert word in result.stderr, result
    return result
