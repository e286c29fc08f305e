#!/usr/bin/env python3
"""tests/fuzz/pack_log.py DIR [OPTIONS] >INPUT - a log's directory as an input of fuzz_segments.

tests/fuzz/image.h describes the bytes. OPTIONS is the first byte, 0 without. The boot in the
watermark page becomes the one that the target pretends to run on.
"""
import os
import struct
import sys


def file_entry(kind, flags, name, size, content):
    return struct.pack("<BBQII", kind, flags, name, size, len(content)) + content


def segment(path):
    data = open(path, "rb").read()
    name = int(os.path.basename(path)[:20])
    trailer = data[-64:]
    sealed = any(trailer)
    body = (data[4096:-64] if sealed else data[4096:]).rstrip(b"\0")
    # The zeros at the end of the last block belong to it.
    end = 0
    while end + 104 <= len(body) and body[end:end + 4] == b"DBLK":
        end += struct.unpack_from("<I", body, end + 48)[0]
    body = body.ljust(end, b"\0")
    return file_entry(0, int(sealed), name, len(data), data[:136] + body + (trailer if sealed else b""))


def page(path):
    data = bytearray(open(path, "rb").read())
    data[32:48] = b"B" * 16
    data[12:16] = bytes(4)
    data[12:16] = struct.pack("<I", crc32c(data[:56]))
    return file_entry(2, 0, 0, 4096, bytes(data[:80]))


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 & -(crc & 1))
    return crc ^ 0xFFFFFFFF


def main():
    directory = sys.argv[1]
    options = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    out = bytes([options])
    segments = os.path.join(directory, "segments")
    for name in sorted(os.listdir(segments)):
        if name.endswith(".seg"):
            out += segment(os.path.join(segments, name))
    if os.path.exists(os.path.join(directory, "watermark")):
        out += page(os.path.join(directory, "watermark"))
    bound = os.path.join(directory, "lower-bound")
    if os.path.exists(bound):
        content = open(bound, "rb").read()
        out += file_entry(1, 0, 0, len(content), content)
    sys.stdout.buffer.write(out)


main()
