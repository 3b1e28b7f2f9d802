"""The measuring itself: every case, every tool, in turns."""

import contextlib
import os
import shutil
import sys
import tarfile
import tempfile
from dataclasses import asdict, dataclass

from . import image as layouts
from .link import Link
from .process import Failed, measure
from .registry import Registry

SLOW = 2  # a peer that needs this many times the fastest peer's time is measured once, where a link makes it long


def say(text):
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def home(work):
    """An environment with a new home, so that nothing is remembered from before, and the user's settings do not count."""
    directory = tempfile.mkdtemp(prefix="home-", dir=work)
    temporary = os.path.join(directory, "tmp")
    os.mkdir(temporary)
    try:
        # skopeo as root keeps its cache of blob locations in /var/lib, unless it takes itself for rootless.
        yield {"PATH": os.environ["PATH"], "HOME": directory, "TMPDIR": temporary, "LC_ALL": "C.UTF-8",
               "_CONTAINERS_ROOTLESS_UID": str(os.getuid() or 65534)}
    finally:
        shutil.rmtree(directory)


def since(before, counted):
    """What a link counted since it had counted `before`."""
    if isinstance(counted, dict):
        return {what: since(before.get(what, 0) if before else 0, count) for what, count in counted.items()}
    return counted - before


@dataclass(frozen=True)
class Destination:
    """Where a copy goes: a registry or a directory. `lacks()` says what is missing there or wrong, or None."""

    registry: object = None
    layout: str = ""
    lacks: object = None


def unpacked(layout):
    """A layout; the archive beside it is unpacked if that is what there is."""
    if os.path.exists(layout + ".tar"):
        with tarfile.open(layout + ".tar") as archive:
            archive.extractall(layout, filter="data")
    return layout


def fill_memory(work):
    """The host of a virtual machine takes back memory that nobody uses, and gives it again page by page: 700 MB of files that are
    copied then take half as long again, by chance with one program and not with another. So all find it there: as much as files
    take is given to a file, and is free again."""
    path, piece = os.path.join(work, "filler"), bytes(4 << 20)
    try:
        with open(path, "wb", buffering=0) as filler:
            for _ in range(512):
                filler.write(piece)
    finally:
        os.remove(path)


