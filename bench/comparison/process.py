"""One program, run and measured."""

import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
TIME_LIMIT = 1800  # seconds; what takes longer hangs

# A child's ru_maxrss begins with the memory of the process it was forked from, and this Python has more than some of
# the programs measured here. So a small shell forks, tells the process and leaves; the child becomes ours, and at our
# word it becomes the program.
LAUNCHER = 'exec 3<&0; { read -r go <&3 && exec "$@" 3<&- < /dev/null; } & echo $! >&0'


class Failed(Exception):
    """A program ended with an error, or its result was wrong."""


@dataclass(frozen=True)
class Sample:
    """What one run took: seconds, and bytes of peak memory."""

    wall: float
    user: float
    system: float
    peak: int


def adopt_orphans():
    """Makes this process the parent of what launched programs leave behind; `measure` needs it."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot adopt the processes to be measured")


def measure(command, environment, stderr, stdout=subprocess.DEVNULL, piped=False):
    """Runs `command` and returns its Sample. With `piped`, standard output is a pipe to `cat > /dev/null`, whose end
    belongs to the wall time, and whose processor time and memory do not count. `stderr` is a path."""
    reader = None
    ours, theirs = socket.socketpair()
    with ours, theirs, open(stderr, "wb") as errors:
        if piped:
            reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            stdout = reader.stdin
        launcher = subprocess.Popen(["/bin/sh", "-c", LAUNCHER, "sh", *command], env=environment, stdin=theirs,
                                    stdout=stdout, stderr=errors)
        theirs.close()
        if reader:
            reader.stdin.close()
        pid = int(ours.makefile().readline())
        launcher.wait()
        begin = time.perf_counter()
        ours.sendall(b"\n")
        watchdog = threading.Timer(TIME_LIMIT, os.kill, (pid, signal.SIGKILL))
        watchdog.start()
        try:
            _, status, usage = os.wait4(pid, 0)
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        finally:
            watchdog.cancel()
        if reader:
            reader.wait()
        wall = time.perf_counter() - begin
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        with open(stderr, errors="replace") as said:
            words = " ".join(said.read().split())[-300:]
        raise Failed(f"exit code {code}: {words}")
    return Sample(wall, usage.ru_utime, usage.ru_stime, usage.ru_maxrss * 1024)
