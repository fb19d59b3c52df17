"""Many strings in about the memory of their characters."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator


class Strings:
    """Strings in one buffer, each found again by its text.

    A million short strings in a list and a dict take about 200 bytes each. Here a string costs its UTF-8 bytes, an
    8-byte end, and, once one has been looked up, 6 to 12 bytes of a hash table.

    Args:
        texts: What to begin with.
    """

    __slots__ = ("_bytes", "_ends", "_indexed", "_slots")

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._bytes = bytearray()
        self._ends = array("Q")
        self._slots = array("I")  # open addressing: 0 is free, else a position + 1
        self._indexed = 0
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Adds a string behind the last; it may be there already."""
        self._bytes += _encode(text)
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, position: int) -> str:
        # File names that are not UTF-8 hold lone surrogates.
        return self._at(range(len(self))[position]).decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))

    def position_of(self, text: str) -> int | None:
        """Where the string stands first; None where it is not there."""
        if 3 * len(self) >= 2 * len(self._slots):
            self._slots = array("I", bytes(4 << max(3, (3 * len(self) // 2).bit_length())))
            self._indexed = 0
        for position in range(self._indexed, len(self)):
            slot = self._slot_of(self._at(position))
            self._slots[slot] = self._slots[slot] or position + 1
        self._indexed = len(self)
        held = self._slots[self._slot_of(_encode(text))]
        return held - 1 if held else None

    def _slot_of(self, key: bytes) -> int:
        """The slot that holds the string, or the free one where it belongs."""
        mask = len(self._slots) - 1
        slot = hash(key) & mask
        while (held := self._slots[slot]) and self._at(held - 1) != key:
            slot = (slot + 1) & mask
        return slot

    def _at(self, position: int) -> bytes:
        start = self._ends[position - 1] if position else 0
        return bytes(self._bytes[start : self._ends[position]])

    def __getstate__(self) -> tuple[bytearray, array]:
        return self._bytes, self._ends  # another process hashes otherwise

    def __setstate__(self, state: tuple[bytearray, array]) -> None:
        Strings.__init__(self)
        self._bytes, self._ends = state


class Interned:
    """A column of strings or None of which many are the same: each distinct one is kept once.

    A row costs 4 bytes.
    """

    __slots__ = ("_codes", "_distinct")

    def __init__(self) -> None:
        self._codes = array("I")  # 0 for None, else a position + 1
        self._distinct = Strings()

    def append(self, text: str | None) -> None:
        """Adds a row."""
        code = 0
        if text is not None:
            position = self._distinct.position_of(text)
            if position is None:
                position = len(self._distinct)
                self._distinct.append(text)
            code = position + 1
        self._codes.append(code)

    def __getitem__(self, row: int) -> str | None:
        code = self._codes[row]
        return self._distinct[code - 1] if code else None


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
