"""A copy from one place to another, over links, that can be interrupted and looked at."""

import contextlib
import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass

from comparison import image as layouts
from comparison.bench import home
from comparison.link import Link

REPOSITORY = "soak/image"
TIME_LIMIT = 600  # seconds for one command
KINDS = {"registry to registry": ("registry", "registry"), "registry to layout": ("registry", "layout"),
         "layout to registry": ("layout", "registry")}


@dataclass(frozen=True)
class End:
    """How a command ended: its exit code, or minus the signal that ended it; seconds; what it said; when it was killed, how many
    connections were open, at most of the two sides."""

    code: int
    wall: float
    said: str
    connections: int = 0


class Operation:
    """`hoist cp` of an image, of one of KINDS, to a place that is empty at first. A context manager.

    `source`: the registry that has the image. `serve()`: an empty registry, a context manager. `gate(address)`: what
    stands between hoist and the link, so that it sees of requests what hoist sees; a context manager, or None.
    """

    def __init__(self, programs, work, image, kind, source, serve, line, gate=None):
        self.programs, self.work, self.image = programs, work, image
        self.kinds, self.source, self.serve, self.line, self.gate = KINDS[kind], source, serve, line, gate
        self.links, self.gates = {}, {}
        self.registry = None

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            self.directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-", dir=self.work))
            self.layout = os.path.join(self.directory, "oci")
            self.environment = stack.enter_context(home(self.work))
            places = []
            for side, kind in zip(("source", "destination"), self.kinds):
                if kind == "layout":
                    places.append(f"oci:{self.image.layout if side == 'source' else self.layout}:latest")
                    continue
                registry = self.source
                if side == "destination":
                    registry = self.registry = stack.enter_context(self.serve())
                link = self.links[side] = stack.enter_context(Link(self.programs["link"], registry.address, self.line))
                address = link.address
                if self.gate:
                    self.gates[side] = stack.enter_context(self.gate(address))
                    address = self.gates[side].address
                places.append(f"{address}/{REPOSITORY}:latest")
            self.command = [self.programs["hoist"], "cp", *places]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def run(self, until=None, during=None):
        """Runs the command to its End, or kills it (-9) after `until` seconds. `during()`: called once it runs."""
        with open(os.path.join(self.directory, "stderr"), "w+b") as errors:
            connections, begin = 0, time.monotonic()
            process = subprocess.Popen(self.command, env=self.environment, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=errors)
            try:
                if during:
                    during()
                process.wait(TIME_LIMIT if until is None else until)
            except subprocess.TimeoutExpired:
                connections = self.open()
                process.send_signal(signal.SIGKILL)
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
            wall = time.monotonic() - begin
            errors.seek(0)
            return End(process.returncode, wall, errors.read().decode(errors="replace"), connections)

    def moved(self):
        """Bytes of bodies (and heads) so far, by side: from the source, and to the destination."""
        counted = {side: link.counted() for side, link in self.links.items()}
        return {side: counts["received" if side == "source" else "sent"] for side, counts in counted.items()}

    def open(self):
        """Connections that are open, at most of the two sides."""
        return max(link.counted()["open"] for link in self.links.values())

    def finished(self):
        """Bytes of blobs that the destination has, as it says."""
        if self.registry:
            there = self.registry.present(self.image, REPOSITORY)
        else:
            there = {digest for digest in self.image.blobs if os.path.exists(layouts.blob(self.layout, digest))}
        return sum(self.image.blobs[digest] for digest in there)

    def wrong(self):
        """What is wrong at the destination, or None: everything is read and hashed."""
        if self.registry:
            lacking = self.registry.lacks(self.image, REPOSITORY)
            return lacking and f"the copy lacks {lacking}"
        if lacking := layouts.lacks(self.layout, self.image):
            return f"the copy lacks {lacking}"
        wanted = {os.path.basename(self.image.path(digest)) for digest in [*self.image.manifests, *self.image.blobs]}
        found = {os.path.basename(path) for path in glob.glob(os.path.join(self.layout, "blobs", "*", "*"))}
        if left := found - wanted:
            return f"the layout has {', '.join(sorted(left)[:3])} too"
        read = subprocess.run([self.programs["skopeo"], "--insecure-policy", "copy", "--quiet",
                               f"oci:{self.layout}:latest", f"oci:{self.directory}/again:latest"], env=self.environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        shutil.rmtree(os.path.join(self.directory, "again"), ignore_errors=True)
        return f"skopeo cannot read the layout: {read.stderr.strip()[-200:]}" if read.returncode != 0 else None

    def failed(self, end):
        """Why a run that ended so did not do what it should, or None."""
        if end.code != 0:
            return f"exit code {end.code} after {end.wall:.1f} s: {' '.join(end.said.split())[-300:]}"
        return self.wrong()
