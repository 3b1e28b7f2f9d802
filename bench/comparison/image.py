"""An image, or several with names of their own, in an OCI layout directory: what the measured programs move."""

import hashlib
import json
import os


class Image:
    """All that a layout's index.json names, with everything that it reaches. `names`: digests by tag; the only image of
    a layout is `latest`, whatever it is called there."""

    def __init__(self, layout):
        self.layout = layout
        with open(os.path.join(layout, "index.json"), "rb") as f:
            entries = json.load(f)["manifests"]
        self.name = entries[0].get("annotations", {}).get("org.opencontainers.image.ref.name", "")
        self.digest = entries[0]["digest"]
        self.manifests = {}  # media types by digest, children first
        self.blobs = {}
        for entry in entries:
            self._walk(entry)
        self.platforms = len(self.manifests) - 1 or 1
        self.amd64 = self._find("linux", "amd64", entries[0])
        self.names = {"latest": self.digest}
        if len(entries) > 1:
            self.names = {entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in entries}

    def _find(self, os_name, architecture, descriptor):
        """The image for a platform in an index; None if there is none."""
        with open(self.path(descriptor["digest"]), "rb") as f:
            entries = json.load(f).get("manifests", [])
        wanted = {"os": os_name, "architecture": architecture}
        return next((entry["digest"] for entry in entries if wanted.items() <= entry.get("platform", {}).items()), None)

    def path(self, digest):
        """The file that holds it."""
        return blob(self.layout, digest)

    def _walk(self, descriptor):
        with open(self.path(descriptor["digest"]), "rb") as f:
            manifest = json.load(f)
        for child in manifest.get("manifests", []):
            self._walk(child)
        for layer in [manifest[key] for key in ["config"] if key in manifest] + manifest.get("layers", []):
            self.blobs[layer["digest"]] = layer["size"]
        self.manifests[descriptor["digest"]] = descriptor["mediaType"]

    @property
    def size(self):
        """Bytes of all blobs, each once."""
        return sum(self.blobs.values())

    def facts(self):
        """For the record."""
        return {"name": self.name, "digest": self.digest, "platforms": self.platforms, "tags": len(self.names),
                "manifests": len(self.manifests), "blobs": len(self.blobs), "bytes": self.size}


def blob(layout, digest):
    """Where a layout keeps it."""
    return os.path.join(layout, "blobs", *digest.split(":"))


def is_digest_of(digest, file):
    """Whether the open file's content has that digest."""
    algorithm, encoded = digest.split(":")
    return hashlib.file_digest(file, algorithm).hexdigest() == encoded


def lacks(layout, image):
    """What of `image` is missing in a layout directory, or wrong there; None when all is there and right."""
    for digest in [*image.manifests, *image.blobs]:
        try:
            with open(blob(layout, digest), "rb") as f:
                if not is_digest_of(digest, f):
                    return f"the right bytes of {digest}"
        except FileNotFoundError:
            return digest
    with open(os.path.join(layout, "index.json"), "rb") as f:
        named = {entry["digest"] for entry in json.load(f)["manifests"]}
    return next((f"{digest} in index.json" for digest in image.names.values() if digest not in named), None)
