"""Peak memory with one layer of 10 GiB, beside that with a small image: it must not grow."""

import os

from comparison.bench import say
from comparison.link import PLAIN
from comparison.process import measure

MIB = 1 << 20
LIMITS = {"registry to registry": 64 * MIB, "registry to layout": 48 * MIB}
GROWTH = 12 * MIB  # what the buffers of more connections need: a large layer is read over more of them


def compare(small, huge):
    """Both images, each kind of copy; `small`, `huge`: settings."""
    records = []
    for kind, limit in LIMITS.items():
        peaks = {}
        for name, setting in {"small": small, "huge": huge}.items():
            say(f"memory: {kind}: {setting.image.size / MIB:.0f} MiB")
            with setting.operation(kind, PLAIN) as operation:
                sample = measure(operation.command, operation.environment, os.path.join(operation.directory, "stderr"))
                peaks[name] = sample.peak
                wrong = operation.wrong()
        if not wrong and (peaks["huge"] > limit or peaks["huge"] > GROWTH + peaks["small"]):
            wrong = f"{peaks['huge'] / MIB:.0f} MiB, and {peaks['small'] / MIB:.0f} MiB with a small image"
        records.append({"kind": kind, "peaks": peaks, "wrong": wrong})
    return records


def table(records):
    """As Markdown."""
    lines = ["| copy | peak memory, small image | one layer of 10 GiB | |", "|---|---:|---:|---|"]
    for record in records:
        small, huge = (f"{record['peaks'][name] / MIB:.1f} MiB" for name in ("small", "huge"))
        lines.append(f"| {record['kind']} | {small} | {huge} | {record['wrong'] or 'flat'} |")
    return "\n".join(lines) + "\n"


def failures(records):
    """What went wrong, a line each."""
    return [f"memory: {record['kind']}: {record['wrong']}" for record in records if record["wrong"]]
