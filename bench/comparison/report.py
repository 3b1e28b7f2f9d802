"""From the record of a run to tables and targets. Works on the record (the JSON) alone."""

from dataclasses import dataclass
from statistics import median

from . import machine
from .tools import OPTIONAL, PEERS

MIB = 1 << 20
FASTEST = "the fastest peer"
FLOOR = "what the lines need"
BARE = "reading, hashing and writing alone"


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
    runs = [record["counted"]] if "counted" in record else [s["counted"] for s in samples if "counted" in s]
    if runs:
        runs = [[run[side] for side in ("source", "destination") if side in run] for run in runs]
        figures["requests"] = median(sum(side["requests"] for side in sides) for sides in runs)
        figures["bytes"] = median(sum(side["sent"] + side["received"] for side in sides) for sides in runs)
    return figures


def bare(case):
    """The figures of what cannot be done without, in a case where that was measured, else None."""
    return measures({"samples": case.get("bare", [])})


def fastest_peer(figures):
    """The peer with the least wall time, or None."""
    return min((t for t in PEERS if figures.get(t)), key=lambda t: figures[t]["wall"], default=None)


@dataclass(frozen=True)
class Target:
    """hoist's `measure` in `case` is at most `limit`, in `unit`; times that of `against` where it is set: a tool,
    FASTEST, FLOOR, or BARE; in the case `beside` where that is set. `scale`: how much of the measure's own unit one `unit` is."""

    case: str
    measure: str
    limit: float
    against: str = ""
    unit: str = ""
    scale: float = 1
    strict: bool = False
    beside: str = ""

    def judge(self, record):
        """(the promise, what was found, whether it holds; None when that is not known)"""
        case = record["cases"].get(self.case, {"tools": {}})
        figures = {tool: measures(r) for tool, r in case["tools"].items()}
        words = f"{self.limit:.3g}{self.unit and ' ' + self.unit}" + (f" of {self.against}" if self.against else "")
        words += f" in {self.beside}" if self.beside else ""
        promise = f"{self.case}: {self.measure} {'below' if self.strict else 'at most'} {words}"
        name = fastest_peer(figures) if self.against == FASTEST else self.against
        base = self.scale
        if self.beside:
            other = record["cases"].get(self.beside, {"tools": {}})["tools"].get(name)
            base = ((measures(other) if other else None) or {}).get(self.measure)
        elif self.against == FLOOR:
            base = case.get("floor")
        elif self.against == BARE:
            base = (bare(case) or {}).get(self.measure)
        elif self.against:
            base = (figures.get(name) or {}).get(self.measure)
        if not figures.get("hoist") or not base:
            return promise, "not measured", None
        found = figures["hoist"][self.measure] / base
        shown = f"{found:.3g}" + (f" {self.unit}" if self.unit else "") + (f" of {name}" if name else "")
        holds = found < self.limit if self.strict else found <= self.limit
        unknown = set(record["missing"]) - OPTIONAL or not all(figures.values())
        if holds and self.against == FASTEST and unknown:
            return promise, f"{shown}, not all peers measured", None
        return promise, shown, holds


