"""Questions that many rules ask of one field, answered in one pass: hash tables for equality and for prefixes and
suffixes of one length, sorted bounds for numbers, and an automaton for parts of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ahocorasick
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from processors.clauses import number_of, wanted_text
from processors.predicates import Leaf, Op
from processors.views import Ints, View, Views, ranges

NO_CODE = -1
IMPOSSIBLE = -2


@dataclass(frozen=True)
class Answer:
    """``codes[i]`` says which questions value i meets: a table's leaf with that code, or of bounds every leaf with a
    lower code. ``leaf_codes`` are the codes of the table's leaves, ``IMPOSSIBLE`` for one that nothing meets."""

    codes: Ints
    leaf_codes: Ints
    size: int


@dataclass(frozen=True)
class Hits:
    """Rows that met each leaf of a table: ``counts[i]`` of them from ``rows[starts[i]]`` on."""

    rows: Ints
    starts: Ints
    counts: Ints


class EqualityTable:
    """Values that a field must equal; ``cut`` compares its first (positive) or last (negative) bytes only. In UTF-8 a
    text begins or ends with another exactly when its bytes do."""

    is_bound = False

    def __init__(self, leaves: Sequence[Leaf], cut: int = 0) -> None:
        self.leaves, self._cut = leaves, cut
        self.field, self.part, self._cased = leaves[0].field, leaves[0].part, leaves[0].cased
        texts = [wanted_text(leaf) for leaf in leaves]
        place: dict[Any, int] = {}
        self._text_codes = np.array([place.setdefault(text, len(place)) for text in texts])
        self._texts = pa.array([text.encode() for text in place], pa.binary())
        numbers = [number_of(leaf.value) for leaf in leaves]
        self._numbers = sorted({each for each in numbers if each is not None})
        place = {each: number for number, each in enumerate(self._numbers)}
        self._number_codes = np.array([IMPOSSIBLE if each is None else place[each] for each in numbers])

    def ask(self, views: Views) -> tuple[View, Answer]:
        view = views.get(self.field, self.part)
        if view.is_number and not self._cut:
            return view, Answer(self._find_numbers(view), self._number_codes, len(self._numbers))
        texts = (view.distinct if self._cased else view.lower).view(pa.binary())
        if self._cut:
            texts = pc.binary_slice(texts, 0, self._cut) if self._cut > 0 else pc.binary_slice(texts, self._cut)
        found = pc.fill_null(pc.index_in(texts, value_set=self._texts), NO_CODE).to_numpy(zero_copy_only=False)
        return view, Answer(np.append(found, NO_CODE)[view.codes], self._text_codes, len(self._texts))

    def _find_numbers(self, view: View) -> Ints:
        values = view.column.values
        if pa.types.is_integer(values.type):
            # In 64 bits, for identifiers are too long for double precision.
            fits = [-(2**63) <= number < 2**63 and number == int(number) for number in self._numbers]
            wanted = pa.array([int(n) for n, fit in zip(self._numbers, fits, strict=True) if fit], pa.int64())
        else:
            fits = [True] * len(self._numbers)
            wanted = pa.array([float(number) for number in self._numbers], pa.float64())
        place = pc.index_in(pc.cast(values, wanted.type, safe=False), value_set=wanted)
        codes = np.append(np.flatnonzero(fits), NO_CODE)
        return codes[pc.fill_null(place, -1).to_numpy(zero_copy_only=False)]  # type: ignore[no-any-return]


class BoundTable:
    """Numbers that a field must be above, or below: the code of a value is how many of them it is beyond."""

    is_bound = True

    def __init__(self, leaves: Sequence[Leaf]) -> None:
        self.leaves = leaves
        self.field, self.part = leaves[0].field, leaves[0].part
        self._sign = 1.0 if leaves[0].op in (Op.GT, Op.GTE) else -1.0
        bounds = []
        for leaf in leaves:
            number = number_of(leaf.value)
            bound = np.inf if number is None else self._sign * float(number)
            bounds.append(np.nextafter(bound, -np.inf) if leaf.op in (Op.GTE, Op.LTE) and number is not None else bound)
        self._bounds, codes = np.unique(np.array(bounds), return_inverse=True)
        self._codes = codes.astype(np.int64)

    def ask(self, views: Views) -> tuple[View, Answer]:
        view = views.get(self.field, self.part)
        numbers = view.numbers * self._sign
        beyond = np.searchsorted(self._bounds, numbers)
        beyond[np.isnan(numbers)] = 0
        return view, Answer(beyond, self._codes, len(self._bounds))


