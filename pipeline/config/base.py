"""The base of every section of a job file, and what a change of a key makes stale."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["tuning", "effort", "gate", "rule", "mask"]
ROLES: dict[Role, str] = {
    "tuning": "changes how fast or where a job runs, not its results: makes nothing stale",
    "effort": "can only turn one failure into another: makes nothing stale, and `winnow retry` "
    "tries failed rows again",
    "gate": "decides which rows are refused: with another value only the rows whose refusal "
    "may change are fetched or measured again",
    "rule": "applied to the stored facts when rows are judged: another value fetches nothing",
    "mask": "decides which rows are measured: another value measures the rows that it adds and "
    "keeps what was measured before",
}
"""Kinds of keys outside the fingerprint of what is measured; every other key is inside it."""


class Section(BaseModel):
    """A frozen part of the job; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def recipe(self) -> dict[str, Any]:
        """The settings that change a result, as JSON values: this section's share of a fingerprint.

        Keys with a role are left out, and so are keys at their defaults: a new key with a default
        makes nothing stale. A change of a default must raise the version of the stage.
        """
        found: dict[str, Any] = {}
        for name, value in self.settings().items():
            default = type(self).model_fields[name].get_default(call_default_factory=True)
            own = getattr(self, name)
            if isinstance(own, Section):
                value = own.recipe()
                if not value and isinstance(default, Section):
                    continue
            elif own == default:
                continue
            found[name] = value
        return found

    def settings(self) -> dict[str, Any]:
        """The settings that change a result, defaults too, as JSON values."""
        data = self.model_dump(mode="json")
        fields = type(self).model_fields
        return {name: value for name, value in data.items() if role_of(fields[name]) is None}

    def changed(self, role: Role) -> dict[str, Any]:
        """The keys of a role that are not at their defaults, as JSON values."""
        data = self.model_dump(mode="json")
        return {
            name: data[name]
            for name, field in type(self).model_fields.items()
            if role_of(field) == role and getattr(self, name) != field.get_default()
        }

    def changed_since(self, before: Mapping[str, Any], role: Role) -> dict[str, tuple[Any, Any]]:
        """The keys of a role whose value is another in `before` (JSON values): (old, new)."""
        now = self.model_dump(mode="json")
        return {
            name: (before[name], now[name])
            for name, field in type(self).model_fields.items()
            if role_of(field) == role and name in before and before[name] != now[name]
        }


def role_of(field: Any) -> Role | None:
    """A field's role; None for one that changes what is measured."""
    extra = field.json_schema_extra
    return extra.get("role") if isinstance(extra, dict) else None


def _with_role(role: Role, default: Any, description: str, **kwargs: Any) -> Any:
    return Field(default, description=description, json_schema_extra={"role": role}, **kwargs)


def tuning(default: Any, description: str, **kwargs: Any) -> Any:
    """A field of the role `tuning`."""
    return _with_role("tuning", default, description, **kwargs)


def effort(default: Any, description: str, **kwargs: Any) -> Any:
    """A field of the role `effort`."""
    return _with_role("effort", default, description, **kwargs)


def gate(default: Any, description: str, **kwargs: Any) -> Any:
    """A field of the role `gate`."""
    return _with_role("gate", default, description, **kwargs)


def rule(default: Any, description: str, **kwargs: Any) -> Any:
    """A field of the role `rule`."""
    return _with_role("rule", default, description, **kwargs)


def mask(description: str) -> Any:
    """A field of the role `mask`, off by default."""
    return _with_role("mask", None, description)
