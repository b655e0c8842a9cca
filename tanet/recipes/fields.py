"""Fields of a recipe. The declaration of a field states its default, its bounds and what it affects (role):

    epochs: int = setting(50, least=1)
    workers: int = setting(4, least=0, role="machine", on_resume="free")

A section of a recipe checks its fields whenever the section is created: in Python, from flags or from a
checkpoint.
"""

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from tanet.errors import UserError

T = TypeVar("T")
Role = Literal["learning", "place", "machine"]
OnResume = Literal["same", "content", "free"]


@dataclass(frozen=True)
class Rule:
    """Rule for a field of a recipe: its allowed values, and what the field affects."""

    least: float | None = None
    """Smallest allowed value."""
    most: float | None = None
    """Largest allowed value."""
    above: float | None = None
    """Lower bound. The value must be larger than the bound."""
    below: float | None = None
    """Upper bound. The value must be smaller than the bound."""
    may_be_empty: bool = False
    """Whether an empty tuple is an allowed value."""
    role: Role = "learning"
    """What the field affects. learning: what the network learns. place: where files are.
    machine: how the work is done, for example the number of workers."""
    on_resume: OnResume = "same"
    """Whether a resumed run may have another value. same: no. free: yes.
    content: the path may differ, but the file must list the same videos or classes."""

    def violation(self, value: float) -> str:
        """Return the violated bound as text, such as "at least 1". Return "" if the value is allowed."""
        broken = {
            f"at least {_shown(self.least)}": self.least is not None and not value >= self.least,
            f"at most {_shown(self.most)}": self.most is not None and not value <= self.most,
            f"above {_shown(self.above)}": self.above is not None and not value > self.above,
            f"below {_shown(self.below)}": self.below is not None and not value < self.below,
            "a finite number": not math.isfinite(value),
        }
        return next((bound for bound, is_broken in broken.items() if is_broken), "")


def setting(
    default: T,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    may_be_empty: bool = False,
    role: Role = "learning",
    on_resume: OnResume = "same",
) -> T:
    """Declare a field of a recipe section: its default value, and its rule (see `Rule`)."""
    rule = Rule(least, most, above, below, may_be_empty, role, on_resume)
    return dataclasses.field(default=default, metadata={"rule": rule})


def rule_of(field: "dataclasses.Field[Any]") -> Rule:
    """Return the rule that a field was declared with."""
    return field.metadata.get("rule", Rule())


class Section:
    """Base class of the sections of a recipe. A section is a frozen dataclass that checks its values.

    Raises:
        UserError: a value has the wrong type, is not a known choice, or is out of bounds.
    """

    section: ClassVar[str]
    """Name of the section in a recipe. Flags and messages refer to its fields as SECTION.FIELD."""

    def __post_init__(self) -> None:
        kinds = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            _check(f"{self.section}.{field.name}", value, kinds[field.name], rule_of(field))


S = TypeVar("S", bound=Section)


def section_from_dict(cls: type[S], values: Mapping[str, Any], where: str) -> S:
    """Build a section from a dictionary read from JSON. A missing field gets its default.

    Raises:
        UserError: a field is unknown, or a value is not allowed.
    """
    reject_unknown_fields(cls, values, where)
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})  # JSON has no tuples


def reject_unknown_fields(cls: type, values: Mapping[str, Any], where: str) -> None:
    """Raise UserError if a key of `values` is not a field of the dataclass. `where` starts the message."""
    known = [field.name for field in dataclasses.fields(cls)]
    if unknown := sorted(set(values) - set(known)):
        raise UserError(f"{where}: unknown field {', '.join(unknown)}; choose from {', '.join(known)}")


def _check(name: str, value: Any, kind: Any, rule: Rule) -> None:
    """Check the value of one field. If the value is a tuple, check each element."""
    values = (value,)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, tuple):
            raise UserError(f"{name} must be a list of values, not {value!r}")
        if not value and not rule.may_be_empty:
            raise UserError(f"{name} must not be empty")
        kind, values = typing.get_args(kind)[0], value
    choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
    for one in values:
        if choices:
            if one not in choices:
                raise UserError(f"unknown {name} '{one}': choose from {', '.join(map(str, choices))}")
        elif not isinstance(one, (int, float) if kind is float else kind) or (
            isinstance(one, bool) and kind is not bool
        ):
            raise UserError(f"{name} must be of type {kind.__name__}, not {one!r}")
        elif kind in (int, float) and (must := rule.violation(one)):
            raise UserError(f"{name} must be {must}, not {_shown(one)}")


def _shown(number: float | None) -> str:
    return str(number) if isinstance(number, int) else "" if number is None else f"{number:g}"
