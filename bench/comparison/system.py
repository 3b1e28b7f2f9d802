"""A file system of 10 GiB in 100,000 files, most of them small, as the layers of an image: archives in pieces, each time the
same bytes."""

import random
import tarfile

MIB = 1 << 20
POOL = 16 * MIB  # far more than deflate looks back
TIME = 1_650_000_000

# Of each layer: how many small files, and the large one, its kind and its bytes.
LAYERS = (
    (40_000, "var/log/frontend/access.log", "text", 1536 * MIB),
    (30_000, "usr/lib/x86_64-linux-gnu/libmodel.so.4.2.1", "binary", 1280 * MIB),
    (20_000, "var/lib/catalog/articles.json", "text", 1024 * MIB),
    (10_000, "opt/models/weights.bin", "binary", 1024 * MIB),
)
MEDIAN, SPREAD = 17_500, 1.5  # of the sizes of small files, as their logarithms go: 54 kB on average
FOLDERS = ("", "/dist", "/dist/esm", "/dist/cjs", "/src", "/src/internal", "/test")
FILES = 14  # in each of these
ENDINGS = {"text": (".js", ".d.ts", ".js.map", ".md", ".json", ".py"), "binary": (".so", ".node", ".pyc", ".png")}

NEEDLE = "the needle in this haystack"  # a line of one in so many text files, and of every large one
RARE = 4000
LINK = 50  # one file in so many has another name, and one a symbolic link to it


class Content:
    """What files hold: parts of a pool of text, that compresses to a third, or of binary data, to a quarter."""

    def __init__(self, numbers):
        self.numbers = numbers
        self.words = ["".join(numbers.choices("abcdefghijklmnopqrstuvwxyz", k=numbers.randint(2, 10))) for _ in range(600)]
        text = bytearray()
        while len(text) < POOL:
            text += " ".join(numbers.choices(self.words, k=12)).encode() + b"\n"
        binary = b"".join(numbers.randbytes(256) + bytes(768) for _ in range(POOL // 1024))
        self.pools = {"text": memoryview(text)[:POOL], "binary": memoryview(binary)}

    def pieces(self, kind, size, needle=False):
        """So many bytes of a kind, in pieces; with `needle`, they end with its line."""
        end = f"\n{NEEDLE}\n".encode() if needle else b""
        left = size - len(end)
        while left > 0:
            piece = min(left, MIB)
            at = self.numbers.randrange(POOL - piece)
            yield self.pools[kind][at:at + piece]
            left -= piece
        yield end

    def name(self):
        """As things are called."""
        return "-".join(self.numbers.choices(self.words, k=2))


def member(name, size=0, mode=0o644, **fields):
    """The header of an entry."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime, info.uname, info.gname = size, mode, TIME, "root", "root"
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.PAX_FORMAT)


def crowd(folders, files, changed):
    """Pieces of an archive of small files, so many in each folder, whose paths have 43 bytes."""
    for folder in range(folders):
        above = f"usr/lib/x86_64/data/d{folder:03}"
        yield member(above, mode=0o755, type=tarfile.DIRTYPE, uname="", gname="")
        for number in range(files):
            content = f"{'b' if changed and number % 2 else 'a'} line {folder} {number}\n".encode()
            yield member(f"{above}/a-file-{number:06}.txt", len(content), uname="", gname="") + content.ljust(512, b"\0")
    yield bytes(1024)


class Archive:
    """One that is being made: each method yields pieces of it."""

    def __init__(self, content):
        self.content, self.folders = content, set()

    def folder(self, path):
        """A directory and those above it, unless they are there."""
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            above = "/".join(parts[:depth])
            if above not in self.folders:
                self.folders.add(above)
                yield member(above, type=tarfile.DIRTYPE, mode=0o755)

    def file(self, path, kind, size, needle=False):
        """A file below a directory that is there."""
        yield member(path, size)
        yield from self.content.pieces(kind, size, needle)
        yield bytes(-size % tarfile.BLOCKSIZE)

    def links(self, path):
        """Another name of a file, and a symbolic link to it."""
        yield member(path + ".same", type=tarfile.LNKTYPE, linkname=path)
        yield member(path + ".link", type=tarfile.SYMTYPE, linkname=path.rsplit("/", 1)[-1], mode=0o777)

    def end(self):
        """Two empty blocks."""
        yield bytes(2 * tarfile.BLOCKSIZE)


def small(numbers):
    """The size of a small file."""
    return max(64, int(MEDIAN * numbers.lognormvariate(0, SPREAD)))


def lower(content, made, count, large, kind, size):
    """A layer of new files; the small ones join `made`, with their kinds."""
    archive, numbers = Archive(content), content.numbers
    yield from archive.folder(large.rsplit("/", 1)[0])
    yield from archive.file(large, kind, size, needle=kind == "text")
    for number in range(count):
        if number % FILES == 0:
            if number // FILES % len(FOLDERS) == 0:
                package = f"opt/services/{content.name()}/lib/node_modules/{content.name()}-{len(made)}"
            folder = package + FOLDERS[number // FILES % len(FOLDERS)]
            yield from archive.folder(folder)
        file_kind = numbers.choice(list(ENDINGS))
        path = f"{folder}/{content.name()}-{len(made)}{numbers.choice(ENDINGS[file_kind])}"
        yield from archive.file(path, file_kind, small(numbers), needle=file_kind == "text" and len(made) % RARE < 2)
        if len(made) % LINK == 0:
            yield from archive.links(path)
        made.append((path, file_kind))
    yield from archive.end()


def newest(content, made, share):
    """A layer that changes a file in `share` of those that are there, removes another, and empties ten directories."""
    archive = Archive(content)
    for path, kind in made[1::share]:
        yield from archive.folder(path.rsplit("/", 1)[0])
        yield from archive.file(path, kind, small(content.numbers))
    for path, _ in made[2::share]:
        folder, name = path.rsplit("/", 1)
        yield from archive.folder(folder)
        yield member(f"{folder}/.wh.{name}")
    for path, _ in made[::len(made) // 10]:
        folder = path.rsplit("/", 1)[0]
        yield from archive.folder(folder)
        yield member(f"{folder}/.wh..wh..opq")
    yield from archive.end()


def layers():
    """The layers from the bottom on, and one more that can stand in the place of the last one; each is to be read to its end
    before the next."""
    content, made = Content(random.Random("files")), []
    for layer in LAYERS:
        yield lower(content, made, *layer)
    for share in (200, 199):
        yield newest(content, made, share)
