"""An image in an OCI layout directory: what the measured programs move."""

import json
import os


class Image:
    """The first entry of a layout's index.json, with everything that it reaches."""

    def __init__(self, layout):
        self.layout = layout
        with open(os.path.join(layout, "index.json"), "rb") as f:
            entry = json.load(f)["manifests"][0]
        self.name = entry.get("annotations", {}).get("org.opencontainers.image.ref.name", "")
        self.digest = entry["digest"]
        self.media_type = entry["mediaType"]
        self.manifests = {}
        self.blobs = {}
        self._walk(entry)
        self.platforms = len(self.manifests) - 1 or 1

    def _walk(self, descriptor):
        self.manifests[descriptor["digest"]] = descriptor["mediaType"]
        algorithm, encoded = descriptor["digest"].split(":")
        with open(os.path.join(self.layout, "blobs", algorithm, encoded), "rb") as f:
            manifest = json.load(f)
        for child in manifest.get("manifests", []):
            self._walk(child)
        for blob in [manifest[key] for key in ["config"] if key in manifest] + manifest.get("layers", []):
            self.blobs[blob["digest"]] = blob["size"]

    @property
    def size(self):
        """Bytes of all blobs, each once."""
        return sum(self.blobs.values())

    def facts(self):
        """For the record."""
        return {"name": self.name, "digest": self.digest, "platforms": self.platforms,
                "blobs": len(self.blobs), "bytes": self.size}
