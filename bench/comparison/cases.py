"""What is measured: the command lines, as one would type them, and how a result is known to be right.

Places in braces: `{source}` and `{destination}` are HOST:PORT/REPOSITORY:TAG, `{layout}` is a directory; a repository is
`{source_repository}`, its registry `{source_host}`, the part between `{folder}`, and so with the destination's. `{cache}`
is a directory of this run alone, `{tar}` an archive of 230 MB, `{small}` one of a few bytes, `{parents}` one of a file and its
directories, `{amd64}` the digest of the image for linux/amd64. A list of command lines is run by a shell, one after the other.
"""

import hashlib
import tarfile
from dataclasses import dataclass

from .link import PLAIN, Line
from .process import Failed


@dataclass(frozen=True)
class Case:
    """`commands`: by tool. `image`: its name. `to`: where it is copied: to a second registry ("registry") or into a
    directory ("layout"), empty unless `filled`, which makes it the second run that is measured; "" when nothing is copied.
    `warm`: the second run is measured, into an empty place again. `changes`: the result is a new image with the tag `changed`; with
    `holds`, the destination has the image from the start, and `before` are command lines of hoist that prepare it. `source`, `destination`: the lines to the registries.
    `rounds`: measured this many times as often as the others, or, where it is 0, once. `piped`: standard output goes
    through a pipe to a reader. `check(output, image)`: raises Failed when the output file is wrong. `talks`:
    to a registry, so that requests are counted. `bare`: what cannot be done without is measured beside (bench/bare)."""

    name: str
    title: str
    commands: dict
    image: str = "nginx"
    to: str = ""
    filled: bool = False
    warm: bool = False
    changes: bool = False
    holds: bool = False
    before: tuple = ()
    source: Line = PLAIN
    destination: Line = PLAIN
    rounds: int = 1
    piped: bool = False
    check: object = None
    talks: bool = True
    bare: bool = False

    @property
    def lines(self):
        """The line to each registry that takes part, by its name."""
        return {"source": self.source} | ({"destination": self.destination} if self.to == "registry" else {})

    def floor(self, image):
        """Seconds that the bytes alone need on these lines, or 0: a blob goes up in one connection, and all that is
        shared goes through one line in each direction."""
        if self.filled or self.warm or self.changes:
            return 0
        upload = max(image.blobs.values()) * 8e-6 / self.destination.rate if self.destination.rate else 0
        shared = max(self.source.shared, self.destination.shared)
        return max(upload, image.size * 8e-6 / shared if shared else 0)


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


COPY = {
    "hoist": "cp {source} {destination}",
    "crane": "cp {source} {destination}",
    "oras": "cp --from-plain-http --to-plain-http {source} {destination}",
    "skopeo": "--insecure-policy copy --all --src-tls-verify=false --dest-tls-verify=false "
              "docker://{source} docker://{destination}",
    "regctl": "--host reg={source_host},tls=disabled --host reg={destination_host},tls=disabled "
              "image copy {source} {destination}",
}

PULL = {
    "hoist": "cp {source} oci:{layout}:latest",
    "crane": "pull --format=oci {source} {layout}",
    "oras": "cp --from-plain-http --to-oci-layout {source} {layout}:latest",
    "skopeo": "--insecure-policy copy --all --src-tls-verify=false docker://{source} oci:{layout}:latest",
    "regctl": "--host reg={source_host},tls=disabled image copy {source} ocidir://{layout}:latest",
}

PULL_CACHED = {
    "hoist": "cp --cache {cache} {source} oci:{layout}:latest",
    "crane": "pull --format=oci --cache_path={cache} {source} {layout}",
}

PULL_ARCHIVE = {
    "hoist": "cp {source} oci-archive:{layout}.tar:latest",
    # It knows no OCI archive; a directory is what comes nearest.
    "crane": "pull --format=oci {source} {layout}",
    "skopeo": "--insecure-policy copy --all --src-tls-verify=false docker://{source} oci-archive:{layout}.tar:latest",
}

ALL_TAGS = {
    "hoist": "cp --all-tags {source_repository} {destination_repository}",
    "crane": "cp --all-tags {source_repository} {destination_repository}",
    "skopeo": "--insecure-policy sync --all --src docker --dest docker --src-tls-verify=false --dest-tls-verify=false "
              "{source_repository} {destination_host}/{folder}",
}

