#!/usr/bin/env python3
"""Writes layer.tar: the one archive from which the other samples are made.

Usage: python3 make_layer.py [layer.tar]

The result depends on nothing but this script: the bytes come from a fixed
linear congruential generator, and owners, modes and times are constants.
"""
import io
import sys
import tarfile

MTIME = 1_600_000_000


def lcg(seed):
    state = seed
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        yield state >> 33


def words(seed, size):
    """Pseudo-random words out of a list of 4096: compresses moderately."""
    rng = lcg(seed)
    vocabulary = [
        "".join(chr(97 + next(rng) % 26) for _ in range(2 + next(rng) % 8))
        for _ in range(4096)
    ]
    out = bytearray()
    column = 0
    while len(out) < size:
        word = vocabulary[next(rng) % 4096]
        out += word.encode()
        column += len(word) + 1
        if column > 70:
            out += b"\n"
            column = 0
        else:
            out += b" "
    return bytes(out[:size])


def noise(seed, size):
    """Bytes that do not compress."""
    rng = lcg(seed)
    return bytes((next(rng) >> 11) & 0xFF for _ in range(size))


def entry(tar, name, kind=tarfile.REGTYPE, data=b"", mode=None, **more):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    info.mtime = MTIME
    info.uname = info.gname = "root"
    default = {tarfile.DIRTYPE: 0o755, tarfile.SYMTYPE: 0o777}.get(kind, 0o644)
    info.mode = default if mode is None else mode
    for key, value in more.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(data) if info.size else None)


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else "layer.tar"
    # A list of (name, arguments of entry()), written in order of the names.
    items = []

    def add(name, **more):
        items.append((name, more))

    def directory(name, **more):
        add(name, kind=tarfile.DIRTYPE, **more)

    def text(name, content, **more):
        add(name, data=content.encode(), **more)

    for name in [
        "bin", "dev", "etc", "etc/app", "home", "run", "tmp", "usr",
        "usr/bin", "usr/lib", "usr/share", "usr/share/doc", "var", "var/lib",
    ]:
        directory(name, mode=0o1777 if name == "tmp" else 0o755)
    directory("home/user", uid=1000, gid=1000, uname="user", gname="users",
              mode=0o700)

    text("etc/os-release", 'ID=sample\nNAME="Sample"\nVERSION_ID=1\n')
    text("etc/hostname", "sample\n")
    text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"
                       "user:x:1000:1000::/home/user:/bin/sh\n")
    text("etc/group", "root:x:0:\nusers:x:1000:\nshadow:x:42:\n")
    text("etc/shadow", "root:*:18000:0:99999:7:::\n", mode=0o640, gid=42,
         gname="shadow")
    text("etc/.wh.gone", "", mode=0)
    text("etc/app/app.conf", "[app]\nlevel = 3\n")
    text("etc/app/epoch", "an mtime of zero\n", mtime=0)
    # A float cannot hold nanoseconds, so the PAX record is given as text; the
    # header itself has the whole seconds.
    text("etc/app/fraction", "an mtime with a fraction\n", mtime=MTIME + 7,
         pax_headers={"mtime": f"{MTIME + 7}.123456789"})

    for package in ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]:
        directory(f"usr/share/doc/{package}")
        text(f"usr/share/doc/{package}/README",
             f"This is the package {package}.\n" * 3)
        text(f"usr/share/doc/{package}/copyright",
             f"{package} is in the public domain.\n")

    text("home/user/notes", "notes of a user\n", uid=1000, gid=1000,
         uname="user", gname="users", mode=0o600)
    text("home/user/big-ids", "owner ids beyond the octal field\n",
         uid=3_000_000, gid=4_000_000, uname="", gname="")
    text("usr/share/gr\u00fc\u00dfe-\u4e16\u754c.txt", "a UTF-8 name\n")
    long_directory = "usr/share/" + "/".join(
        f"a-directory-with-a-long-name-{i}" for i in range(1, 5))
    for depth in range(1, 5):
        directory("/".join(long_directory.split("/")[: 2 + depth]))
    # A last component of 120 bytes does not fit the ustar name field, so the
    # path cannot be split over name and prefix and takes a PAX record.
    text(long_directory + "/" + "n" * 116 + ".txt", "a long path\n")

    add("usr/share/words", data=words(1, 190 * 1024))
    add("usr/lib/noise.bin", data=noise(2, 60 * 1024), mode=0o755)
    add("var/lib/sparse.db",
        data=words(3, 3000) + bytes(40 * 1024) + words(4, 3000))
    add("var/lib/empty")

    add("bin/tool", data=b"#!/bin/sh\n" + words(5, 9000), mode=0o4755)
    add("usr/bin/tool-symlink", kind=tarfile.SYMTYPE,
        linkname="../../bin/tool")
    add("usr/bin/tool-hardlink", kind=tarfile.LNKTYPE, linkname="bin/tool",
        mode=0o4755)
    add("usr/bin/xattr", data=words(6, 5000), mode=0o755, pax_headers={
        # VFS_CAP_REVISION_2 with the effective flag: cap_net_raw. tarfile
        # writes the record as UTF-8, and all the bytes are below 0x80.
        "SCHILY.xattr.security.capability":
            b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00"
            b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00".decode("ascii"),
        "SCHILY.xattr.user.note": "a note",
    })
    add("run/pipe", kind=tarfile.FIFOTYPE, mode=0o620)
    add("dev/null", kind=tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3)

    items.sort(key=lambda item: item[0].encode())
    # End with just the two blocks of zeros, as Go's archive/tar does, and not
    # with padding to a whole record of 10 KiB.
    tarfile.RECORDSIZE = tarfile.BLOCKSIZE
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, more in items:
            entry(tar, name, **more)


main()
