"""How the conditions of many rules are to be looked for, worked out once: which questions they share, and which of
them each rule needs answered with yes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from processors.clauses import wanted_text
from processors.patterns import LONG_S, literal_of, wildcard_parts
from processors.predicates import ORDERED, And, Condition, Leaf, Not, Op, Or, leaves
from processors.tables import Automaton, BoundTable, EqualityTable, Table
from processors.views import Ints

Clause = tuple[Leaf, ...]
"""Leaves of which at least one is met wherever the condition holds."""
MAX_TESTS = 6
MAX_LENGTHS = 32
"""A pass over a column for each length of prefix or suffix; beyond so many one automaton is faster."""
_COST = {
    Op.EQ: 1,
    Op.STARTSWITH: 2,
    Op.ENDSWITH: 2,
    Op.LT: 3,
    Op.LTE: 3,
    Op.GT: 3,
    Op.GTE: 3,
    Op.NULL: 3,
    Op.EXISTS: 3,
    Op.CONTAINS: 4,
    Op.CIDR: 5,
    Op.LIKE: 6,
    Op.RE: 6,
}


@dataclass(frozen=True)
class Branch:
    """One of the ways in which a rule can hold: all of some conditions, and the clauses that they imply."""

    rule: int
    conditions: tuple[Condition, ...]
    clauses: tuple[Clause, ...]


class Plan:
    """Branches, tables and automata as arrays; leaves go by their number in ``leaf_ids``.

    ``tests`` are for each branch its clauses that tables answer (-1: no more). ``rest`` is what is left to be asked of
    rows that pass them, and ``alone`` the one clause that settles the rest (-1: none does).
    """

    def __init__(self, conditions: Sequence[Condition]) -> None:
        branches = [
            Branch(rule, parts, tuple(dict.fromkeys(clause for part in parts for clause in implied(part))))
            for rule, condition in enumerate(map(simplified, conditions))
            for branch in (condition.children if isinstance(condition, Or) else (condition,))
            for parts in (branch.children if isinstance(branch, And) else (branch,),)
        ]
        self.branches = [each for each in branches if each.clauses]
        self.scanned = [each for each in branches if not each.clauses]
        needed = dict.fromkeys(leaf for each in self.branches for clause in each.clauses for leaf in clause)
        looked_for = dict.fromkeys(leaf for each in branches for part in each.conditions for leaf in _searched(part))
        tables, automata = _grouped([*needed, *looked_for])
        self.tables: list[Table] = [make(found) for make, found in tables]
        self.automata = [Automaton(found) for found in automata]
        self._number_leaves()
        self._lay_out()

    def _number_leaves(self) -> None:
        self.leaf_ids: dict[Leaf, int] = {}
        self.ids_of: list[Ints] = []
        for source in (*self.tables, *self.automata):
            first = len(self.leaf_ids)
            self.leaf_ids.update({leaf: first + number for number, leaf in enumerate(source.leaves)})
            self.ids_of.append(np.arange(first, len(self.leaf_ids)))
        self.source_of = np.repeat(np.arange(len(self.ids_of)), [len(ids) for ids in self.ids_of])
        self.in_table = self.source_of < len(self.tables)
        bounds = np.array([table.is_bound for table in self.tables] + [False] * len(self.automata), dtype=bool)
        self.is_bound = bounds[self.source_of]

    def _lay_out(self) -> None:
        """Clauses of all branches one after the other, and the leaves of all clauses."""
        clauses = [clause for each in self.branches for clause in each.clauses]
        self.clause_leaves = np.array([self.leaf_ids[leaf] for clause in clauses for leaf in clause], dtype=np.int64)
        self.clause_sizes = np.array([len(clause) for clause in clauses], dtype=np.int64)
        self.clause_starts = np.cumsum(self.clause_sizes) - self.clause_sizes
        sizes = np.array([len(each.clauses) for each in self.branches], dtype=np.int64)
        self.branch_starts = np.cumsum(sizes) - sizes
        self.tests = np.full((len(self.branches), MAX_TESTS), -1, dtype=np.int64)
        self.rest: list[Condition | None] = []
        self.alone = np.full(len(self.branches), -1, dtype=np.int64)
        for number, branch in enumerate(self.branches):
            place = {clause: int(self.branch_starts[number]) + each for each, clause in enumerate(branch.clauses)}
            tests = [clause for clause in branch.clauses if all(self.in_table[self.leaf_ids[leaf]] for leaf in clause)]
            tests = sorted(tests, key=_clause_cost)[:MAX_TESTS]
            self.tests[number, : len(tests)] = [place[clause] for clause in tests]
            rest = [part for part in branch.conditions if _exact(part) not in tests]
            if len(rest) == 1 and (exact := _exact(rest[0])):
                self.alone[number] = place[exact]
            self.rest.append(And(tuple(rest)) if rest else None)
        owner = np.repeat(np.repeat(np.arange(len(self.branches)), sizes), self.clause_sizes)
        source = self.source_of[self.clause_leaves]
        self.users = [np.unique(owner[source == len(self.tables) + number]) for number in range(len(self.automata))]
        self.uses = np.zeros((len(self.branches), len(self.tables)), dtype=bool)
        self.uses[owner[source < len(self.tables)], source[source < len(self.tables)]] = True


def simplified(condition: Condition) -> Condition:
    """The same condition, nested ``And`` and ``Or`` made one, cheap questions first."""
    match condition:
        case Leaf():
            return condition
        case Not(child):
            return Not(simplified(child))
    kind = type(condition)
    children: dict[Condition, None] = {}
    for each in map(simplified, condition.children):
        children.update(dict.fromkeys(each.children if isinstance(each, kind) else (each,)))
    if len(children) == 1:
        return next(iter(children))
    return replace(condition, children=tuple(sorted(children, key=_cost)))


def _cost(condition: Condition) -> tuple[int, int]:
    costs = [_COST.get(leaf.op, 7) for leaf in leaves(condition)]
    return max(costs, default=0), len(costs)


def implied(condition: Condition) -> list[Clause]:
    """Clauses that the condition implies and that tables or automata answer."""
    match condition:
        case Leaf():
            return stand_ins(condition)
        case Not():
            return []
        case And(children):
            return [clause for child in children for clause in implied(child)]
        case Or(children):
            parts = [min(implied(child), key=_clause_cost, default=None) for child in children]
            found = [part for part in parts if part is not None]
            return [tuple(dict.fromkeys(leaf for part in found for leaf in part))] if len(found) == len(parts) else []


def _clause_cost(clause: Clause) -> tuple[int, int]:
    return max(_COST[leaf.op] + 3 * isinstance(leaf.value, bool) for leaf in clause), len(clause)


def _exact(condition: Condition) -> Clause | None:
    """The clause that the condition is; None where it is more than that."""
    parts = condition.children if isinstance(condition, Or) else (condition,)
    found = tuple(part for part in parts if isinstance(part, Leaf) and stand_ins(part) == [(part,)])
    return found if len(found) == len(parts) else None


@lru_cache(maxsize=100_000)
def stand_ins(leaf: Leaf) -> list[Clause]:
    """The clause that a leaf is, or for patterns the one that says what text they cannot do without."""
    match leaf.op:
        case Op.EQ | Op.LT | Op.LTE | Op.GT | Op.GTE:
            return [(leaf,)]
        case Op.CONTAINS | Op.STARTSWITH | Op.ENDSWITH:
            return [(leaf,)] if leaf.value != "" else []
        case Op.LIKE:
            texts = [text for wild, text in wildcard_parts(str(leaf.value)) if not wild]
            longest = max(texts, key=len, default="")
            return [(Leaf(leaf.field, Op.CONTAINS, longest, leaf.cased),)] if longest else []
        case Op.RE:
            literal = literal_of(str(leaf.value))
            if literal is None:
                return []
            text, cased = literal
            found = Leaf(leaf.field, Op.CONTAINS, text, cased)
            return [(found,) if cased else (found, Leaf(leaf.field, Op.CONTAINS, LONG_S, False))]
    return []


def _searched(condition: Condition) -> Iterable[Leaf]:
    """Leaves for automata, wherever they stand in the condition."""
    for leaf in leaves(condition):
        for clause in stand_ins(leaf):
            yield from (each for each in clause if each.op is Op.CONTAINS)


def _grouped(asked: Iterable[Leaf]) -> tuple[list[tuple[Callable[[list[Leaf]], Table], list[Leaf]]], list[list[Leaf]]]:
    """Leaves by the table or automaton that answers them."""
    asked = list(dict.fromkeys(asked))
    lengths: dict[Hashable, set[int]] = defaultdict(set)
    for leaf in asked:
        if leaf.op in (Op.STARTSWITH, Op.ENDSWITH):
            lengths[leaf.field, leaf.op, leaf.cased].add(len(wanted_text(leaf).encode()))
    equal: dict[tuple[str, str, bool, int], list[Leaf]] = defaultdict(list)
    bounds: dict[tuple[str, str, bool], list[Leaf]] = defaultdict(list)
    searched: dict[tuple[str, bool], list[Leaf]] = defaultdict(list)
    for leaf in asked:
        if leaf.op is Op.EQ:
            equal[leaf.field, leaf.part, leaf.cased, 0].append(leaf)
        elif leaf.op in ORDERED:
            bounds[leaf.field, leaf.part, leaf.op in (Op.GT, Op.GTE)].append(leaf)
        elif leaf.op is Op.CONTAINS or len(lengths[leaf.field, leaf.op, leaf.cased]) > MAX_LENGTHS:
            searched[leaf.field, leaf.cased].append(leaf)
        else:
            cut = len(wanted_text(leaf).encode()) * (1 if leaf.op is Op.STARTSWITH else -1)
            equal[leaf.field, "", leaf.cased, cut].append(leaf)
    tables: list[tuple[Callable[[list[Leaf]], Table], list[Leaf]]] = [(BoundTable, each) for each in bounds.values()]
    for (*_, cut), found in equal.items():
        tables.append((lambda each, cut=cut: EqualityTable(each, cut), found))  # type: ignore[misc]
    return tables, list(searched.values())
