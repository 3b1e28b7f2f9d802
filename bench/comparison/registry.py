"""A docker-registry of our own, on a free loopback port, with its storage in a directory that goes when it goes."""

import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import time

from .process import Failed

START_LIMIT = 20  # seconds


class Registry:
    """A running registry; a context manager. `address` is HOST:PORT."""

    def __init__(self, program, work):
        self.directory = tempfile.mkdtemp(prefix="registry-", dir=work)
        config = os.path.join(self.directory, "config.yml")
        with open(config, "w") as f:
            # JSON is YAML. Port 0: the registry says in its log which one it got, so no other process can come between.
            json.dump({"version": "0.1", "http": {"addr": "127.0.0.1:0"},
                       "storage": {"filesystem": {"rootdirectory": os.path.join(self.directory, "storage")}}}, f)
        self.log = os.path.join(self.directory, "log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([program, "serve", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={"PATH": os.defpath, "OTEL_TRACES_EXPORTER": "none"})
        try:
            self.address = self._listening()
        except BaseException:
            self.close()
            raise

    def _listening(self):
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline and self.process.poll() is None:
            with open(self.log, errors="replace") as log:
                found = re.search(r"listening on (127\.0\.0\.1:\d+)", log.read())
            if found:
                return found[1]
            time.sleep(0.01)
        with open(self.log, errors="replace") as log:
            raise Failed(f"docker-registry did not start: {log.read()[-500:]}")

    def close(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.directory)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def lacks(self, image, repository, tag):
        """What of `image` is missing under REPOSITORY:TAG: a digest or the tag, or None when all is there."""
        connection = http.client.HTTPConnection(self.address)

        def head(path, accept="*/*"):
            connection.request("HEAD", f"/v2/{repository}/{path}", headers={"Accept": accept})
            answer = connection.getresponse()
            answer.read()
            return answer.headers.get("Docker-Content-Digest") if answer.status == 200 else None

        try:
            if head(f"manifests/{tag}", image.media_type) != image.digest:
                return f"tag {tag}"
            for digest, media_type in image.manifests.items():
                if head(f"manifests/{digest}", media_type) != digest:
                    return f"manifest {digest}"
            for digest in image.blobs:
                if head(f"blobs/{digest}") != digest:
                    return f"blob {digest}"
            return None
        finally:
            connection.close()
