"""Acoustic neighbours for any class list: asked of a chat model, or taken from text made elsewhere.

What neighbours must be like follows SEPT (arXiv 2601.20867): terms that are close to their class for the ear, differ
from the terms of all other classes, and name neither a class that is trained nor one that training must not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import AlmPromptError, shorten
from .checks import checked_neighbors, drop_overlaps, same_text
from .dialogue import Message, UnreadableAnswer, first_question, next_question, read_answer

MAX_TERM_LENGTH = 80
NAMED_PROBLEMS = 5
NAMED_FAILURES = 5


@dataclass(frozen=True)
class ClassNeighbors:
    """Neighbours of one class, and what it took to get them.

    Attributes:
        terms: the neighbours.
        dropped: terms that were offered, but name a held-out class (SEPT's overlap filter).
        retries: answers that were asked for beyond the first.
    """

    terms: list[str]
    dropped: list[str] = field(default_factory=list)
    retries: int = 0


def generate_neighbors(
    class_names: Sequence[str],
    ask: Callable[[list[Message]], str],
    *,
    per_class: int = 10,
    held_out: Iterable[str] = (),
    retries: int = 5,
    found: Mapping[str, ClassNeighbors] | None = None,
    on_class: Callable[[str, Mapping[str, ClassNeighbors]], None] | None = None,
) -> dict[str, ClassNeighbors]:
    """Ask a chat model for the acoustic neighbours of every class, one class at a time.

    An answer must be `{"neighbors": [...]}` with the right number of strings, alone or in one fenced code block. From
    an answer of that form the terms that can be used are kept; for the others the model is told why they cannot, and
    asked again for the missing ones. Held-out classes are never named to the model before it names them.

    Args:
        class_names: classes that will be trained, two or more.
        ask: takes messages (`[{"role": "user" | "assistant", "content": text}, ...]`, `user` first and last) and
            returns the model's answer. No two calls for the same class get the same messages.
        per_class: number of terms `N` of every class.
        held_out: classes that training must not know; terms that name one are dropped and counted.
        retries: how often the model may be asked again for the same class.
        found: classes that are done already; they are not asked for, and their terms count as taken.
        on_class: called with a class and everything found so far, whenever a class is done.

    Returns:
        Neighbours of every class, in the order of `class_names`.

    Raises:
        AlmPromptError: bad arguments; or, after every class was asked for, classes that still lack terms, with their
            last problems.
    """
    held_out = list(held_out)
    check_request(class_names, held_out, per_class, retries)
    done = dict(found or {})
    checked_neighbors({name: item.terms for name, item in done.items()}, list(done), held_out, per_class)
    failures: list[str] = []
    for name in class_names:
        if name in done:
            continue
        collection = _Collection(name, per_class, class_names, held_out, done)
        try:
            done[name] = _ask_until_complete(collection, class_names, ask, retries)
        except _Incomplete as failure:
            failures.append(f"{name!r} ({failure})")
            continue
        if on_class is not None:
            on_class(name, done)
    if failures:
        raise AlmPromptError(
            f"no {per_class} neighbours after {retries + 1} answers for {shorten(failures, NAMED_FAILURES)}; "
            "allow more retries or ask another model"
        )
    return {name: done[name] for name in class_names}


def filter_neighbors(
    neighbors: Mapping[str, Sequence[str]],
    class_names: Sequence[str],
    held_out: Iterable[str] = (),
    per_class: int = 10,
) -> dict[str, ClassNeighbors]:
    """Hold neighbours that were made elsewhere to the rules for generated ones.

    Args:
        neighbors: terms per class; the first `per_class` that name no held-out class are taken.
        class_names: classes that will be trained, two or more.
        held_out: classes that training must not know.
        per_class: number of terms of every class.

    Returns:
        Neighbours of every class, in the order of `class_names`.

    Raises:
        AlmPromptError: bad arguments, terms for other classes, a class with too few terms, or a term that cannot be
            used.
    """
    held_out = list(held_out)
    check_request(class_names, held_out, per_class)
    kept, dropped = drop_overlaps(neighbors, held_out)
    found = {}
    for name, terms in checked_neighbors(kept, class_names, held_out).items():
        for term in terms:
            if unfit := _unfit(term):
                raise AlmPromptError(f"neighbour {term[:MAX_TERM_LENGTH]!r} of class {name!r} {unfit}; replace it")
        lost = dropped.get(name, [])
        if len(terms) < per_class:
            filtered = f" after {len(lost)} that name held-out classes were dropped" if lost else ""
            raise AlmPromptError(
                f"class {name!r} has {len(terms)} neighbours{filtered}, but {per_class} are asked for; add terms or "
                f"ask for at most {len(terms)} per class"
            )
        found[name] = ClassNeighbors([term.strip() for term in terms[:per_class]], lost)
    return found


def check_request(class_names: Sequence[str], held_out: Sequence[str], per_class: int, retries: int = 0) -> None:
    """Refuse a request that no model could fulfil.

    Args:
        class_names: classes that will be trained.
        held_out: classes that training must not know.
        per_class: number of terms of every class.
        retries: how often a model may be asked again.

    Raises:
        AlmPromptError: fewer than two classes, a blank, doubled or unprintable one, one that is also held out, or a
            number out of its range.
    """
    if per_class < 1:
        raise AlmPromptError(f"per_class is {per_class}; ask for at least 1 neighbour per class")
    if retries < 0:
        raise AlmPromptError(f"retries is {retries}; give 0 or more")
    if len(class_names) < 2:
        raise AlmPromptError(f"neighbours are for telling classes apart, but there are {len(class_names)}; give two")
    seen: dict[str, str] = {}
    for name in class_names:
        key = same_text(name)
        if not key or not name.isprintable():
            raise AlmPromptError(f"class name {name!r} is blank or cannot be printed; give every class a name")
        if key in seen:
            raise AlmPromptError(f"class {name!r} stands twice (as {seen[key]!r}); keep one of them")
        seen[key] = name
    for name in held_out:
        if same_text(name) in seen:
            raise AlmPromptError(
                f"held-out class {name!r} is the class {seen[same_text(name)]!r}; keep it in one list"
            )


class _Incomplete(Exception):
    """A class still lacks terms after the last retry; the text is the last problem."""


class _Collection:
    """Terms of one class as they come in, beside those that can no longer be used."""

    def __init__(
        self,
        name: str,
        per_class: int,
        class_names: Sequence[str],
        held_out: Sequence[str],
        done: Mapping[str, ClassNeighbors],
    ) -> None:
        self.name = name
        self.per_class = per_class
        self.terms: list[str] = []
        self.dropped: dict[str, str] = {}
        self._classes = {same_text(other): other for other in class_names}
        self._hidden = {same_text(other) for other in held_out}
        self._owners = {same_text(term): other for other, item in done.items() for term in item.terms}

    @property
    def missing(self) -> int:
        """How many terms are still to come."""
        return self.per_class - len(self.terms)

    def take(self, answer: str) -> list[str]:
        """Keep the usable terms of an answer, and say what is wrong with the others or with all of it."""
        try:
            offered = read_answer(answer, self.missing, self.per_class, MAX_TERM_LENGTH)
        except UnreadableAnswer as error:
            return [str(error)]
        problems = []
        for term in offered:
            key, problem = same_text(term), self._problem(term)
            if problem is not None:
                problems.append(f"{term[:MAX_TERM_LENGTH]!r} {problem}")
                if key in self._hidden:
                    self.dropped[key] = term
            elif self.missing:
                self.terms.append(term)
                self._owners[key] = self.name
        return problems

    def _problem(self, term: str) -> str | None:
        """What is wrong with a term, as words that follow it."""
        key = same_text(term)
        if not key:
            return "is blank"
        if key in self._classes:
            return f"is the class {self._classes[key]!r}"
        if key in self._hidden:
            return "must not be used"
        if key in self._owners:
            return f"is a term of class {self._owners[key]!r} already"
        return _unfit(term)


def _ask_until_complete(
    collection: _Collection, class_names: Sequence[str], ask: Callable[[list[Message]], str], retries: int
) -> ClassNeighbors:
    opening = first_question(collection.name, class_names, collection.per_class)
    messages = opening
    for attempt in range(1, retries + 2):
        answer = ask(messages)
        problems = collection.take(answer)
        if not collection.missing:
            return ClassNeighbors(collection.terms, list(collection.dropped.values()), attempt - 1)
        reasons = f"answer {attempt}: {'; '.join(problems[:NAMED_PROBLEMS])}"
        messages = [*opening, *next_question(answer, reasons, collection.name, collection.terms, collection.missing)]
    have = len(collection.terms)
    raise _Incomplete(f"{have} of {collection.per_class} terms; the last problem: {problems[0]}")


def _unfit(term: str) -> str | None:
    """What is wrong with a term in itself."""
    if len(term) > MAX_TERM_LENGTH:
        return f"has {len(term)} characters, more than {MAX_TERM_LENGTH}"
    if not term.strip().isprintable():
        return "holds a character that cannot be printed"
    return None
