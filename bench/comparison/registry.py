"""A registry of our own, on a free loopback port, with its storage in a directory that goes when it goes."""

import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import time

from .image import is_digest_of
from .process import Failed

MANIFESTS = ", ".join(f"application/vnd.{kind}+json" for kind in (
    "oci.image.index.v1", "oci.image.manifest.v1", "docker.distribution.manifest.list.v2", "docker.distribution.manifest.v2"))

START_LIMIT = 20  # seconds


class Registry:
    """A running docker-registry; a context manager. `address` is HOST:PORT."""

    name = "docker-registry"
    listening = r"listening on (127\.0\.0\.1:\d+)"

    def __init__(self, program, work):
        self.directory = tempfile.mkdtemp(prefix="registry-", dir=work)
        self.log = os.path.join(self.directory, "log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self._command(program), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={"PATH": os.defpath, "OTEL_TRACES_EXPORTER": "none"})
        try:
            self.address = self._listening()
        except BaseException:
            self.close()
            raise

    def _command(self, program):
        config = os.path.join(self.directory, "config.yml")
        with open(config, "w") as f:
            # JSON is YAML. Port 0: the registry says in its log which one it got, so no other process can come between.
            json.dump({"version": "0.1", "http": {"addr": "127.0.0.1:0"},
                       "storage": {"filesystem": {"rootdirectory": os.path.join(self.directory, "storage")}}}, f)
        return [program, "serve", config]

    def _listening(self):
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline and self.process.poll() is None:
            with open(self.log, errors="replace") as log:
                found = re.search(self.listening, log.read())
            if found:
                return "127.0.0.1:" + found[1].rsplit(":", 1)[-1]
            time.sleep(0.01)
        with open(self.log, errors="replace") as log:
            raise Failed(f"{self.name} did not start: {log.read()[-500:]}")

    def close(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.directory)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def push(self, image, repository):
        """Puts all of an image there, under its names."""
        connection = http.client.HTTPConnection(self.address)

        def put(method, place, body=None, **headers):
            connection.request(method, place, body, headers)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status >= 300:
                raise Failed(f"{self.name} does not take the image: {answer.status} {said[:200]!r}")
            return answer.headers.get("Location", "")

        try:
            for digest, size in image.blobs.items():
                place = put("POST", f"/v2/{repository}/blobs/uploads/")
                with open(image.path(digest), "rb") as f:
                    put("PUT", place + ("&" if "?" in place else "?") + "digest=" + digest, f,
                        **{"Content-Length": str(size), "Content-Type": "application/octet-stream"})
            for digest, media_type in image.manifests.items():
                with open(image.path(digest), "rb") as f:
                    manifest = f.read()
                for name in [tag for tag, named in image.names.items() if named == digest] or [digest]:
                    put("PUT", f"/v2/{repository}/manifests/{name}", manifest, **{"Content-Type": media_type})
        finally:
            connection.close()

    def lacks(self, image, repository):
        """What of `image` is missing there, or wrong: all is read and hashed. None when all is there and right."""
        connection = http.client.HTTPConnection(self.address)

        def right(path, digest, accept="*/*"):
            connection.request("GET", f"/v2/{repository}/{path}", headers={"Accept": accept})
            answer = connection.getresponse()
            good = answer.status == 200 and is_digest_of(digest, answer)
            answer.read()
            return good

        try:
            for tag, digest in image.names.items():
                if not right(f"manifests/{tag}", digest, image.manifests[digest]):
                    return f"tag {tag}"
            for digest, media_type in image.manifests.items():
                if not right(f"manifests/{digest}", digest, media_type):
                    return f"manifest {digest}"
            return next((f"blob {digest}" for digest in image.blobs if not right(f"blobs/{digest}", digest)), None)
        finally:
            connection.close()

    def lacks_of(self, tag, repository):
        """What is missing of whatever a tag names: every blob is asked for. None when all is there."""
        connection = http.client.HTTPConnection(self.address)

        def ask(method, path):
            connection.request(method, f"/v2/{repository}/{path}", headers={"Accept": MANIFESTS})
            answer = connection.getresponse()
            return answer.read() if answer.status == 200 else None

        try:
            names = [tag]
            while names:
                name = names.pop()
                if (text := ask("GET", f"manifests/{name}")) is None:
                    return f"manifest {name}"
                manifest = json.loads(text)
                names += [child["digest"] for child in manifest.get("manifests", [])]
                blobs = [manifest[key] for key in ["config"] if key in manifest] + manifest.get("layers", [])
                for digest in [blob["digest"] for blob in blobs]:
                    if ask("HEAD", f"blobs/{digest}") is None:
                        return f"blob {digest}"
            return None
        finally:
            connection.close()

    def present(self, image, repository):
        """Which of the image's blobs are there, by what the registry says."""
        connection = http.client.HTTPConnection(self.address)

        def there(digest):
            connection.request("HEAD", f"/v2/{repository}/blobs/{digest}")
            answer = connection.getresponse()
            answer.read()
            return answer.status == 200

        try:
            return {digest for digest in image.blobs if there(digest)}
        finally:
            connection.close()


class Served(Registry):
    """The registry that `hoist registry serve` is."""

    name = "hoist registry serve"
    listening = r"serving on port (\d+)"

    def _command(self, program):
        return [program, "registry", "serve", "--address", "127.0.0.1:0", "--disk", os.path.join(self.directory, "storage")]
