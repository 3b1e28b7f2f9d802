#!/bin/sh
# Makes zstd-chunked.tar.zst out of layer.tar with skopeo: puts the layer into
# a one-layer OCI image and copies that image with zstd:chunked compression.
#
# Usage: sh zstd_chunked.sh        (needs python3 and skopeo)
set -eu

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

python3 - "$work/from" <<'PY'
import gzip, hashlib, json, os, sys

layout = sys.argv[1]
os.makedirs(layout + "/blobs/sha256")
MEDIA = "application/vnd.oci.image."


def put(kind, data):
    digest = hashlib.sha256(data).hexdigest()
    with open(f"{layout}/blobs/sha256/{digest}", "wb") as out:
        out.write(data)
    return {"mediaType": MEDIA + kind, "digest": "sha256:" + digest,
            "size": len(data)}


with open("layer.tar", "rb") as f:
    tar = f.read()
layer = put("layer.v1.tar+gzip", gzip.compress(tar, 6, mtime=0))
config = put("config.v1+json", json.dumps({
    "architecture": "amd64", "os": "linux", "config": {},
    "rootfs": {"type": "layers",
               "diff_ids": ["sha256:" + hashlib.sha256(tar).hexdigest()]},
    "history": [{"created_by": "sample"}],
}).encode())
manifest = put("manifest.v1+json", json.dumps({
    "schemaVersion": 2, "mediaType": MEDIA + "manifest.v1+json",
    "config": config, "layers": [layer],
}).encode())
manifest["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
with open(layout + "/index.json", "w") as out:
    json.dump({"schemaVersion": 2, "manifests": [manifest]}, out)
with open(layout + "/oci-layout", "w") as out:
    json.dump({"imageLayoutVersion": "1.0.0"}, out)
PY

skopeo --insecure-policy copy --quiet \
    --dest-compress --dest-compress-format zstd:chunked \
    "oci:$work/from:latest" "oci:$work/to:latest"
skopeo inspect --raw "oci:$work/to:latest" > "$work/manifest.json"

python3 - "$work" <<'PY'
import json, shutil, sys

work = sys.argv[1]
with open(work + "/manifest.json") as f:
    (layer,) = json.load(f)["layers"]
shutil.copyfile(work + "/to/blobs/" + layer["digest"].replace(":", "/"),
                "zstd-chunked.tar.zst")
with open("zstd-chunked.annotations.json", "w") as out:
    json.dump(layer["annotations"], out, indent=2, sort_keys=True)
    out.write("\n")
PY
