"""The measuring itself: every case, every tool, in turns."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict

from .process import Failed, measure
from .registry import Registry
from .relay import Relay

REPOSITORY, TAG = "bench/image", "latest"


def say(text):
    print(text, file=sys.stderr, flush=True)


class Bench:
    """Programs by name, an image on a source registry, and a directory for all that is written."""

    def __init__(self, programs, image, work):
        self.programs, self.image, self.work = programs, image, work
        self.errors = os.path.join(work, "stderr")
        self.output = os.path.join(work, "stdout")

    def seed(self, registry):
        """Puts the image on a registry."""
        command = [self.programs["skopeo"], "--insecure-policy", "copy", "--quiet", "--all", "--dest-tls-verify=false",
                   f"oci:{self.image.layout}", f"docker://{registry.address}/{REPOSITORY}:{TAG}"]
        with self._environment() as environment:
            if subprocess.run(command, env=environment, stdin=subprocess.DEVNULL).returncode != 0:
                raise Failed("skopeo could not push the image to the source registry")
        if lacking := registry.lacks(self.image, REPOSITORY, TAG):
            raise Failed(f"the image did not arrive at the source: no {lacking}")

    @contextlib.contextmanager
    def _environment(self):
        """A new home each time, so that nothing is remembered from run to run, and the user's settings do not count."""
        home = tempfile.mkdtemp(prefix="home-", dir=self.work)
        temporary = os.path.join(home, "tmp")
        os.mkdir(temporary)
        try:
            # skopeo as root keeps its cache of blob locations in /var/lib, unless it takes itself for rootless.
            yield {"PATH": os.environ["PATH"], "HOME": home, "TMPDIR": temporary, "LC_ALL": "C.UTF-8",
                   "_CONTAINERS_ROOTLESS_UID": str(os.getuid() or 65534)}
        finally:
            shutil.rmtree(home)

    @contextlib.contextmanager
    def _destination(self, case):
        """For a case that copies, an empty registry; what earlier runs wrote is on the disk, and does not slow this one."""
        if not case.copies:
            yield None
            return
        os.sync()
        with Registry(self.programs["docker-registry"], self.work) as registry:
            yield registry

    def _command(self, case, tool, source, destination):
        places = {"source": f"{source}/{REPOSITORY}:{TAG}", "repository": f"{source}/{REPOSITORY}",
                  "destination": f"{destination}/{REPOSITORY}:{TAG}"}
        return [self.programs[tool]] + [word.format(**places) for word in case.commands[tool].split()]

    def _complete(self, destination):
        if destination and (lacking := destination.lacks(self.image, REPOSITORY, TAG)):
            raise Failed(f"the copy lacks {lacking}")

    def counted(self, case, tool, source):
        """One run through relays, not timed, its result checked; it warms the caches too. Returns what was counted."""
        with contextlib.ExitStack() as stack:
            environment = stack.enter_context(self._environment())
            destination = stack.enter_context(self._destination(case))
            relays = {"source": stack.enter_context(Relay(source.address))}
            if destination:
                relays["destination"] = stack.enter_context(Relay(destination.address))
            command = self._command(case, tool, *(relay.address for relay in relays.values()),
                                    *([] if destination else [None]))
            with open(self.output, "wb") as output:
                measure(command, environment, self.errors, stdout=output)
            self._complete(destination)
            if case.check:
                case.check(self.output, self.image)
            return {"output": os.path.getsize(self.output)} | {name: relay.counted() for name, relay in relays.items()}

    def timed(self, case, tool, source):
        """One measured run."""
        with self._environment() as environment, self._destination(case) as destination:
            command = self._command(case, tool, source.address, destination and destination.address)
            sample = measure(command, environment, self.errors, piped=case.piped)
            self._complete(destination)
            return sample

    def case(self, case, source, runs):
        """Measures one case with every tool that is there. A tool that fails is out of the case, with its reason."""
        tools = {tool: {"command": f"{tool} {case.commands[tool]}", "samples": []}
                 for tool in case.commands if tool in self.programs}

        def attempt(tool, action):
            try:
                return action(case, tool, source)
            except Failed as error:
                tools[tool]["failed"] = str(error)
                say(f"{case.name}: {tool} failed: {error}")
                return None

        say(f"{case.name}: {', '.join(tools)}")
        for tool, record in tools.items():
            if (counts := attempt(tool, self.counted)) and case.talks:
                record["counted"] = counts
        for turn in range(runs * case.rounds):
            going = [tool for tool in tools if "failed" not in tools[tool]]
            first = turn % len(going) if going else 0
            # In turns, so that a machine that grows slower does so for all; and nobody is always behind the same one.
            for tool in going[first:] + going[:first]:
                if sample := attempt(tool, self.timed):
                    tools[tool]["samples"].append(asdict(sample))
        return {"title": case.title, "tools": tools}
