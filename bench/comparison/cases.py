"""What is measured: the command lines, as one would type them, and how a result is known to be right.

A place in braces is HOST:PORT/REPOSITORY:TAG: `{source}` and `{destination}`; `{repository}` is the source without its tag.
"""

import hashlib
import tarfile
from dataclasses import dataclass

from .process import Failed


@dataclass(frozen=True)
class Case:
    """`commands`: by tool. `rounds`: measured this many times as often as the others. `copies`: to a second, empty
    registry. `piped`: standard output goes through a pipe to a reader. `check(output, image)`: raises Failed when the
    output file is wrong. `talks`: to a registry, so that requests are counted."""

    name: str
    title: str
    commands: dict
    rounds: int = 1
    copies: bool = False
    piped: bool = False
    check: object = None
    talks: bool = True


def is_digest(output, image):
    with open(output) as f:
        if f.read().strip() != image.digest:
            raise Failed("another digest")


def is_manifest(output, image):
    with open(output, "rb") as f:
        if "sha256:" + hashlib.file_digest(f, "sha256").hexdigest() != image.digest:
            raise Failed("other bytes than the manifest's")


def is_tags(output, _):
    with open(output) as f:
        if "latest" not in f.read():
            raise Failed("the tag is missing")


def is_file_system(output, _):
    try:
        with tarfile.open(output, "r:") as tar:
            if not tar.getmembers():
                raise Failed("an empty archive")
    except tarfile.TarError as error:
        raise Failed(f"no tar archive: {error}") from error


CASES = (
    Case("export", "`export` of linux/amd64 through a pipe", {
        "hoist": "export --platform linux/amd64 {source} -",
        "crane": "export --platform linux/amd64 {source} -",
    }, piped=True, check=is_file_system),
    Case("cp", "`cp` of all platforms to an empty registry", {
        "hoist": "cp {source} {destination}",
        "crane": "cp {source} {destination}",
        "oras": "cp --from-plain-http --to-plain-http {source} {destination}",
        "skopeo": "--insecure-policy copy --all --src-tls-verify=false --dest-tls-verify=false "
                  "docker://{source} docker://{destination}",
    }, copies=True),
    Case("digest", "`digest`", {
        "hoist": "digest {source}",
        "crane": "digest {source}",
        "oras": "resolve --plain-http {source}",
    }, rounds=4, check=is_digest),
    Case("manifest", "`manifest`", {
        "hoist": "manifest {source}",
        "crane": "manifest {source}",
        "oras": "manifest fetch --plain-http {source}",
        "skopeo": "--insecure-policy inspect --raw --tls-verify=false docker://{source}",
    }, rounds=4, check=is_manifest),
    Case("ls", "`ls`", {
        "hoist": "ls {repository}",
        "crane": "ls {repository}",
        "oras": "repo tags --plain-http {repository}",
        "skopeo": "list-tags --tls-verify=false docker://{repository}",
    }, rounds=4, check=is_tags),
    Case("version", "`version`: what starting costs", {
        "hoist": "version",
        "crane": "version",
        "oras": "version",
        "skopeo": "--version",
    }, rounds=10, talks=False),
)
