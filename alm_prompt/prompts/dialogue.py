"""What a chat model is told about neighbours, and how its answers are read: strictly, whatever they hold."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from string import Template

from .text_data import without_doubles

Message = dict[str, str]

# Of a refused answer, this much is shown to the model again.
SHOWN_AGAIN = 2000
# Around the terms of an answer: the object and its fence.
ROOM_AROUND = 200

ANSWER_FORMAT = '{"neighbors": ["...", "..."]}'
INSTRUCTION = f"""A classifier of sounds tells these classes apart: $classes

Write exactly $count acoustic neighbours of the class $name: terms for sounds with similar acoustic properties \
(pitch, timbre, rhythm, loudness, kind of source), and terms that describe how the class sounds. Not synonyms alone.
- Each term has one to six words.
- The terms vary among themselves, and each is closer to $name than to any other class of the list.
- No term is the name of a class of the list.

Answer with JSON and nothing else, in this form, with $count strings: {ANSWER_FORMAT}"""
COMPLAINT = f"""This cannot be used as it is ($reasons).
Terms that are good and must not be given again: $kept
Write $count other terms for the class $name, by the same rules. Answer with JSON and nothing else, in this form, \
with $count strings: {ANSWER_FORMAT}"""

_FENCED = re.compile(r"```(?:json)?\s(.*)```", flags=re.DOTALL)


class UnreadableAnswer(Exception):
    """An answer has not the form that was asked for; the text says what is wrong with "it"."""


def first_question(name: str, class_names: Sequence[str], count: int) -> list[Message]:
    """Messages that ask for `count` neighbours of the class `name`."""
    content = Template(INSTRUCTION).substitute(classes=_as_json(class_names), name=_as_json(name), count=count)
    return [{"role": "user", "content": content}]


def next_question(answer: str, reasons: str, name: str, kept: Sequence[str], count: int) -> list[Message]:
    """Messages that follow the first question where its answer was not enough.

    Args:
        answer: what the model said last.
        reasons: why that is not enough.
        name: the class.
        kept: its terms that are good.
        count: how many are missing.
    """
    complaint = Template(COMPLAINT).substitute(reasons=reasons, kept=_as_json(kept), name=_as_json(name), count=count)
    return [{"role": "assistant", "content": answer[:SHOWN_AGAIN]}, {"role": "user", "content": complaint}]


def read_answer(answer: str, fewest: int, most: int, max_length: int) -> list[str]:
    """The terms of an answer, which must be `{"neighbors": [...]}` alone or in one fenced code block.

    Args:
        answer: what the model said.
        fewest: number of terms that were asked for.
        most: number of terms of a class: a model that was asked for the missing ones may write all of them again.
        max_length: characters of the longest term that is any good.

    Returns:
        Texts without spaces around them; nothing else is known of them.

    Raises:
        UnreadableAnswer: the answer has another form.
    """
    # Twice the length of the terms: quotes, escapes and line breaks. More than that is not even parsed.
    room = ROOM_AROUND + 2 * max_length * most
    if len(answer) > room:
        raise UnreadableAnswer(f"it has {len(answer)} characters, more than {room}")
    fenced = _FENCED.fullmatch(answer.strip())
    try:
        content = json.loads(fenced[1] if fenced else answer, object_pairs_hook=without_doubles)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswer(f"it is not JSON and nothing else: {str(error)[:max_length]}") from error
    if not isinstance(content, dict) or list(content) != ["neighbors"]:
        raise UnreadableAnswer('it is not a JSON object with "neighbors" alone')
    terms = content["neighbors"]
    if not isinstance(terms, list) or not all(isinstance(term, str) for term in terms):
        raise UnreadableAnswer('its "neighbors" are not a list of strings')
    if not fewest <= len(terms) <= most:
        raise UnreadableAnswer(f"it holds {len(terms)} terms instead of {fewest}")
    return [term.strip() for term in terms]


def _as_json(value: str | Sequence[str]) -> str:
    return json.dumps(value if isinstance(value, str) else list(value), ensure_ascii=False)