class Bench:
    """Programs by name, images by name, a directory for all that is written, and archives to append, by name."""

    def __init__(self, programs, images, work, archives):
        self.programs, self.images, self.work = programs, images, work
        self.archives = archives
        self.errors = os.path.join(work, "stderr")
        self.output = os.path.join(work, "stdout")

    def seed(self, registry):
        """Puts the images on a registry."""
        for name, image in self.images.items():
            registry.push(image, repository(name))
            if lacking := registry.lacks(image, repository(name)):
                raise Failed(f"the image {name} did not arrive at the source: no {lacking}")

    @contextlib.contextmanager
    def _destination(self, case):
        """An empty place for a case that copies; what earlier runs wrote is on the disk, and does not slow this one."""
        image = self.images[case.image]
        if case.to:
            os.sync()
        if case.to == "registry":
            with Registry(self.programs["docker-registry"], self.work) as registry:
                if case.filled or case.holds:
                    registry.push(image, repository(case.image))
                    os.sync()
                lacks = ((lambda: registry.lacks_of("changed", repository(case.image))) if case.changes
                         else lambda: registry.lacks(image, repository(case.image)))
                yield Destination(registry=registry, lacks=lacks)
        elif case.to == "layout":
            with tempfile.TemporaryDirectory(prefix="layout-", dir=self.work) as directory:
                layout = os.path.join(directory, "oci")
                yield Destination(layout=layout, lacks=lambda: layouts.lacks(unpacked(layout), image))
        else:
            yield Destination(lacks=lambda: None)

    def _command(self, case, tool, hosts, layout, environment, template=None):
        # What is under `cache` goes with the home.
        places = {"layout": layout, "cache": os.path.join(environment["HOME"], "cache"),
                  "folder": repository(case.image).rsplit("/", 1)[0]} | self.archives
        if amd64 := self.images[case.image].amd64:
            places["amd64"] = amd64
        for side, host in hosts.items():
            places[f"{side}_host"] = host
            places[f"{side}_repository"] = f"{host}/{repository(case.image)}"
            places[side] = f"{host}/{repository(case.image)}:latest"
        template = template or case.commands[tool]
        if isinstance(template, str):
            return [self.programs[tool]] + [word.format(**places) for word in template.split()]
        lines = [" ".join([self.programs[tool], line.format(**places)]) for line in template]
        return ["/bin/sh", "-e", "-c", "\n".join(lines)]

    @contextlib.contextmanager
    def _run(self, case, source, links):
        """What a run needs: an environment, the hosts as the program knows them, links (`links`: to these registries),
        and the destination, whose content is looked at when all went well."""
        with contextlib.ExitStack() as stack:
            environment = stack.enter_context(home(self.work))
            destination = stack.enter_context(self._destination(case))
            registries = {"source": source, "destination": destination.registry}
            hosts = {side: registry.address for side, registry in registries.items() if registry}
            running = {side: stack.enter_context(Link(self.programs["link"], hosts[side], case.lines[side]))
                       for side in links}
            for line in case.before:
                measure(self._command(case, "hoist", hosts, "", environment, line), environment, self.errors)
            yield environment, hosts | {side: link.address for side, link in running.items()}, running, destination
            if lacking := destination.lacks():
                raise Failed(f"the copy lacks {lacking}")

    def counted(self, case, tool, source):
        """One run whose requests are counted on all sides, not timed; it warms the caches too."""
        with self._run(case, source, case.lines) as (environment, hosts, links, destination):
            with open(self.output, "wb") as output:
                command = self._command(case, tool, hosts, destination.layout, environment)
                measure(command, environment, self.errors, stdout=output)
            if case.check:
                case.check(self.output, self.images[case.image])
            return {"output": os.path.getsize(self.output)} | {side: link.counted() for side, link in links.items()}

    def timed(self, case, tool, source):
        """One measured run, for the record; a registry with no line before it is spoken to directly."""
        links = [side for side, line in case.lines.items() if line.options()]
        with self._run(case, source, links) as (environment, hosts, links, destination):
            command = self._command(case, tool, hosts, destination.layout, environment)
            before = {}
            if case.filled or case.warm:
                # The same command a second time: a program may remember what it met.
                measure(command, environment, self.errors, piped=case.piped)
                if case.warm:
                    shutil.rmtree(destination.layout)
                    os.sync()
                before = {side: link.counted() for side, link in links.items()}
            fill_memory(self.work)
            sample = asdict(measure(command, environment, self.errors, piped=case.piped))
            counted = {side: since(before.get(side, {}), link.counted()) for side, link in links.items()}
            return sample | ({"counted": counted} if links else {})

    def bare(self, case, source):
        """One measured run of what a copy cannot do without; it leaves the manifests where they are."""
        image = self.images[case.image]
        os.sync()
        with home(self.work) as environment, Registry(self.programs["docker-registry"], self.work) as destination:
            command = [self.programs["bare"], source.address, destination.address, repository(case.image), *image.blobs]
            fill_memory(self.work)
            sample = asdict(measure(command, environment, self.errors))
            if destination.present(image, repository(case.image)) != set(image.blobs):
                raise Failed("bench/bare has not copied all")
            return sample

    def case(self, case, source, runs):
        """Measures one case with every tool that is there. A tool that fails is out of the case, with its reason."""
        tools = {tool: {"command": shown(tool, case.commands[tool]), "samples": []}
                 for tool in case.commands if tool in self.programs}

        def attempt(tool, action):
            try:
                return action(case, tool, source)
            except Failed as error:
                tools[tool]["failed"] = str(error)
                say(f"{case.name}: {tool} failed: {error}")
                return None

        say(f"{case.name}: {', '.join(tools)}")
        # Where every side has its line, each timed run is counted.
        if not all(line.options() for line in case.lines.values()):
            for tool, record in tools.items():
                if (counts := attempt(tool, self.counted)) and case.talks:
                    record["counted"] = counts
        bare = []
        for turn in range(runs * case.rounds or 1):
            if case.bare:
                try:
                    bare.append(self.bare(case, source))
                except Failed as error:
                    say(f"{case.name}: bench/bare failed: {error}")
            going = [tool for tool in tools if "failed" not in tools[tool] and not (turn and self._slow(case, tool, tools))]
            first = turn % len(going) if going else 0
            # In turns, so that a machine that grows slower does so for all; and nobody is always behind the same one.
            for tool in going[first:] + going[:first]:
                if sample := attempt(tool, self.timed):
                    tools[tool]["samples"].append(sample)
        return {"title": case.title, "tools": tools, "floor": case.floor(self.images[case.image])} | ({"bare": bare} if bare else {})

    @staticmethod
    def _slow(case, tool, tools):
        """Whether one run of a peer says enough: over a link, when it takes far longer than another one."""
        walls = {name: record["samples"][0]["wall"] for name, record in tools.items()
                 if name != "hoist" and record["samples"]}
        linked = any(line.options() for line in case.lines.values())
        return linked and tool in walls and walls[tool] > SLOW * min(walls.values())


def shown(tool, template):
    """A command line, or several, as one would type them."""
    return f"{tool} {template}" if isinstance(template, str) else "; ".join(f"{tool} {line}" for line in template)


def repository(name):
    """Where an image is, on every registry."""
    return f"bench/{name}"
