"""The link of bench/link: what it can be like, and one that runs before a registry."""

import json
import subprocess
from dataclasses import dataclass

from .process import Failed


@dataclass(frozen=True)
class Line:
    """`delay`: milliseconds each way. `rate`: Mbit/s of each connection and direction. `shared`: of all connections of a
    direction together. `cut`: a connection breaks after so many MiB. What is not set costs nothing."""

    delay: float = 0
    rate: float = 0
    shared: float = 0
    cut: float = 0

    def options(self):
        return [word for name in ("delay", "rate", "shared", "cut") if (value := getattr(self, name))
                for word in (f"--{name}", str(value))]


PLAIN = Line()  # counts, and changes nothing


def check(program, line):
    """Raises Failed unless the link is as slow as it is said to be."""
    if line.options() and subprocess.run([program, "--check", *line.options()], stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL).returncode != 0:
        raise Failed(f"this machine cannot be a link of {' '.join(line.options())}")


class Link:
    """A running link to `upstream` (HOST:PORT); a context manager. `address` is where it listens."""

    def __init__(self, program, upstream, line=PLAIN):
        self._process = subprocess.Popen([program, upstream, *line.options()], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True)
        self.address = self._process.stdout.readline().split()[-1]

    def _order(self, order):
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()

    def counted(self):
        """Requests by method, `sent` and `received` bytes as the client sees them, connections."""
        self._order("count")
        return json.loads(self._process.stdout.readline())

    def silence(self, seconds):
        """Nothing passes for so long."""
        self._order(f"silence {seconds}")

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
