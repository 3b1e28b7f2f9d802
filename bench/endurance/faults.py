"""Links that break or fall silent, registries that refuse."""

import time
from dataclasses import dataclass, replace

from comparison.bench import say

from .gate import Gate

SLOTS = 6
REFUSED = 0.05  # of the requests, where there are slots


@dataclass(frozen=True)
class Fault:
    """`kinds`: of copies it happens to. `cut`: every so many MiB. `silence`: for so many seconds, after the first.
    `gate`: what stands before the registries. `image`: another than usual. `judge(record)`: what is wrong, or None."""

    name: str
    kinds: tuple
    cut: float = 0
    silence: float = 0
    gate: object = None
    image: str = "mixed"
    judge: object = None


def settles(record):
    """With slots: no more requests than they take, and few that find none."""
    gate = record["gates"]["source"]
    part = gate["refused"] / max(gate["requests"], 1)
    if gate["settled"] < SLOTS - 1 or part >= REFUSED:
        return f"{gate['settled']:.1f} at once, {100 * part:.1f} % refused"
    return None


ALL = ("registry to registry", "registry to layout", "layout to registry")

FAULTS = (
    Fault("connections break every 5 MiB", ALL, cut=5),
    Fault("a minute of silence", ALL, silence=60),
    Fault("a third of the requests refused, `Retry-After: 1`", ALL,
          gate=lambda address: Gate(address, refused_part=1 / 3, retry_after=1)),
    Fault(f"{SLOTS} requests at once, the others refused", ("registry to layout",), image="alike",
          gate=lambda address: Gate(address, slots=SLOTS), judge=settles),
)


def meet(fault, setting, kind):
    """One copy that meets a fault, for the record."""
    say(f"{setting.name}: {kind}: {fault.name}")
    with setting.operation(kind, replace(setting.line, cut=fault.cut), fault.gate) as operation:
        def silence():
            time.sleep(1)
            for link in operation.links.values():
                link.silence(fault.silence)

        end = operation.run(during=silence if fault.silence else None)
        moved = operation.moved()
        record = {"fault": fault.name, "registry": setting.name, "kind": kind, "wall": end.wall, "code": end.code,
                  "twice": max(moved.values()) - setting.image.size, "bytes": setting.image.size,
                  "links": {side: link.counted() for side, link in operation.links.items()},
                  "gates": {side: gate.counted() for side, gate in operation.gates.items()}}
        wrong = operation.failed(end) or (fault.judge and fault.judge(record))
        if wrong:
            say(f"{setting.name}: {kind}: {fault.name}: {wrong}")
        return record | {"wrong": wrong}


def table(records):
    """All faults as a Markdown table."""
    lines = ["| fault | registry | copy | | wall | moved twice | broken | refused | served at once |",
             "|---|---|---|---|---:|---:|---:|---:|---:|"]
    for record in records:
        gates, links = record["gates"].values(), record["links"].values()
        requests = sum(gate["requests"] for gate in gates)
        refused = f"{100 * sum(gate['refused'] for gate in gates) / max(requests, 1):.1f} % of {requests}" if gates else "–"
        settled = f"{max(gate['settled'] for gate in gates):.1f}" if gates else "–"
        lines.append(f"| {record['fault']} | {record['registry']} | {record['kind']} "
                     f"| {'**' + record['wrong'] + '**' if record['wrong'] else 'right'} | {record['wall']:.1f} s "
                     f"| {100 * max(record['twice'], 0) / record['bytes']:.1f} % | {sum(link['cut'] for link in links)} "
                     f"| {refused} | {settled} |")
    return "\n".join(lines) + "\n"


def failures(records):
    """What went wrong, a line each."""
    return [f"{record['registry']}: {record['kind']}: {record['fault']}: {record['wrong']}"
            for record in records if record["wrong"]]
