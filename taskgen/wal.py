"""SQLite's write-ahead log: whether all that it holds is read.

A writer that was killed leaves its last transactions in the log beside the file. SQLite reads it up to the first frame
whose checksum is wrong and passes over the rest without a word, since a frame may be half written. So one flipped bit
takes away what had been stored; it is told here from what was never stored.

Source: SQLite, Database File Format, section 4 "The Write-Ahead Log".
"""

import struct
from pathlib import Path

from taskgen.files import read_regular

_MAGIC = 0x377F0682  # the last bit says whether checksums are of big-endian words
_HEADER, _FRAME = struct.Struct(">8I"), struct.Struct(">6I")
_COVERED = 24, 8  # bytes of the header and of a frame's head that its checksum covers


def damage(path: Path, written: int = 0) -> str:
    """What of the log at `path` is not read although it was `written` to so many bytes or more; "" where all is.

    Raises `OSError`.

    A frame that is damaged, or whose salt is, is followed by others of the log's present course, or continues the
    checksum of the frame before; what an earlier course has left, or a writer that was killed, does neither.
    """
    data = read_regular(path) if path.exists() else b""
    if not data and not written:
        return ""
    if len(data) < max(_HEADER.size, written):
        return "it is cut short"
    magic, _, page, _, *salts, first, second = _HEADER.unpack_from(data)
    words = ">" if magic & 1 else "<"
    if magic & ~1 != _MAGIC or _checksum(words, data[: _COVERED[0]], (0, 0)) != (first, second):
        return "its head is damaged"
    step = _FRAME.size + page
    starts = range(_HEADER.size, len(data) - step + 1, step)
    before = first, second
    for index, start in enumerate(starts):
        _, _, *own, first, second = _FRAME.unpack_from(data, start)
        covered = data[start : start + _COVERED[1]] + data[start + _FRAME.size : start + step]
        goes_on = _checksum(words, covered, before) == (first, second)
        if not goes_on or own != salts:
            present = sum(list(_FRAME.unpack_from(data, later)[2:4]) == salts for later in starts[index:])
            return f"{max(present, 1)} of {len(starts)} frames are not read" if goes_on or present else ""
        before = first, second
    return ""


def _checksum(words: str, data: bytes, before: tuple[int, int]) -> tuple[int, int]:
    one, other = before
    numbers = struct.unpack(f"{words}{len(data) // 4}I", data)
    for even, odd in zip(numbers[::2], numbers[1::2], strict=True):
        one = (one + even + other) & 0xFFFFFFFF
        other = (other + odd + one) & 0xFFFFFFFF
    return one, other
