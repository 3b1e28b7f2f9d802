#!/usr/bin/env python3
"""Makes soci.tar.gz, soci.ztoc, soci-v1.ztoc and plain.ztoc out of layer.tar.

Usage: gzip -6 -n < layer.tar > soci.tar.gz && python3 soci.py
(needs the packages flatbuffers and indexed_gzip)

The zTOCs are written from the published schema of the format, not by the
tool of SOCI itself. The inflate checkpoints come from zran, as indexed_gzip
wraps it; the schema is written slot by slot with the flatbuffers builder.
"""
import datetime
import hashlib
import os
import struct
import tarfile
import tempfile
import zlib

import flatbuffers
import indexed_gzip

SPAN = 64 * 1024
WINDOW = 32 * 1024
GZIP, UNCOMPRESSED = 1, 2


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


# -- inflate checkpoints ----------------------------------------------------

def zran_points(path):
    """The points of zran: a list of (in, out, bits, window)."""
    with tempfile.NamedTemporaryFile() as index:
        with indexed_gzip.IndexedGzipFile(
            path, spacing=SPAN, window_size=WINDOW, readbuf_size=SPAN,
        ) as f:
            f.build_full_index()
            f.export_index(index.name)
        raw = index.read()

    magic, version, _, _, _, spacing, window, count = struct.unpack_from(
        "<5sBBQQIII", raw)
    assert (magic, version, spacing, window) == (b"GZIDX", 1, SPAN, WINDOW)
    at = struct.calcsize("<5sBBQQIII")
    heads = []
    for _ in range(count):
        heads.append(struct.unpack_from("<QQBB", raw, at))
        at += struct.calcsize("<QQBB")
    points = []
    for in_, out, bits, has_window in heads:
        data = bytes(WINDOW)
        if has_window:
            data = raw[at:at + WINDOW]
            at += WINDOW
        points.append((in_, out, bits, data))
    assert at == len(raw)
    # indexed_gzip closes its list with a point at the end of the stream,
    # which begins no span.
    assert points[-1][0] == os.path.getsize(path)
    return points[:-1]


def shifted(data, bits):
    """data without its `8 - bits` lowest bits, as a new stream of bytes."""
    if bits == 0:
        return data
    number = int.from_bytes(data, "little") >> (8 - bits)
    return number.to_bytes(len(data), "little")


def check_points(points, compressed, plain):
    """Inflates every span from its own point and compares."""
    assert points[0][:3] == (10, 0, 0)
    assert any(bits for _, _, bits, _ in points)
    for i, (in_, out, bits, window) in enumerate(points):
        have = plain[max(0, out - WINDOW):out]
        assert window == bytes(WINDOW - len(have)) + have, i
        end = points[i + 1][1] if i + 1 < len(points) else len(plain)
        start = in_ - (1 if bits else 0)
        inflate = zlib.decompressobj(-15, zdict=window)
        got = inflate.decompress(shifted(compressed[start:], bits), end - out)
        assert got == plain[out:end], i
        # The bytes of the span alone must be enough as well.
        stop = points[i + 1][0] if i + 1 < len(points) else len(compressed)
        inflate = zlib.decompressobj(-15, zdict=window)
        got = inflate.decompress(shifted(compressed[start:stop], bits))
        assert got[:end - out] == plain[out:end], i


# -- the table of contents --------------------------------------------------

TYPES = {
    tarfile.REGTYPE: "reg", tarfile.AREGTYPE: "reg", tarfile.DIRTYPE: "dir",
    tarfile.SYMTYPE: "symlink", tarfile.LNKTYPE: "hardlink",
    tarfile.CHRTYPE: "char", tarfile.BLKTYPE: "block",
    tarfile.FIFOTYPE: "fifo",
}