TARGETS = (
    Target("export", "wall", 0.4, against="crane"),
    Target("cp", "wall", 1.05, against=FASTEST),
    Target("layout", "wall", 0.9, against="crane"),
    Target("archive", "wall", 0.9, against="crane"),
    Target("cp", "peak", 48, unit="MiB", scale=MIB),
    Target("digest", "requests", 1),
    Target("version", "cpu", 5, unit="ms", scale=1e-3, strict=True),
    Target("cp-near", "wall", 0.55, against=FASTEST),
    Target("cp-far", "wall", 0.55, against=FASTEST),
    Target("source-near", "wall", 0.35, against=FASTEST),
    Target("source-far", "wall", 0.35, against=FASTEST),
    Target("pull-near", "wall", 0.15, against=FASTEST),
    Target("pull-far", "wall", 0.15, against=FASTEST),
    Target("pull-warm", "wall", 0.2, against="hoist", beside="pull-near"),
    Target("pull-large", "wall", 0.2, against=FASTEST),
    Target("cp-shared", "wall", 1.05, against=FLOOR),
    Target("cp-loopback", "wall", 1.05, against=FASTEST),
    Target("cp-loopback", "cpu", 0.8, against="crane"),
    Target("cp-loopback", "cpu", 1.1, against=BARE),
    Target("pull-loopback", "wall", 0.9, against="crane"),
    Target("append-1", "wall", 0.6, against="crane"),
    Target("append-zstd-1", "wall", 1 / 3, against="crane"),
    Target("append-zstd", "wall", 1 / 3, against="crane"),
    Target("flatten", "wall", 5, unit="s"),
    Target("mutate", "requests", 5),
    *(Target(case, "wall", 0.25, against="crane")
      for case in ("mutate-all", "mutate-all-near", "rebase-all", "rebase-all-near")),
    *(Target(case, "peak", 48, unit="MiB", scale=MIB)
      for case in ("append-1", "append", "append-zstd-1", "append-zstd", "flatten", "mutate-all", "mutate-all-near", "rebase-all",
                   "rebase-all-near")),
    Target("cat-again", "wall", 0.5, unit="s"),
    # 2 % of the compressed image for linux/amd64.
    Target("cat-again", "bytes", 2.15, unit="MB", scale=1e6),
    Target("cat-first", "wall", 1, against="crane"),
    Target("files-first", "wall", 1, against="crane"),
    Target("files-again", "bytes", 0.02, unit="MB", scale=1e6),
    *(Target(case, "bytes", 0.02, unit="MB", scale=1e6) for case in ("cat-newest", "cat-newest-root", "cat-named")),
    *(Target(case, "peak", 64, unit="MiB", scale=MIB) for case in ("cat-first", "cat-again", "files-first", "files-again")),
    Target("again-near", "wall", 1 / 3, against="crane"),
    Target("again-near", "requests", 2),
    Target("tags-near", "wall", 0.25, against="crane"),
    *(Target(case, "peak", 64, unit="MiB", scale=MIB) for case in ("cp-near", "cp-far", "source-near", "source-far")),
    *(Target(case, "peak", 48, unit="MiB", scale=MIB)
      for case in ("cp-loopback", "pull-near", "pull-far", "pull-large", "pull-loopback", "cp-layers", "tags-near")),
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
                         + ([f"{f['requests']:g}", size(f["bytes"])] if counts else [])
                         + [ratio(tool, fastest), ratio(tool, "crane")])
    text = f"### {case['title']}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
    if (floor := case.get("floor", 0)) >= 1 and figures.get("hoist"):
        text += f"\nThe bytes alone need {seconds(floor)} on these lines; hoist took {figures['hoist']['wall'] / floor:.2f} of it.\n"
    if alone := bare(case):
        shares = [f"{tool} {f['cpu'] / alone['cpu']:.2f} of it" for tool, f in figures.items() if f]
        text += (f"\nReading, hashing and writing the blobs alone (`bench/bare`) needs {seconds(alone['cpu'])} of CPU and "
                 f"{seconds(alone['wall'])}; of the CPU {', '.join(shares)}.\n")
    for tool, record in case["tools"].items():
        if "failed" in record:
            text += f"\n    {tool} failed: {record['failed']}\n"
    return text


def facts(record):
    """What was measured where, in words."""
    images = record.get("images") or {"nginx": record["image"]}
    text = (f"{record['date']}; {machine.described(record['machine'])} Medians of {record['runs']}{MORE[suite(record)]}. "
            + " ".join(described(name, image) for name, image in images.items()) + "\n\n"
            + ", ".join(f"{tool} {version}" for tool, version in record["versions"].items()) + ".\n")
    if record["missing"]:
        text += f"Not there and left out: {', '.join(record['missing'])}.\n"
    if record["debug"]:
        text += "**A debug build of hoist: these figures say nothing about its speed.**\n"
    return text + machine.warning(record["machine"])


MORE = {"loopback": " (`digest`, `manifest`, `ls`: 4 times, `version`: 10 times as many)",
        "changes": " (`flatten` once; `mutate` 4 times, of all platforms without a link 2 times as many)",
        "inside": "",
        "links": " (2 GiB, 500 tags, and a peer that needs twice the time of the fastest: once)"}


def suite(record):
    """Which suite it is; records that do not say are of the first."""
    return record.get("suite", "loopback")


def described(name, image):
    if name == "nginx":
        return f"Image: {image['platforms']} platforms, {image['blobs']} blobs, {image['bytes'] / 1e6:.0f} MB."
    return f"`{name}`: {image['tags']} tags, {image['blobs']} blobs, {image['bytes'] / 1e6:.0f} MB."


def judged(record):
    """Every target of a case that is in the record: (the promise, what was found, whether it holds)."""
    return [target.judge(record) for target in TARGETS if target.case in record["cases"]]


def targets(record):
    """The targets as a Markdown table."""
    words = {True: "holds", False: "**missed**", None: "–"}
    lines = ["| target | found | |", "|---|---|---|"]
    lines += [f"| {promise} | {found} | {words[holds]} |" for promise, found, holds in judged(record)]
    return "### Targets\n\n" + "\n".join(lines) + "\n"


def missed(record):
    """Whether a measured target does not hold."""
    return any(holds is False for _, _, holds in judged(record))


def whole(record):
    """Everything, as docs/performance.md has it."""
    return "\n".join([facts(record), *(table(case) for case in record["cases"].values()), targets(record)])