Table = EqualityTable | BoundTable


def hits_of(view: View, answer: Answer, is_bound: bool) -> Hits:
    """The rows behind an answer."""
    codes, rows = answer.codes, view.rows
    found = np.flatnonzero(codes > (0 if is_bound else NO_CODE))
    codes = codes[found]
    # NumPy sorts 16 bits by radix.
    keys = codes.astype(np.int16) if answer.size < 2**15 else codes
    order = found[np.argsort(-keys if is_bound else keys, kind="stable")]
    sizes = np.bincount(codes, minlength=answer.size + 1)
    if is_bound:
        counts, starts = np.append(np.cumsum(sizes[::-1])[::-1][1:], 0), np.zeros(answer.size + 1, dtype=np.int64)
    else:
        counts, starts = sizes, np.cumsum(sizes) - sizes
    possible = answer.leaf_codes != IMPOSSIBLE
    codes = np.where(possible, answer.leaf_codes, 0)
    return Hits(order if rows is None else rows[order], starts[codes], np.where(possible, counts[codes], 0))


class Automaton:
    """Texts to be found anywhere in a field, or at its beginning or end, in one pass (Aho and Corasick, 1975)."""

    def __init__(self, leaves: Sequence[Leaf]) -> None:
        self.leaves = leaves
        self.field, self._cased = leaves[0].field, leaves[0].cased
        self._words: dict[tuple[str, bool, bool], int] = {}
        keys = [(wanted_text(leaf), leaf.op is Op.STARTSWITH, leaf.op is Op.ENDSWITH) for leaf in leaves]
        self._word_of = np.array([self._words.setdefault(key, len(self._words)) for key in keys])
        spelt: dict[str, list[int]] = {}
        for (text, first, last), word in self._words.items():
            # Values are joined by NUL: with it a word can only be found where a value begins or ends.
            spelt.setdefault("\0" * first + text + "\0" * last, []).append(word)
        self._automaton = ahocorasick.Automaton()
        for number, text in enumerate(spelt):
            self._automaton.add_word(text, number)
        self._automaton.make_automaton()
        self._spelt = list(spelt.values())
        self._length = np.array([len(text) for text in spelt])
        self._first, self._last = (np.array([key[side] for key in self._words]) for side in (1, 2))

    def ask(self, views: Views) -> Hits:
        view = views.get(self.field)
        texts = view.distinct if self._cased else view.lower
        joined = "\0" + "\0".join(view.texts if self._cased else view.lowers) + "\0"
        found = list(self._automaton.iter(joined))
        if not found:
            nothing = np.zeros(len(self.leaves), dtype=np.int64)
            return Hits(nothing, nothing, nothing)
        ends, spelling = np.array(found, dtype=np.int64).T
        if any(len(words) > 1 for words in self._spelt):
            index, word = zip(*((i, w) for i, s in enumerate(spelling.tolist()) for w in self._spelt[s]), strict=True)
            ends, spelling, words = ends[list(index)], spelling[list(index)], np.array(word)
        else:
            words = np.array([each[0] for each in self._spelt])[spelling]
        first, last = self._first[words], self._last[words]
        begins, ends = ends - self._length[spelling] + 1 + first, ends - last
        lengths = pc.utf8_length(texts).to_numpy().astype(np.int64)
        starts = np.cumsum(lengths + 1) - lengths
        value = np.searchsorted(starts, begins, side="right") - 1
        stops = starts[value] + lengths[value]
        sound = (begins >= starts[value]) & (ends < stops)
        sound &= (~first | (begins == starts[value])) & (~last | (ends + 1 == stops))
        return self._rows(view, words[sound], value[sound])

    def _rows(self, view: View, words: Ints, values: Ints) -> Hits:
        """From (word, distinct value) to the rows of each leaf."""
        pairs = np.unique(words * len(view.distinct) + values)
        words, values = np.divmod(pairs, max(len(view.distinct), 1))
        order = np.argsort(view.codes, kind="stable")
        edges = np.searchsorted(view.codes[order], np.arange(len(view.distinct) + 1))
        positions, index = ranges(edges[values], edges[values + 1] - edges[values])
        rows = order[positions] if view.rows is None else view.rows[order[positions]]
        counts = np.bincount(words[index], minlength=len(self._words))
        starts = np.cumsum(counts) - counts
        return Hits(rows, starts[self._word_of], counts[self._word_of])
