"""Peak memory of the verbs that look into an image of 10 GiB in 100,000 files, and into one of a million: the first time, and
once tables are kept."""

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import asdict, dataclass

from comparison.bench import home, say
from comparison.image import Image
from comparison.process import Failed, measure
from comparison.system import LAYERS, NEEDLE

from .operation import REPOSITORY

MIB = 1 << 20
ROOM, EACH = 64 * MIB, 200  # bytes in all, and for each entry of the image's layers
TIMES = ("cold", "warm")
LARGE = [f"/{path}" for _, path, _, _ in LAYERS]
PLACE = "{place}"  # where `extract` writes


@dataclass(frozen=True)
class Verb:
    """A command line, and whether it prints the same both times."""

    line: str
    same: bool = True


VERBS = (
    Verb("toc {latest}", same=False),
    Verb("files {latest}"),
    Verb("files --long --all {latest}"),
    Verb("files --json {latest}"),
    Verb("tree {latest}"),
    Verb("find {latest} --name *.d.ts --size +100k"),
    Verb("find {latest} --path /opt/**/esm/*.js --newer 2020-01-01T00:00:00Z --owner root --long"),
    Verb("find {latest} --type f,l --json"),
    Verb("history {latest}"),
    Verb(f"why {{latest}} {LARGE[2]}"),
    Verb(f"cat {{latest}} {LARGE[2]}"),
    Verb(f"extract {{latest}} {LARGE[0]} {PLACE}"),
    Verb(f"extract {{latest}} /opt/services {PLACE}"),
    Verb(f"grep --fixed-strings {{latest}} {NEEDLE.rsplit(' ', 1)[-1]}"),
    Verb("diff {latest} {changed}"),
    Verb("diff --complete {latest} {changed}"),
    Verb("diff --complete --json {latest} {changed}"),
    Verb("diff --complete --files-only / {latest} {changed}"),
    Verb("diff --complete --json {latest} {lone}"),
)

CROWD = (
    Verb("toc {latest}", same=False),
    Verb("files {latest}"),
    Verb("files --all --json {latest}"),
    Verb("tree {latest}"),
    Verb("find {latest} --name *7.txt --long"),
    Verb("history {latest}"),
    Verb("why {latest} /usr/lib/x86_64/data/d500/a-file-000500.txt"),
    Verb("cat {latest} /usr/lib/x86_64/data/d500/a-file-000500.txt"),
    Verb("grep {latest} line.77."),
    Verb(f"extract {{latest}} / {PLACE}"),
    Verb("diff {latest} {lone}"),
    Verb("diff --json {lone} {latest}"),
)
TWO_CROWDS = Verb("diff {latest} {changed}")


class Looks:
    """Images, by names, and each verb at them; nothing of what it writes stays."""

    def __init__(self, hoist, work, places):
        self.hoist, self.work = hoist, work
        self.output, self.errors, self.place = (os.path.join(work, name) for name in ("stdout", "stderr", "place"))
        self.places = places | {"place": self.place}

    def command(self, line):
        return [self.hoist, *(word.format(**self.places) for word in line.split())]

    def entries(self):
        """How many the layers of the image have."""
        with home(self.work) as environment:
            tables = subprocess.run(self.command("toc --json {latest}"), env=environment, stdin=subprocess.DEVNULL,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if tables.returncode != 0:
            raise Failed(f"no tables of the image: {tables.stderr.strip()[-200:]}")
        return sum(layer["entries"] for layer in json.loads(tables.stdout))

    def once(self, line, environment):
        """The Sample of a run, and a hash of what it printed; None if that is nothing."""
        try:
            with open(self.output, "wb") as output:
                sample = measure(self.command(line), environment, self.errors, stdout=output)
            made = os.path.lexists(self.place) if PLACE in line else os.path.getsize(self.output)
            with open(self.output, "rb") as printed:
                return sample, hashlib.file_digest(printed, "sha256").hexdigest() if made else None
        finally:
            os.remove(self.output)
            if os.path.isdir(self.place):
                shutil.rmtree(self.place)
            elif os.path.lexists(self.place):
                os.remove(self.place)

    def look(self, verb):
        """The record of a verb."""
        say(f"inside: {verb.line}")
        record, printed, wrong = {"line": verb.line}, [], None
        with home(self.work) as environment:
            try:
                for time in TIMES:
                    sample, what = self.once(verb.line, environment)
                    record[time] = asdict(sample)
                    printed.append(what)
            except Failed as error:
                wrong = str(error)
        if not wrong and None in printed:
            wrong = "nothing came of it"
        if not wrong and verb.same and len(set(printed)) > 1:
            wrong = "it prints something else the second time"
        return record | {"wrong": wrong}


def looked(setting):
    """All verbs at the images of a setting."""
    places = {name: f"{setting.source.address}/{REPOSITORY}:{name}" for name in setting.image.names}
    looks = Looks(setting.programs["hoist"], setting.work, places)
    entries = looks.entries()
    return {"bytes": setting.image.size, "entries": entries, "bound": ROOM + EACH * entries,
            "verbs": [looks.look(verb) for verb in VERBS]}


def crowded(hoist, work, layout):
    """All verbs at the images of a layout, of a million entries."""
    image = Image(layout)
    looks = Looks(hoist, work, {name: f"oci:{layout}:{name}" for name in image.names})
    entries = looks.entries()
    # The verbs look at one crowd, the last of them at two.
    records = [looks.look(verb) | {"bound": ROOM + EACH * entries} for verb in CROWD]
    records.append(looks.look(TWO_CROWDS) | {"bound": ROOM + EACH * 2 * entries})
    return {"bytes": image.size, "entries": entries, "verbs": records}


def wrong(verb, record):
    """What is wrong with a verb by its record, or None."""
    bound = verb.get("bound") or record["bound"]
    over = " and ".join(time for time in TIMES if time in verb and verb[time]["peak"] > bound)
    return verb["wrong"] or (f"too much, {over}" if over else None)


def table(record):
    """As Markdown."""
    lines = [f"An image of {record['entries']} entries; at most {ROOM // MIB} MiB and {EACH} bytes for each that is looked at.\n",
             "| | cold | | warm | | |", "|---|---:|---:|---:|---:|---|"]
    for verb in record["verbs"]:
        figures = [f"{verb[time]['wall']:.2f} s | {verb[time]['peak'] / MIB:.1f} MiB" if time in verb else "– | –"
                   for time in TIMES]
        lines.append(f"| `{shown(verb['line'])}` | {' | '.join(figures)} | {wrong(verb, record) or 'within'} |")
    return "\n".join(lines) + "\n"


def shown(line):
    """A command line as one reads it in a table."""
    for name, short in {"latest": "A", "changed": "B", "lone": "C", "place": "DEST"}.items():
        line = line.replace("{" + name + "}", short)
    return line.replace("|", "\\|")


def failures(record):
    """What went wrong, a line each."""
    found = ((shown(verb["line"]), wrong(verb, record)) for verb in record["verbs"])
    return [f"inside: {line}: {problem}" for line, problem in found if problem]
