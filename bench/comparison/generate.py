"""Images of a certain shape, as OCI layouts, always with the same bytes; most have layers that cannot be compressed."""

import hashlib
import io
import itertools
import json
import os
import random
import shutil
import tarfile
import zlib

from . import system

MIB = 1 << 20
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
PLAIN = "application/vnd.oci.image.layer.v1.tar"
LAYER = PLAIN + "+gzip"


class Layout:
    """One that is being written."""

    def __init__(self, path):
        self.path = path
        self.entries = []
        os.makedirs(os.path.join(path, "blobs", "sha256"))

    def put(self, data, media_type):
        """A blob; its descriptor."""
        digest = hashlib.sha256(data).hexdigest()
        with open(os.path.join(self.path, "blobs", "sha256", digest), "wb") as f:
            f.write(data)
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data)}

    def layer(self, seed, size):
        """A layer with one file of `size` random bytes: its descriptor and its diff ID."""
        numbers = random.Random(seed)
        member = tarfile.TarInfo(f"data/{seed}")
        member.size = size
        tail = -size % 512 + 1024  # the padding of the last block, and the end of the archive (two empty blocks)
        pieces = (numbers.randbytes(min(MIB, size - at)) for at in range(0, size, MIB))
        return self.packed(itertools.chain([member.tobuf()], pieces, [bytes(tail)]), 0)

    def packed(self, archive, level):
        """A layer of an archive that comes in pieces, compressed so well, or not if that is None: its descriptor and its diff ID."""
        plain, packed = hashlib.sha256(), hashlib.sha256()
        gzip = None if level is None else zlib.compressobj(level, wbits=31)
        file = os.path.join(self.path, "layer")
        with open(file, "wb") as f:
            def write(data):
                packed.update(data)
                f.write(data)

            for piece in archive:
                plain.update(piece)
                write(gzip.compress(piece) if gzip else piece)
            write(gzip.flush() if gzip else b"")
            length = f.tell()
        os.rename(file, os.path.join(self.path, "blobs", "sha256", packed.hexdigest()))
        return ({"mediaType": LAYER if gzip else PLAIN, "digest": "sha256:" + packed.hexdigest(), "size": length},
                "sha256:" + plain.hexdigest())

    def image(self, name, layers):
        """An image of these layers, under that name."""
        config = {"architecture": "amd64", "os": "linux", "config": {"Labels": {"name": name}},
                  "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]}}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": self.put(json.dumps(config).encode(), CONFIG),
                    "layers": [descriptor for descriptor, _ in layers]}
        self.entries.append(self.put(json.dumps(manifest).encode(), MANIFEST)
                            | {"annotations": {"org.opencontainers.image.ref.name": name}})

    def finish(self):
        """Without it, the directory is no layout."""
        for name, content in {"oci-layout": {"imageLayoutVersion": "1.0.0"},
                              "index.json": {"schemaVersion": 2, "manifests": self.entries}}.items():
            with open(os.path.join(self.path, name), "w") as f:
                json.dump(content, f)


def of_sizes(sizes):
    """Makes one image with a layer of each size."""
    def make(layout):
        layout.image("latest", [layout.layer(f"{number}-of-{len(sizes)}", size) for number, size in enumerate(sizes)])
    return make


def tags(count):
    """Makes as many images, each with a layer of its own on one that all share."""
    def make(layout):
        base = layout.layer("base", MIB)
        for number in range(count):
            layout.image(f"v{number}", [base, layout.layer(f"tag-{number}", 20_000)])
    return make


def files(layout):
    """Makes images of many files: `latest`; `changed`, whose newest layer is another; `lone`, which has only that one."""
    *below, newest, other = [layout.packed(layer, 1) for layer in system.layers()]
    layout.image("latest", [*below, newest])
    layout.image("changed", [*below, other])
    layout.image("lone", [other])


def crowd(layout):
    """Makes images of one plain layer: `latest`, of a million entries; `changed`, of which every other file has other bytes, and as
    many; `lone`, which has one file."""
    shapes = {"latest": (1000, 999, False), "changed": (1000, 999, True), "lone": (1, 1, False)}
    for name, shape in shapes.items():
        layout.image(name, [layout.packed(system.crowd(*shape), None)])


SHAPES = {
    "large": of_sizes([2048 * MIB]),
    "layers": of_sizes([100_000] * 200),
    "tags": tags(500),
    # bench/soak: many sizes, so that at any moment some blobs are finished, some on their way, and some to come.
    "mixed": of_sizes([64 * MIB, 32 * MIB, 32 * MIB, *[12 * MIB] * 6, *[3 * MIB] * 8, *[200_000] * 8]),
    "alike": of_sizes([3 * MIB] * 240),
    "huge": of_sizes([10 * 1024 * MIB]),
    "files": files,
    "crowd": crowd,
}


def archives(directory):
    """Archives to append, below a directory, made unless they are there: their paths by name. The large one has what this
    machine has in /usr/lib and /usr/share, up to 230 MB: programs, data, text."""
    paths = {name: os.path.join(directory, f"{name}.tar") for name in ("tar", "small", "parents")}
    for name, path in paths.items():
        if os.path.exists(path):
            continue
        with tarfile.open(path + ".partial", "w") as tar:
            room = 230_000_000 if name == "tar" else 0
            for root, folders, files in itertools.chain(*map(os.walk, ["/usr/lib", "/usr/share"] if room else [])):
                folders.sort()
                for file in sorted(files):
                    found = os.path.join(root, file)
                    if os.path.isfile(found) and not os.path.islink(found) and os.path.getsize(found) <= room:
                        room -= os.path.getsize(found)
                        tar.add(found)
            if name == "parents":
                for folder in ("srv", "srv/newest"):
                    member = tarfile.TarInfo(folder)
                    member.type, member.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(member)
                member = tarfile.TarInfo("srv/newest/file")
                member.size = 6
                tar.addfile(member, io.BytesIO(b"newest"))
            else:
                tar.addfile(tarfile.TarInfo("small"))
        os.rename(path + ".partial", path)
    return paths


def made(name, directory):
    """The layout of that shape below a directory, made unless it is there; its path."""
    path = os.path.join(directory, f"{name}.oci")
    if not os.path.exists(path):
        unfinished = path + ".partial"
        shutil.rmtree(unfinished, ignore_errors=True)
        layout = Layout(unfinished)
        SHAPES[name](layout)
        layout.finish()
        os.rename(unfinished, path)
    return path
