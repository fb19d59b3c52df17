from __future__ import annotations

import pickle
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from lriad.data.strings import Interned, Strings

texts = st.lists(st.text(max_size=4) | st.sampled_from(["", "a", "\udcff", "é", "a\nb"]), max_size=60)


@given(texts, texts)
def test_behaves_like_a_list(items: list[str], others: list[str]) -> None:
    strings = Strings(items)
    assert list(strings) == items
    assert [strings.position_of(item) for item in items] == [items.index(item) for item in items]
    for item in others:  # looked up and appended in turn
        assert strings.position_of(item) == (items.index(item) if item in items else None)
        strings.append(item)
        items = [*items, item]
    assert list(pickle.loads(pickle.dumps(strings))) == items


def test_a_copy_of_another_process_finds_its_strings() -> None:
    strings = Strings(["a", "b"])
    assert strings.position_of("b") == 1
    assert pickle.loads(pickle.dumps(strings)).position_of("b") == 1


@given(st.lists(st.none() | st.sampled_from(["", "a", "b"])))
def test_a_column_gives_back_its_rows(rows: list[str | None]) -> None:
    column = Interned()
    for row in rows:
        column.append(row)
    assert [column[index] for index in range(len(rows))] == rows
    if rows:
        assert column[-1] == rows[-1]


def test_memory_with_the_hash_table() -> None:
    tracemalloc.start()
    try:
        strings = Strings()
        for number in range(20_000):
            strings.append(f"images/{number:09}.png")
            assert strings.position_of("not there") is None
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size / 20_000 < 20 + 8 + 12 + 6  # characters, end, hash table, room to grow