LOOPBACK = (
    Case("export", "`export` of linux/amd64 through a pipe", {
        "hoist": "export --platform linux/amd64 {source} -",
        "crane": "export --platform linux/amd64 {source} -",
    }, piped=True, check=is_file_system),
    Case("cp", "`cp` of all platforms to an empty registry", COPY, to="registry"),
    Case("layout", "Into an OCI layout", PULL, to="layout"),
    Case("archive", "Into an OCI archive; crane: into a layout", PULL_ARCHIVE, to="layout"),
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
        "hoist": "ls {source_repository}",
        "crane": "ls {source_repository}",
        "oras": "repo tags --plain-http {source_repository}",
        "skopeo": "list-tags --tls-verify=false docker://{source_repository}",
    }, rounds=4, check=is_tags),
    Case("version", "`version`: what starting costs", {
        "hoist": "version",
        "crane": "version",
        "oras": "version",
        "skopeo": "--version",
    }, rounds=10, talks=False),
)

NEAR = Line(delay=25, rate=100)
FAR = Line(delay=50, rate=50)
BREAKING = Line(delay=25, rate=100, cut=20)
SHARED = Line(delay=25, shared=400)


def both(name, title, commands, line, **settings):
    """A case with the same line to either registry."""
    return Case(name, title, commands, source=line, destination=line, **settings)


LINKS = (
    both("cp-near", "`cp`, both registries 25 ms and 100 Mbit a connection away", COPY, NEAR, to="registry"),
    both("cp-far", "`cp`, both registries 50 ms and 50 Mbit a connection away", COPY, FAR, to="registry"),
    both("cp-breaking", "`cp`, as the first, and connections break every 20 MiB", COPY, BREAKING, to="registry"),
    both("cp-shared", "`cp`, both registries 25 ms away, 400 Mbit for all connections", COPY, SHARED, to="registry"),
    both("cp-loopback", "`cp`, no link between", COPY, PLAIN, to="registry", bare=True),
    Case("source-near", "`cp`, the source alone 25 ms and 100 Mbit a connection away", COPY, source=NEAR, to="registry"),
    Case("source-far", "`cp`, the source alone 50 ms and 50 Mbit a connection away", COPY, source=FAR, to="registry"),
    Case("pull-near", "Into an OCI layout, 25 ms and 100 Mbit a connection", PULL, source=NEAR, to="layout"),
    Case("pull-warm", "Into an OCI layout, as the last, the second time with a cache", PULL_CACHED, source=NEAR, to="layout",
         warm=True),
    Case("pull-far", "Into an OCI layout, 50 ms and 50 Mbit a connection", PULL, source=FAR, to="layout"),
    Case("pull-breaking", "Into an OCI layout, as the first, and connections break every 20 MiB", PULL, source=BREAKING,
         to="layout"),
    Case("pull-loopback", "Into an OCI layout, no link between", PULL, to="layout"),
    Case("pull-large", "One layer of 2 GiB into an OCI layout, 25 ms and 100 Mbit a connection", PULL, image="large",
         source=NEAR, to="layout", rounds=0),
    both("cp-layers", "`cp` of 200 layers of 100 kB, both registries 25 ms and 100 Mbit a connection away", COPY, NEAR,
         image="layers", to="registry"),
    Case("pull-layers", "200 layers of 100 kB into an OCI layout, 25 ms and 100 Mbit a connection", PULL, image="layers",
         source=NEAR, to="layout"),
    both("again-near", "The same `cp` once more, all is there, both registries 25 ms and 100 Mbit a connection away", COPY, NEAR,
         to="registry", filled=True),
    both("tags-near", "A repository of 500 tags, both registries 25 ms and 100 Mbit a connection away", ALL_TAGS, NEAR,
         image="tags", to="registry", rounds=0),
)

PLATFORMS = ("linux/amd64", "linux/arm/v5", "linux/arm/v7", "linux/arm64/v8", "linux/386", "linux/mips64le", "linux/ppc64le",
             "linux/s390x")


def change(name, title, commands, **settings):
    """A case whose result is a new image."""
    return Case(name, title, commands, to="registry", changes=True, **settings)


MUTATE_ALL = {
    "hoist": "mutate -l a=b {destination} -t {destination_repository}:changed",
    "crane": tuple("mutate --platform %s -l a=b {destination} -t {destination_repository}:changed" % platform
                   for platform in PLATFORMS),
}
# `app` is the image and a layer; it is to stand on `base`, the image and another layer.
BASES = (
    "append --platform all -b {destination} -f {small} -t {destination_repository}:app",
    "append --platform all -b {destination} --add {small}:/base -t {destination_repository}:base",
)
REBASE_ALL = {
    "hoist": "rebase {destination_repository}:app --old_base {destination} --new_base {destination_repository}:base "
             "-t {destination_repository}:changed",
    "crane": tuple("rebase --platform %s {destination_repository}:app --old_base {destination} "
                   "--new_base {destination_repository}:base -t {destination_repository}:changed" % platform
                   for platform in PLATFORMS),
}

