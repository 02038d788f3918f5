"""Configuration: frozen pydantic models, `a.b=c` settings, kind errors. What ran is what the run folder says."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from ugc.core.errors import UserError, near


class Config(BaseModel):
    """The base of every configuration: frozen, unknown fields refused, defaults checked too, every number finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, data: dict[str, Any], where: str) -> Self:
        """From plain data (JSON), with one sentence that names the first wrong field."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise UserError(f"{where}: {_sentence(cls, error)}") from None

    def with_settings(self, settings: Iterable[str], where: str = "--set") -> Self:
        """A copy changed by settings such as `distill.n=2` (`null`, numbers, lists and objects as in JSON)."""
        data = self.model_dump(mode="json")
        for setting in settings:
            path, eq, text = setting.partition("=")
            if not eq:
                raise UserError(f"{where} {setting!r}: expected KEY=VALUE, such as seed=7")
            keys = path.strip().split(".")
            inner = data
            for depth, key in enumerate(keys):
                last = depth == len(keys) - 1
                if not isinstance(inner, dict) or (key not in inner and not (last and _free(self, keys[:depth]))):
                    path, above = ".".join(keys[: depth + 1]), ".".join(keys[:depth])
                    if not isinstance(inner, dict):
                        raise UserError(f"{where} {setting!r}: {above} is {inner!r} and has no options of its own; expected "
                                        f"{above}=VALUE")
                    raise UserError(f"{where} {setting!r}: there is no option {path!r}: {near(key, inner)}")
                if not last:
                    inner = inner[key]
            inner[keys[-1]] = _value(text)
        return type(self).parse(data, where)


def _free(config: BaseModel, keys: list[str]) -> bool:
    """Whether the field at `keys` is a free-form table (a plain dict), whose keys are checked by their owner."""
    value: Any = config
    for key in keys:
        value = getattr(value, key, None) if isinstance(value, BaseModel) else None
    return bool(keys) and isinstance(value, dict)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _sentence(cls: type[BaseModel], error: ValidationError) -> str:
    """The first thing wrong in a validation, in one sentence."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        owner: Any = cls
        for part in first["loc"][:-1]:
            field = getattr(owner, "model_fields", {}).get(part)
            kinds = (field.annotation, *get_args(field.annotation)) if field else ()
            inner = [kind for kind in kinds if hasattr(kind, "model_fields")]
            owner = inner[0] if inner else owner
        return f"there is no option {place!r}: {near(str(first['loc'][-1]), getattr(owner, 'model_fields', {}))}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message[:1].lower()}{message[1:]}, got {reprlib.repr(first['input'])}" if place else message
