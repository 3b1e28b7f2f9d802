"""Kills at random moments, each followed by the same command."""

import random
import time
from statistics import median

from comparison.bench import say

from .operation import KINDS, Operation

MIB = 1 << 20
CHUNK = 4 * MIB  # what a connection may have to move again
PART = 0.05  # of the bytes, the same
DRAIN = 0.3  # seconds: what was on its way when the command died has arrived


def kills(setting, kind, count, seed):
    """`count` kills of one kind of copy on one kind of registry, for the record."""
    say(f"{setting.name}: {kind}: {count} kills")
    moments = random.Random(f"{seed} {setting.name} {kind}")
    record = {"registry": setting.name, "kind": kind, "bytes": setting.image.size, "rounds": []}
    rounds = record["rounds"]
    with setting.operation(kind) as whole:
        end = whole.run()
        once = whole.moved()
        if wrong := whole.failed(end):
            return record | {"failed": wrong}
    for number in range(count):
        with setting.operation(kind) as operation:
            rounds.append(one(operation, moments.uniform(0, end.wall), once, setting.keeps_sessions))
        if wrong := rounds[-1]["wrong"]:
            say(f"{setting.name}: {kind}: kill {number} after {rounds[-1]['after']:.2f} s: {wrong}")
    return record | {"wall": end.wall, "once": once}


def one(operation, after, once, keeps_sessions):
    """One kill after so many seconds, the same command again, and what came of it. `once`: what an undisturbed copy
    moves, by side."""
    killed = operation.run(until=after)
    time.sleep(DRAIN)
    before, finished = operation.moved(), operation.finished()
    again = operation.run()
    after_all = operation.moved()
    twice = max(max(after_all[side] - once[side], 0) for side in once)
    allowed = PART * operation.image.size + CHUNK * killed.connections
    if operation.registry and not keeps_sessions:
        # What was on its way goes again, and nothing that was finished.
        allowed += max(max(moved - finished, 0) for moved in before.values())
    if not (wrong := operation.failed(again)) and twice > allowed:
        wrong = f"{twice / MIB:.1f} MiB moved twice, {allowed / MIB:.1f} are allowed"
    return {"after": after, "killed": killed.code == -9, "connections": killed.connections, "before": before,
            "finished": finished, "again": again.wall, "resumed": "resuming at" in again.said, "twice": twice,
            "allowed": allowed, "wrong": wrong}


def table(records):
    """All kinds as a Markdown table."""
    lines = ["| registry | copy | killed | right in the end | said where it resumes | moved twice: median | largest |",
             "|---|---|---:|---:|---:|---:|---:|"]
    for record in records:
        rounds = record["rounds"]
        twice = [100 * one["twice"] / record["bytes"] for one in rounds] or [0]
        lines.append(f"| {record['registry']} | {record['kind']} | {sum(one['killed'] for one in rounds)} of {len(rounds)} "
                     f"| {sum(not one['wrong'] for one in rounds)} | {sum(one['resumed'] for one in rounds)} "
                     f"| {median(twice):.1f} % | {max(twice):.1f} % |")
    return "\n".join(lines) + "\n"


def failures(records):
    """What went wrong, a line each."""
    undisturbed = [f"{record['registry']}: {record['kind']}: undisturbed: {record['failed']}"
                   for record in records if "failed" in record]
    return undisturbed + [f"{record['registry']}: {record['kind']}: killed after {one['after']:.2f} s: {one['wrong']}"
                          for record in records for one in record["rounds"] if one["wrong"]]


class Setting:
    """Registries of one kind (`serve()` starts one), one of them with the image as `source`, and the line to them."""

    def __init__(self, programs, work, image, source, serve, line, keeps_sessions):
        self.programs, self.work, self.image, self.source = programs, work, image, source
        self.serve, self.line, self.keeps_sessions = serve, line, keeps_sessions
        self.name = source.name

    def operation(self, kind, line=None, gate=None):
        """A copy to a new, empty place."""
        if kind not in KINDS:
            raise ValueError(kind)
        return Operation(self.programs, self.work, self.image, kind, self.source, self.serve, line or self.line, gate)