def time_text(member):
    """RFC 3339, with a fraction only where there is one, in UTC."""
    seconds, _, fraction = str(
        member.pax_headers.get("mtime", member.mtime)).partition(".")
    text = datetime.datetime.fromtimestamp(
        int(seconds), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = fraction.rstrip("0")
    return text + ("." + fraction if fraction else "") + "Z"


def metadata(path):
    with tarfile.open(path) as tar:
        for m in tar:
            yield {
                "name": m.name + ("/" if m.isdir() else ""),
                "type": TYPES[m.type],
                "uncompressed_offset": m.offset_data,
                "uncompressed_size": m.size,
                "linkname": m.linkname,
                "mode": m.mode,
                "uid": m.uid,
                "gid": m.gid,
                "uname": m.uname,
                "gname": m.gname,
                "mod_time": time_text(m),
                "devmajor": m.devmajor,
                "devminor": m.devminor,
                "xattrs": sorted(m.pax_headers.items()),
            }


# -- the flatbuffer ---------------------------------------------------------

def vector(b, offsets):
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return b.EndVector()


def table(b, slots, fields):
    """A table of `slots` slots; fields are (slot, kind, value)."""
    b.StartObject(slots)
    for slot, kind, value in fields:
        if kind == "offset":
            b.PrependUOffsetTRelativeSlot(slot, value, 0)
        elif kind == "long":
            b.PrependInt64Slot(slot, value, 0)
        elif kind == "int":
            b.PrependInt32Slot(slot, value, 0)
        elif kind == "uint":
            b.PrependUint32Slot(slot, value, 0)
        elif kind == "algorithm":
            # The schema has Gzip for its default, and a field with its
            # default value is left out.
            b.PrependInt8Slot(slot, value, GZIP)
    return b.EndObject()


def file_metadata(b, f):
    strings = {
        key: b.CreateString(f[key])
        for key in ["name", "type", "linkname", "uname", "gname", "mod_time"]
    }
    xattrs = []
    for key, value in f["xattrs"]:
        key, value = b.CreateString(key), b.CreateString(value)
        xattrs.append(table(b, 2, [(0, "offset", key), (1, "offset", value)]))
    xattrs = vector(b, xattrs)
    return table(b, 14, [
        (0, "offset", strings["name"]),
        (1, "offset", strings["type"]),
        (2, "long", f["uncompressed_offset"]),
        (3, "long", f["uncompressed_size"]),
        (4, "offset", strings["linkname"]),
        (5, "long", f["mode"]),
        (6, "uint", f["uid"]),
        (7, "uint", f["gid"]),
        (8, "offset", strings["uname"]),
        (9, "offset", strings["gname"]),
        (10, "offset", strings["mod_time"]),
        (11, "long", f["devmajor"]),
        (12, "long", f["devminor"]),
        (13, "offset", xattrs),
    ])


def ztoc(files, compressed_size, plain_size, algorithm, digests, checkpoints):
    b = flatbuffers.Builder(1024)
    version = b.CreateString("0.9")
    tool = b.CreateString("sample soci.py")
    toc = vector(b, [file_metadata(b, f) for f in files])
    toc = table(b, 1, [(0, "offset", toc)])
    checkpoints = b.CreateByteVector(checkpoints)
    span_digests = vector(b, [b.CreateString(d) for d in digests])
    info = table(b, 4, [
        (0, "algorithm", algorithm),
        (1, "int", len(digests) - 1),
        (2, "offset", span_digests),
        (3, "offset", checkpoints),
    ])
    b.Finish(table(b, 6, [
        (0, "offset", version),
        (1, "offset", tool),
        (2, "long", compressed_size),
        (3, "long", plain_size),
        (4, "offset", toc),
        (5, "offset", info),
    ]))
    return bytes(b.Output())


def write(path, data):
    with open(path, "wb") as out:
        out.write(data)


def main():
    with open("layer.tar", "rb") as f:
        plain = f.read()
    with open("soci.tar.gz", "rb") as f:
        compressed = f.read()
    files = list(metadata("layer.tar"))

    points = zran_points("soci.tar.gz")
    check_points(points, compressed, plain)
    starts = [in_ - (1 if bits else 0) for in_, _, bits, _ in points]
    stops = [in_ for in_, _, _, _ in points[1:]] + [len(compressed)]
    digests = [digest(compressed[i:j]) for i, j in zip(starts, stops)]
    records = [
        struct.pack("<QQB", in_, out, bits) + window
        for in_, out, bits, window in points
    ]
    head = struct.pack("<IQ", len(points), SPAN)
    for path, kept in [("soci.ztoc", records), ("soci-v1.ztoc", records[1:])]:
        write(path, ztoc(files, len(compressed), len(plain), GZIP, digests,
                         head + b"".join(kept)))
    for (in_, out, bits, _), start, stop in zip(points, starts, stops):
        print(f"point in={in_} out={out} bits={bits} span={start}..{stop}")

    digests = [digest(plain[i:i + SPAN]) for i in range(0, len(plain), SPAN)]
    write("plain.ztoc", ztoc(files, len(plain), len(plain), UNCOMPRESSED,
                             digests, struct.pack("<iqq", 2, SPAN, len(plain))))


main()
