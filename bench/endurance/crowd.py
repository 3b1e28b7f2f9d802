"""OCI image layouts with one layer each, a plain archive of a million entries."""

import hashlib
import io
import json
import os
import tarfile

NAMES = ("latest", "changed", "small")
FOLDERS, FILES = 1000, 999  # files in each of the folders
ROOT = "usr/lib/x86_64/data"  # so paths have 43 bytes
TIME = 1_650_000_000


def make(directory, name):
    """Writes the layout of one of NAMES, and returns the bytes of its layer. Of `changed` every other file has other bytes
    than `latest` has, and as many; `small` has one file."""
    blobs = os.path.join(directory, "blobs", "sha256")
    os.makedirs(blobs)
    layer = os.path.join(directory, "layer")
    with tarfile.open(layer, "w", format=tarfile.USTAR_FORMAT) as archive:
        for folder in range(1 if name == "small" else FOLDERS):
            archive.addfile(member(f"{ROOT}/d{folder:03}", type=tarfile.DIRTYPE, mode=0o755))
            for number in range(1 if name == "small" else FILES):
                first = "b" if name == "changed" and number % 2 else "a"
                content = f"{first} line {folder} {number}\n".encode()
                path = f"{ROOT}/d{folder:03}/a-file-{number:06}.txt"
                archive.addfile(member(path, size=len(content)), io.BytesIO(content))
    with open(layer, "rb") as archive:
        digest = hashlib.file_digest(archive, "sha256").hexdigest()
    size = os.path.getsize(layer)
    os.rename(layer, os.path.join(blobs, digest))

    def put(media_type, document):
        content = json.dumps(document).encode()
        digest = hashlib.sha256(content).hexdigest()
        with open(os.path.join(blobs, digest), "wb") as f:
            f.write(content)
        return {"mediaType": f"application/vnd.oci.image.{media_type}", "digest": f"sha256:{digest}", "size": len(content)}

    config = put("config.v1+json", {"architecture": "amd64", "os": "linux", "config": {},
                                    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}})
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": f"sha256:{digest}", "size": size}
    manifest = put("manifest.v1+json", {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                                        "config": config, "layers": [layer]})
    names = {"org.opencontainers.image.ref.name": "latest"}
    index = {"schemaVersion": 2, "manifests": [manifest | {"annotations": names}]}
    for path, document in (("index.json", index), ("oci-layout", {"imageLayoutVersion": "1.0.0"})):
        with open(os.path.join(directory, path), "w") as f:
            json.dump(document, f)
    return size


def member(name, **fields):
    """The header of an entry."""
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = 0o644, TIME
    for field, value in fields.items():
        setattr(info, field, value)
    return info
