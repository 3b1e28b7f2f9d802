"""The programs that are compared: where they are, and which version."""

import glob
import hashlib
import json
import os
import re
import shutil
import subprocess

from .process import Failed

HERE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))

PEERS = ("crane", "oras", "skopeo", "regctl")
OPTIONAL = {"regctl"}  # measured where it is there, and not missed where it is not

VERSIONS = {"hoist": ["version"], "crane": ["version"], "oras": ["version"], "skopeo": ["--version"], "regctl": ["version"],
            "docker-registry": ["--version"]}


def find_hoist(target):
    """The newest release binary below a target directory, or None."""
    found = glob.glob(os.path.join(target, "release", "hoist")) + glob.glob(os.path.join(target, "*", "release", "hoist"))
    return max(found, key=os.path.getmtime, default=None)


def find(name, directory):
    """A program in `directory`, else on the PATH, else None."""
    return shutil.which(name, path=directory) or shutil.which(name)


def version(name, path):
    """What the program says of itself; what does not know is known by its hash."""
    told = subprocess.run([path, *VERSIONS[name]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True)
    if found := re.search(r"\d+\.\d+\S*", told.stdout):
        return found[0]
    with open(path, "rb") as f:
        return "sha256:" + hashlib.file_digest(f, "sha256").hexdigest()[:12]


def build(name, target):
    """Builds the program bench/NAME below a target directory; its path."""
    command = ["cargo", "build", "--quiet", "--release", "--manifest-path", os.path.join(HERE, name, "Cargo.toml"),
               "--message-format", "json", "--target-dir", os.path.join(target, "bench", name)]
    built = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    programs = [program for line in built.stdout.splitlines() if (program := json.loads(line).get("executable"))]
    if built.returncode != 0 or not programs:
        raise Failed(f"bench/{name} could not be built")
    return programs[0]
