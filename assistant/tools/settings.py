"""A plugin's section of the config, checked against its Config model. No value is ever quoted: it may be a secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from assistant.errors import ConfigProblem, PluginConfigError, PluginLoadError
from assistant.plugin.tasks import fault
from assistant.tools.loading import LoadedPlugin


class WrongSettings(PluginConfigError):
    """Everything that is wrong with a plugin's section."""

    def __init__(self, problems: tuple[ConfigProblem, ...]) -> None:
        super().__init__("; ".join(f"{problem.key}: {problem.message}" for problem in problems))
        self.problems = problems


def validated(plugin: LoadedPlugin, settings: Mapping[str, Any] | None) -> BaseModel | None:
    """The plugin's settings as its Config model, or None if it has none.

    Raises WrongSettings, and PluginLoadError if the model itself is unusable.
    """
    section = f"plugins.{plugin.name}"
    model = plugin.factory.Config if plugin.factory else None
    if model is None:
        if settings:
            raise WrongSettings((ConfigProblem(section, "this plugin has no settings: remove the section"),))
        return None
    try:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise PluginLoadError("Config must be a class derived from BaseModel")
        unknown = tuple(
            ConfigProblem(f"{section}.{key}", f"there is no such setting; known are: {', '.join(sorted(_keys(model)))}")
            for key in sorted(set(settings or {}) - _keys(model))
        )
        if unknown and model.model_config.get("extra") != "allow":
            raise WrongSettings(unknown)
        return model.model_validate(dict(settings or {}))
    except ValidationError as error:
        raise WrongSettings(
            tuple(
                ConfigProblem(".".join([section, *map(str, item["loc"])]), item["msg"])
                for item in error.errors(include_url=False, include_input=False, include_context=False)
            )
        ) from None
    except (PluginLoadError, WrongSettings):
        raise
    except BaseException as error:  # a validator is the author's code
        raise PluginLoadError(f"its Config crashed: {fault(error)}") from error


def _keys(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}