CHANGES = (
    change("append-1", "`append` of a tar of 230 MB, gzip level 1", {
        "hoist": "append --compression gzip:1 -f {tar} -t {destination_repository}:changed",
        # It knows no other level.
        "crane": "append -f {tar} -t {destination_repository}:changed",
    }),
    change("append", "The same, at each program's own level", {
        "hoist": "append -f {tar} -t {destination_repository}:changed",
        "crane": "append -f {tar} -t {destination_repository}:changed",
    }),
    change("append-zstd-1", "The same with zstd, level 1; crane: gzip, for it has no other, level 1", {
        "hoist": "append --compression zstd:1 -f {tar} -t {destination_repository}:changed",
        "crane": "append -f {tar} -t {destination_repository}:changed",
    }),
    change("append-zstd", "The same with zstd at its own level, 3", {
        "hoist": "append --compression zstd -f {tar} -t {destination_repository}:changed",
        "crane": "append -f {tar} -t {destination_repository}:changed",
    }),
    change("flatten", "`flatten` of linux/amd64", {
        "hoist": "flatten {source_repository}:amd64 -t {destination_repository}:changed",
        # Given a digest, crane puts no tag on the result.
        "crane": "flatten {source_repository}:amd64 -t {destination_repository}:changed",
    }, rounds=0, before=("tag {source_repository}@{amd64} amd64",)),
    change("mutate", "`mutate` of a label of one image", {
        "hoist": "mutate -l a=b {destination_repository}:changed",
        "crane": "mutate -l a=b {destination_repository}:changed",
    }, holds=True, before=("tag {destination_repository}@{amd64} changed",), rounds=4),
    change("mutate-all", "`mutate` of a label of eight platforms; crane: eight times", MUTATE_ALL, holds=True, rounds=2),
    change("mutate-all-near", "The same, 25 ms and 100 Mbit a connection away", MUTATE_ALL, holds=True, destination=NEAR),
    change("rebase-all", "`rebase` of eight platforms; crane: eight times", REBASE_ALL, holds=True, rounds=2, before=BASES),
    change("rebase-all-near", "The same, 25 ms and 100 Mbit a connection away", REBASE_ALL, holds=True, before=BASES,
           destination=NEAR),
)

AMD64 = "--platform linux/amd64 {source}"


def inside(name, title, hoist, crane, **settings):
    """A case that looks into an image over a line; crane, or a shell after it, reads all of it."""
    return Case(name, title, {"hoist": hoist, "crane": (crane,)}, source=NEAR, **settings)


CONF = "etc/nginx/nginx.conf"
INSIDE = (
    inside("cat-first", "`cat` of a file, for the first time; crane: `export | tar xO`",
           f"cat {AMD64} /{CONF}", f"export {AMD64} - | tar xO {CONF}"),
    # It is not known whether these directories are links before all layers have been asked.
    inside("cat-newest", "`cat` of a file that the newest layers have, for the first time",
           f"cat {AMD64} /usr/share/doc/INDEX", f"export {AMD64} - | tar xO usr/share/doc/INDEX"),
    inside("cat-newest-root", "`cat` of a file in the root that the newest layers have, for the first time",
           f"cat {AMD64} /docker-entrypoint.sh", f"export {AMD64} - | tar xO docker-entrypoint.sh"),
    inside("cat-named", "`cat` of a file of the newest layer, which has its directories too, for the first time",
           "cat --platform linux/amd64 {source_repository}:newest /srv/newest/file",
           "export --platform linux/amd64 {source_repository}:newest - | tar xO srv/newest/file",
           before=("append --platform all -b {source} -f {parents} -t {source_repository}:newest",)),
    inside("cat-again", "`cat` of a file, for the second time",
           f"cat {AMD64} /{CONF}", f"export {AMD64} - | tar xO {CONF}", filled=True),
    inside("files-first", "`files`, for the first time; crane: `export | tar t`",
           f"files {AMD64}", f"export {AMD64} - | tar t"),
    inside("files-again", "`files`, for the second time; crane: `export | tar t`",
           f"files {AMD64}", f"export {AMD64} - | tar t", filled=True),
)

SUITES = {"loopback": LOOPBACK, "links": LINKS, "changes": CHANGES, "inside": INSIDE}
