"""The base of every section of a job file."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A frozen part of the job; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def recipe(self) -> dict[str, Any]:
        """The settings that change a result, as JSON values: this section's share of a fingerprint.

        Fields made with `tuning()` (threads, batch sizes, addresses …) are left out, so that a
        faster machine does not make yesterday's parts stale.
        """
        data = self.model_dump(mode="json")
        for name, field in type(self).model_fields.items():
            extra, value = field.json_schema_extra, getattr(self, name)
            if isinstance(extra, dict) and extra.get("tuning"):
                data.pop(name)
            elif isinstance(value, Section):
                data[name] = value.recipe()
        return data


def tuning(default: Any, description: str, **kwargs: Any) -> Any:
    """A field that changes how fast or where a job runs, not what it yields."""
    return Field(default, description=description, json_schema_extra={"tuning": True}, **kwargs)
