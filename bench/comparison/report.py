"""From the record of a run to tables and targets. Works on the record (the JSON) alone."""

from dataclasses import dataclass
from statistics import median

from .tools import PEERS

MIB = 1 << 20
FASTEST = "the fastest peer"


def measures(record):
    """The figures of one tool in one case: medians; of the peak memory the largest. None when it failed."""
    samples = record["samples"]
    if "failed" in record or not samples:
        return None
    figures = {
        "wall": median(s["wall"] for s in samples),
        "cpu": median(s["user"] + s["system"] for s in samples),
        "peak": max(s["peak"] for s in samples),
    }
    if counted := record.get("counted"):
        sides = [counted[side] for side in ("source", "destination") if side in counted]
        figures["requests"] = sum(side["requests"] for side in sides)
        figures["bytes"] = sum(side["sent"] + side["received"] for side in sides)
    return figures


def fastest_peer(figures):
    """The peer with the least wall time, or None."""
    return min((t for t in PEERS if figures.get(t)), key=lambda t: figures[t]["wall"], default=None)


@dataclass(frozen=True)
class Target:
    """hoist's `measure` in `case` is at most `limit`, in `unit`; times that of `against` where it is set: a tool, or
    FASTEST. `scale`: how much of the measure's own unit one `unit` is."""

    case: str
    measure: str
    limit: float
    against: str = ""
    unit: str = ""
    scale: float = 1
    strict: bool = False

    def judge(self, cases):
        """(the promise, what was found, whether it holds; None when that is not known)"""
        figures = {tool: measures(r) for tool, r in cases.get(self.case, {"tools": {}})["tools"].items()}
        words = f"{self.limit:g}{self.unit and ' ' + self.unit}" + (f" of {self.against}" if self.against else "")
        promise = f"{self.case}: {self.measure} {'below' if self.strict else 'at most'} {words}"
        base = fastest_peer(figures) if self.against == FASTEST else self.against
        if not figures.get("hoist") or (base and not figures.get(base)) or (self.against and not base):
            return promise, "not measured", None
        found = figures["hoist"][self.measure] / (figures[base][self.measure] if base else self.scale)
        shown = f"{found:.3g}" + (f" {self.unit}" if self.unit else "") + (f" of {base}" if base else "")
        holds = found < self.limit if self.strict else found <= self.limit
        if holds and self.against == FASTEST and not all(figures.get(tool) for tool in PEERS):
            return promise, f"{shown}, not all peers measured", None
        return promise, shown, holds


TARGETS = (
    Target("export", "wall", 0.4, against="crane"),
    Target("cp", "wall", 1.05, against=FASTEST),
    Target("cp", "peak", 48, unit="MiB", scale=MIB),
    Target("digest", "requests", 1),
    Target("version", "cpu", 5, unit="ms", scale=1e-3, strict=True),
)


def seconds(value):
    return f"{value:.2f} s" if value >= 0.1 else f"{value * 1e3:.1f} ms"


def size(value):
    return f"{value / 1e6:.1f} MB" if value >= 1e5 else f"{value / 1e3:.1f} kB"


def table(case):
    """One case as a Markdown table."""
    figures = {tool: measures(record) for tool, record in case["tools"].items()}
    fastest = fastest_peer(figures)
    counts = any("requests" in f for f in figures.values() if f)

    def ratio(tool, base):
        return f"{figures[tool]['wall'] / figures[base]['wall']:.2f}" if figures.get(base) else "–"

    lines = [["", "wall", "CPU", "peak memory"] + (["requests", "bytes"] if counts else [])
             + ["wall / fastest peer", "wall / crane"]]
    lines.append(["---"] + ["---:"] * (len(lines[0]) - 1))
    for tool, f in figures.items():
        if f:
            lines.append([tool, seconds(f["wall"]), seconds(f["cpu"]), f"{f['peak'] / MIB:.1f} MiB"]
                         + ([str(f["requests"]), size(f["bytes"])] if counts else [])
                         + [ratio(tool, fastest), ratio(tool, "crane")])
    text = f"### {case['title']}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
    for tool, record in case["tools"].items():
        if "failed" in record:
            text += f"\n    {tool} failed: {record['failed']}\n"
    return text


def facts(record):
    """What was measured where, in words."""
    machine, image = record["machine"], record["image"]
    text = (f"{record['date']}; {machine['cores']} cores of {machine['cpu']}, {machine['memory'] / MIB / 1024:.1f} GiB, "
            f"Linux {machine['kernel']}; load at the start {machine['load']:.1f}. Medians of {record['runs']} "
            f"(`digest`, `manifest`, `ls`: 4 times, `version`: 10 times as many). "
            f"Image: {image['platforms']} platforms, {image['blobs']} blobs, {image['bytes'] / 1e6:.0f} MB.\n\n"
            + ", ".join(f"{tool} {version}" for tool, version in record["versions"].items()) + ".\n")
    if record["missing"]:
        text += f"Not there and left out: {', '.join(record['missing'])}.\n"
    if record["debug"]:
        text += "**A debug build of hoist: these figures say nothing about its speed.**\n"
    if machine["load"] > machine["cores"] / 2:
        text += "**The machine was busy with other work: the figures are not to be quoted.**\n"
    return text


def targets(record):
    """The targets as a Markdown table."""
    words = {True: "holds", False: "**missed**", None: "–"}
    lines = ["| target | found | |", "|---|---|---|"]
    for target in TARGETS:
        promise, found, holds = target.judge(record["cases"])
        lines.append(f"| {promise} | {found} | {words[holds]} |")
    return "### Targets\n\n" + "\n".join(lines) + "\n"


def missed(record):
    """Whether a measured target does not hold."""
    return any(target.judge(record["cases"])[2] is False for target in TARGETS)


def whole(record):
    """Everything, as docs/performance.md has it."""
    return "\n".join([facts(record), *(table(case) for case in record["cases"].values()), targets(record)])
