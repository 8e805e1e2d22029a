"""Settings composed by hydra from ``configs/``, with every mistake answered by the nearest valid name.

Text settings (paths, names) are taken literally: spaces, brackets, commas and equal signs need no quoting of hydra's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from studio.cli.config import Config
from studio.cli.help import CONFIGS, default_choices, group_choices
from studio.errors import StudioError
from studio.nearest import did_you_mean

JOB_ACTIONS = ("run", "forecast", "status", "pause", "resume", "cancel", "retry")
_SETTING = re.compile(r"(?P<key>[A-Za-z_][\w.]*)=(?P<value>.*)", re.DOTALL)
_NUMBERS = re.compile(r"\[[\d\s.,+-]*\]")  # a list of numbers, such as a size


def compose_jobs(verb: str, settings: Sequence[str], multirun: bool = False) -> list[DictConfig]:
    """The composed settings of every job: one, or with ``multirun`` one for each combination of a sweep.

    Raises:
        StudioError: a setting that is not key=value, an unknown key or choice, a value that does not parse.
    """
    groups = default_choices(verb)
    pairs = [_with_source(*_split(verb, setting), groups) for setting in settings]
    first: list[str] = []
    for key, value in pairs:
        if key in groups:
            choices = value.split(",") if multirun else [value]
            _check_choices(key, choices)
            first.append(f"{key}={choices[0]}")
    base = _compose(verb, first)
    overrides = [
        f"{key}={value}" if key in groups else _override(verb, key, value, base, multirun) for key, value in pairs
    ]
    jobs = _sweep(overrides) if multirun else [overrides]
    return [_compose(verb, job) for job in jobs]


def to_config(verb: str, composed: DictConfig) -> Config:
    """Plain values of composed settings. Raises StudioError naming what must be given and was not."""
    missing = sorted(OmegaConf.missing_keys(composed))
    if missing:
        raise StudioError(
            f"studio {verb} needs {' and '.join(missing)}",
            got="nothing",
            expected=" ".join(f"{key}=…" for key in missing),
            next=f"studio {verb} --help",
        )
    values: Any = _guarded(lambda: OmegaConf.to_container(composed, resolve=True))
    return Config(values)


def _split(verb: str, setting: str) -> tuple[str, str]:
    match = _SETTING.fullmatch(setting)
    if match is None and verb == "render" and setting.endswith((".yaml", ".yml")):
        return "project", setting
    if match is None and verb == "jobs":
        return ("action" if setting in JOB_ACTIONS else "job"), setting
    if match is None:
        first = next(iter(OmegaConf.missing_keys(_compose(verb, []))), "folder" if verb == "info" else "key")
        hint = f"studio {verb} {first}={setting}" if "=" not in setting else f"studio {verb} --help"
        raise StudioError("a setting is not of the form key=value", got=setting, next=hint)
    return match["key"], match["value"]


def _with_source(key: str, value: str, groups: dict[str, str]) -> tuple[str, str]:
    """``driver=other.mp4`` is short for ``driver.source=other.mp4``, where the choices of a group have a source."""
    if key not in groups or value in group_choices(key) or not (re.search(r"[./\\]", value) or Path(value).exists()):
        return key, value
    default = CONFIGS / key / f"{groups[key]}.yaml"
    has_source = any(line.startswith("source:") for line in default.read_text(encoding="utf-8").splitlines())
    return (f"{key}.source" if has_source else key), value


def _check_choices(group: str, choices: Sequence[str]) -> None:
    valid = group_choices(group)
    for choice in choices:
        if choice not in valid:
            near = did_you_mean(choice, valid)
            raise StudioError(f"unknown choice of {group}", got=choice, expected=near or " | ".join(valid))


def _leaves(node: DictConfig, prefix: str = "") -> list[str]:
    names: list[str] = []
    for key in map(str, node):
        value = node._get_node(key)
        name = f"{prefix}{key}"
        names += _leaves(value, f"{name}.") if isinstance(value, DictConfig) and len(value) else [name]
    return names


def _override(verb: str, key: str, value: str, base: DictConfig, multirun: bool) -> str:
    """One setting in hydra's grammar: text quoted, so that it is taken as it stands, all else as written."""
    valid = _leaves(base)
    if key not in valid:
        near = did_you_mean(key, valid)
        raise StudioError("unknown setting", got=key, expected=near or ", ".join(valid), next=f"studio {verb} --help")
    default = OmegaConf.select(base, key)
    is_text = isinstance(default, str) or (default is None and not _NUMBERS.fullmatch(value))
    if not is_text or value == "null" or (multirun and _parses(f"{key}={value}")):
        return f"{key}={value}"
    parts = value.split(",") if multirun else [value]
    return f"{key}={','.join(_quote(part) for part in parts)}"


def _quote(text: str) -> str:
    """Text in hydra's single quotes, where a backslash is special only before a quote or at the end."""
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"


def _parses(override: str) -> bool:
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def _sweep(overrides: list[str]) -> list[list[str]]:
    parsed = _guarded(lambda: OverridesParser.create().parse_overrides(overrides))
    batches = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return [list(job) for batch in batches for job in batch]


def _compose(verb: str, overrides: list[str]) -> DictConfig:
    """Hydra composes the chosen groups; settings are set afterwards, since some share their name with a group."""
    groups = default_choices(verb)
    parsed = _guarded(lambda: OverridesParser.create().parse_overrides(overrides))
    for item in parsed:
        if item.is_sweep_override():
            raise StudioError(
                f"{item.key_or_group} has several values",
                got=item.input_line,
                next="add -m to run them one after another",
            )

    def composed() -> DictConfig:
        chosen = [item.input_line for item in parsed if item.key_or_group in groups]
        with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
            config = hydra_compose(config_name=verb, overrides=chosen)
        for item in parsed:
            if item.key_or_group not in groups:
                OmegaConf.update(config, item.key_or_group, item.value())
        return config

    return _guarded(composed)


def _guarded(action: Any) -> Any:
    """The result of a call into hydra; its own messages become one line."""
    try:
        return action()
    except (HydraException, OmegaConfBaseException) as error:
        problem = str(error).strip().splitlines()[0]
        raise StudioError("cannot read the settings", got=problem, next="studio <verb> --help shows them") from error
