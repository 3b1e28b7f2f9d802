"""The programs that are compared: where they are, and which version."""

import glob
import hashlib
import os
import re
import shutil
import subprocess

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
