"""The machine that measures: what the numbers depend on, and whether it has other work."""

import os
import platform
import time

WATCH = 2  # seconds; the load of the last minute remembers work that is long over
BUSY = 0.1  # of all processors
MIB = 1 << 20


def facts():
    """A record of it. `load`: of the last minute. `busy`: the share of its processors that others use now, before anything is measured,
    what the host takes from a virtual machine among it."""
    with open("/proc/cpuinfo") as f:
        cpu = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), platform.machine())
    return {"cores": len(os.sched_getaffinity(0)), "cpu": cpu, "kernel": platform.release(), "load": os.getloadavg()[0],
            "busy": _busy(), "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")}


def _ticks():
    """Those without work, and all (proc_stat(5))."""
    with open("/proc/stat") as f:
        ticks = [int(word) for word in f.readline().split()[1:9]]
    return ticks[3], sum(ticks)


def _busy():
    idle, total = _ticks()
    time.sleep(WATCH)
    idle, total = (now - before for now, before in zip(_ticks(), (idle, total)))
    return round(1 - idle / total, 3)


def described(machine):
    """In words; earlier records have the load alone."""
    busy = f", {machine['busy']:.0%} of the processors in use" if "busy" in machine else ""
    return (f"{machine['cores']} cores of {machine['cpu']}, {machine['memory'] / MIB / 1024:.1f} GiB, "
            f"Linux {machine['kernel']}; load at the start {machine['load']:.1f}{busy}.")


def warning(machine):
    """A line about other work, if there was some."""
    is_busy = machine["busy"] > BUSY if "busy" in machine else machine["load"] > machine["cores"] / 2
    return "**The machine was busy with other work: the figures are not to be quoted.**\n" if is_busy else ""
