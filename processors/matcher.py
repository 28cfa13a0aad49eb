"""Match all detections on a whole batch by column.

Questions that rules share are asked once: equality, prefixes, suffixes and bounds in one pass over the distinct values
of a column, parts of text by one automaton a field, which runs only where the cheaper questions leave much open. A rule
is then looked at only on the rows that met its rarest clause, so cost follows what matches and not how many rules
there are. What no table answers (regular expressions, networks, references) is asked of those rows alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow.compute as pc

from processors.clauses import refers, tester
from processors.fields import Rows
from processors.match_plan import MAX_TESTS, Plan, stand_ins
from processors.patterns import is_linear, wildcard_regex
from processors.predicates import ORDERED, REFERENCES, And, Condition, Leaf, Not, Op, Or
from processors.rulebook import Detection
from processors.tables import BoundTable, EqualityTable, hits_of
from processors.views import Columns, Ints, Mask, View, Views, ranges

__all__ = ["Columns", "Matcher"]
_FEW = 8
"""A pattern is asked value by value where fewer than one in so many of the column are left."""
_REPEATING = 64
"""From so many values on it pays to find those that repeat."""
_MANY = 4
"""An automaton runs where rules would otherwise look at more rows than so many times the batch."""
_PAIRS = 1 << 20
"""So many pairs of a branch and a row are looked at together, 8 bytes each in a handful of arrays."""


class Matcher:
    """Compiled detections. Holds no state between batches."""

    def __init__(self, detections: Sequence[Detection]) -> None:
        self.detections = tuple(detections)
        self._plan = Plan([each.condition for each in self.detections])

    def match(self, batch: Columns) -> list[tuple[Detection, Rows]]:
        """Detections that at least one row met, in rule order, each with its rows (sorted, once each)."""
        run = _Run(self._plan, Views(batch))
        found: dict[int, list[Rows]] = {}
        for rule, rows in run.matches():
            found.setdefault(rule, []).append(rows)
        return [
            (self.detections[rule], parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts)))
            for rule, parts in sorted(found.items())
        ]


class _Run:
    """One batch under a plan: the answers so far."""

    def __init__(self, plan: Plan, views: Views) -> None:
        self._plan, self._views, self._size = plan, views, views.num_rows
        self._masks: dict[Leaf, Mask] = {}
        self._open = np.zeros(len(plan.automata), dtype=np.int64)
        self._ran = np.zeros(len(plan.automata), dtype=bool)
        leaves = len(plan.leaf_ids)
        # Above any count: not asked yet.
        self._counts = np.full(leaves, self._size + 1, dtype=np.int64)
        self._starts = np.zeros(leaves, dtype=np.int64)
        self._rows: list[Rows] = []
        self._joined: Rows | None = None
        self._filled = 0
        self._codes = np.zeros(leaves, dtype=np.int32)
        self._grid = np.zeros((len(plan.tables), self._size), dtype=np.int32)
        self._repeats = np.zeros(len(plan.tables), dtype=bool)
        for number, table in enumerate(plan.tables):
            view, answer = table.ask(views)
            ids = plan.ids_of[number]
            self._codes[ids] = answer.leaf_codes
            self._repeats[number] = view.rows is not None
            if view.rows is None:
                self._grid[number] = answer.codes
            hits = hits_of(view, answer, table.is_bound)
            self._keep(ids, hits.rows, hits.starts, hits.counts)

    def _keep(self, ids: Ints, rows: Ints, starts: Ints, counts: Ints) -> None:
        self._starts[ids], self._counts[ids] = starts + self._filled, counts
        self._rows.append(rows)
        self._joined = None
        self._filled += len(rows)

    @property
    def _hits(self) -> Rows:
        """Rows that met a leaf, leaf after leaf as ``_starts`` and ``_counts`` say."""
        if self._joined is None:
            self._joined = np.concatenate(self._rows)
        return self._joined

    def _run_automaton(self, number: int) -> None:
        hits = self._plan.automata[number].ask(self._views)
        self._keep(self._plan.ids_of[len(self._plan.tables) + number], hits.rows, hits.starts, hits.counts)
        self._ran[number] = True

    def matches(self) -> Iterator[tuple[int, Rows]]:
        """(rule, rows that met one of its branches)"""
        if not self._size:
            return
        for rule, condition, rows in self._candidates():
            if condition:
                rows = rows[self._holds(condition, rows)]
            if len(rows):
                yield rule, rows
        everything = np.arange(self._size)
        for each in self._plan.scanned:
            rows = np.flatnonzero(self._holds(And(each.conditions), everything))
            if len(rows):
                yield each.rule, rows

    def _candidates(self) -> Iterator[tuple[int, Condition | None, Rows]]:
        """(rule, condition of a branch that is still to be asked or None, rows that may meet it): the rows of the
        branch's rarest clause less those that other tables rule out."""
        plan = self._plan
        if not plan.branches:
            return
        least, rarest = self._rarest()
        for number, users in enumerate(plan.users):
            waiting = least[users]
            if (waiting > self._size).any() or waiting.sum() > _MANY * self._size:
                self._run_automaton(number)
                least, rarest = self._rarest()
        alive = np.flatnonzero(least)
        portion = np.cumsum(least[alive]) // _PAIRS
        for part in np.split(alive, np.flatnonzero(np.diff(portion)) + 1):
            yield from self._narrowed(part, rarest)

    def _narrowed(self, alive: Ints, rarest: Ints) -> Iterator[tuple[int, Condition | None, Rows]]:
        """Some branches' part of the candidates."""
        plan = self._plan
        leaf, branch = ranges(plan.clause_starts[rarest[alive]], plan.clause_sizes[rarest[alive]])
        leaf, branch = plan.clause_leaves[leaf], alive[branch]
        place, index = ranges(self._starts[leaf], self._counts[leaf])
        rows, branch = self._hits[place], branch[index]
        for number in range(MAX_TESTS):
            clause = plan.tests[branch, number]
            asked = np.flatnonzero(clause >= 0)
            if not len(asked):
                break
            keep = np.ones(len(rows), dtype=bool)
            keep[asked] = self._meets_any(clause[asked], rows[asked])
            rows, branch = rows[keep], branch[keep]
        branch, rows = np.divmod(np.unique(branch * self._size + rows), self._size)
        edges = np.flatnonzero(np.diff(branch, prepend=-1))
        unsure: Mask = np.any(plan.uses & self._repeats, axis=1)
        settled = ~unsure & (plan.alone == rarest)
        found, first = branch[edges].tolist(), [*edges.tolist(), len(rows)]
        for number, each in enumerate(found):
            chosen = plan.branches[each]
            condition = And(chosen.conditions) if unsure[each] else None if settled[each] else plan.rest[each]
            yield chosen.rule, condition, rows[first[number] : first[number + 1]]

    def _rarest(self) -> tuple[Ints, Ints]:
        """For each branch how many rows met its rarest clause, and which clause that is."""
        clauses = np.add.reduceat(self._counts[self._plan.clause_leaves], self._plan.clause_starts)
        ranked = clauses * len(clauses) + np.arange(len(clauses))
        return np.divmod(np.minimum.reduceat(ranked, self._plan.branch_starts), len(clauses))

    def _meets_any(self, clause: Ints, rows: Ints) -> Mask:
        """For each pair of a clause that tables answer and a row, whether the row can meet the clause."""
        leaf, pair = ranges(self._plan.clause_starts[clause], self._plan.clause_sizes[clause])
        met = self._meets(self._plan.clause_leaves[leaf], rows[pair])
        sizes = self._plan.clause_sizes[clause]
        found: Mask = np.logical_or.reduceat(met, np.cumsum(sizes) - sizes)
        return found

    def _meets(self, leaf: Ints, rows: Ints) -> Mask:
        """For each pair of a table's leaf and a row, whether the row can meet the leaf."""
        table = self._plan.source_of[leaf]
        codes, wanted = self._grid[table, rows], self._codes[leaf]
        met = np.where(self._plan.is_bound[leaf], codes > wanted, codes == wanted)
        return met | self._repeats[table]

    def _holds(self, condition: Condition, rows: Rows) -> Mask:
        """For each of ``rows``, whether the condition holds; what is dear is asked only where cheaper questions leave
        it open."""
        match condition:
            case Leaf():
                return self._leaf(condition, rows)
            case Not(child):
                return ~self._holds(child, rows)
            case And(children) | Or(children):
                alternative = isinstance(condition, Or)
                result = np.full(len(rows), not alternative)
                for child in children:
                    left = np.flatnonzero(result != alternative)
                    if not len(left):
                        break
                    result[left] = self._holds(child, rows[left])
                return result

    def _leaf(self, leaf: Leaf, rows: Rows) -> Mask:
        mask = self._masks.get(leaf)
        if mask is not None:
            return mask[rows]
        number = self._plan.leaf_ids.get(leaf)
        if number is not None and self._plan.in_table[number] and not self._repeats[self._plan.source_of[number]]:
            return self._meets(np.array([number]), rows)
        view = self._views.get(leaf.field, leaf.part)
        if leaf.op in (Op.LIKE, Op.RE, Op.CONTAINS):
            return self._pattern(leaf, view, rows)
        if number is not None and self._plan.in_table[number]:
            mask = self._mask_of(number)
        elif leaf.op in REFERENCES:
            return self._reference(leaf, view, rows)
        elif _is_text(leaf, view):
            return self._text(leaf, view, rows)
        else:
            mask = _scan(leaf, view, self._views)
        self._masks[leaf] = mask
        return mask[rows]

    def _mask_of(self, number: int) -> Mask:
        mask = np.zeros(self._size, dtype=bool)
        first = self._starts[number]
        mask[self._hits[first : first + self._counts[number]]] = True
        return mask

    def _pattern(self, leaf: Leaf, view: View, rows: Rows) -> Mask:
        """Text that the automaton may have found; a pattern is asked only where what it cannot do without was found."""
        result = np.ones(len(rows), dtype=bool)
        for clause in stand_ins(leaf):
            numbers = [self._plan.leaf_ids[each] for each in clause]
            automaton = int(self._plan.source_of[numbers[0]]) - len(self._plan.tables)
            self._open[automaton] += len(rows)
            if not self._ran[automaton] and self._open[automaton] > _MANY * self._size:
                self._run_automaton(automaton)
            if self._ran[automaton]:
                result[:] = False
                for each, found in zip(numbers, clause, strict=True):
                    mask = self._masks.get(found)
                    if mask is None:
                        mask = self._masks[found] = self._mask_of(each)
                    result |= mask[rows]
                if clause == (leaf,):
                    return result
        left = np.flatnonzero(result)
        if len(left):
            result[left] = self._text(leaf, view, rows[left])
        return result

    def _text(self, leaf: Leaf, view: View, rows: Rows) -> Mask:
        """A test of text, of each distinct value once."""
        positions, index = view.positions(rows)
        codes = view.codes[positions]
        if len(codes) * _FEW > len(view.codes) and leaf.op in (Op.LIKE, Op.RE):
            pattern = str(leaf.value) if leaf.op is Op.RE else wildcard_regex(str(leaf.value), leaf.cased)
            if is_linear(pattern):
                found = pc.match_substring_regex(view.distinct if leaf.cased else view.lower, pattern)
                mask = self._masks[leaf] = view.distinct_mask(found.to_numpy(zero_copy_only=False))
                return mask[rows]
        texts, test = view.texts if leaf.cased else view.lowers, tester(leaf)
        asked, inverse = np.unique(codes, return_inverse=True) if len(codes) > _REPEATING else (codes, slice(None))
        met = np.array([code >= 0 and bool(test(texts[code])) for code in asked.tolist()], dtype=bool)
        result = np.zeros(len(rows), dtype=bool)
        result[index[met[inverse]]] = True
        return result

    def _reference(self, leaf: Leaf, view: View, rows: Rows) -> Mask:
        """Any value of the row against any value of the other field."""
        other = self._views.get(str(leaf.value))
        result = np.zeros(len(rows), dtype=bool)
        sides: list[list[list[object]]] = []
        for each in (view, other):
            values: list[list[object]] = [[] for _ in rows]
            positions, index = each.positions(rows)
            for number, value in zip(index.tolist(), each.column.values.take(positions).to_pylist(), strict=True):
                if value is not None:
                    values[number].append(value)
            sides.append(values)
        for number, (ours, theirs) in enumerate(zip(*sides, strict=True)):
            result[number] = any(refers(leaf, value, another) for value in ours for another in theirs)
        return result


def _is_text(leaf: Leaf, view: View) -> bool:
    return leaf.op not in (*ORDERED, Op.NULL, Op.EXISTS) and not (leaf.op is Op.EQ and view.is_number)


def _scan(leaf: Leaf, view: View, views: Views) -> Mask:
    """One pass over the column, for what neither shared tables nor texts answer."""
    match leaf.op:
        case Op.EXISTS:
            return view.present
        case Op.NULL:
            return ~view.present
    table = BoundTable([leaf]) if leaf.op in ORDERED else EqualityTable([leaf])
    _, answer = table.ask(views)
    code = answer.leaf_codes[0]
    return view.to_mask(answer.codes > code if table.is_bound else answer.codes == code)
