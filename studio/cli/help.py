"""Help texts, read from the comments of the config files, so that there is one place to describe a setting.

In a config file the first comment line is the summary, further ones are examples, and the comment after a setting
describes it.
"""

from __future__ import annotations

import re
from pathlib import Path

from studio.cli.verbs import VERBS

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
_SETTING = re.compile(r"^(?P<indent> *)(?P<key>\w+):(?: (?P<default>[^#]*?))?(?: +# (?P<text>.*))?$")
_DEFAULT = re.compile(r"^ +- (?P<group>\w+): (?P<choice>\w+)$")


def overview() -> str:
    """What ``studio --help`` prints."""
    listed = "\n".join(f"  {verb:<8} {_comments(CONFIGS / f'{verb}.yaml')[0]}" for verb in VERBS)
    return f"""studio: from footage of a head to an avatar that can be driven, on any machine

usage: studio <verb> key=value …

{listed}

  studio <verb> --help    settings and examples of a verb
  studio <verb> … --cfg   print the composed settings and stop
  studio <verb> … -m      run every combination of key=a,b,c in sequence
  studio --version"""


def verb_help(verb: str) -> str:
    """What ``studio <verb> --help`` prints: summary, examples, settings with defaults, groups with choices."""
    path = CONFIGS / f"{verb}.yaml"
    summary, *examples = _comments(path)
    parts = [f"studio {verb}: {summary}", "\n".join(["examples:", *(f"  {line}" for line in examples)])]
    parts.append("\n".join(["settings:", *_settings(path)]))
    for group, default in default_choices(verb).items():
        choices = [f"{choice} ({_comments(CONFIGS / group / f'{choice}.yaml')[0]})" for choice in group_choices(group)]
        lines = [f"{group}={default}", *(f"    {choice}" for choice in choices)]
        prefix = "" if group == "recipe" else f"{group}."
        parts.append("\n".join([*lines, *_settings(CONFIGS / group / f"{default}.yaml", prefix)]))
    return "\n\n".join(parts)


def default_choices(verb: str) -> dict[str, str]:
    """group -> choice of the config groups that a verb is composed from."""
    lines = (CONFIGS / f"{verb}.yaml").read_text(encoding="utf-8").splitlines()
    return {match["group"]: match["choice"] for line in lines if (match := _DEFAULT.match(line))}


def group_choices(group: str) -> list[str]:
    """The choices that a config group offers."""
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def _comments(path: Path) -> list[str]:
    """The comment lines at the top, without hydra's own (``# @package …``)."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# @")]
    count = next((index for index, line in enumerate(lines) if not line.startswith("# ")), len(lines))
    return [line[2:] for line in lines[:count]]


def _settings(path: Path, prefix: str = "") -> list[str]:
    """One line for each setting: name=default, then what it means; nested settings get dotted names."""
    listed: list[tuple[str, str]] = []
    parents: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        match = _SETTING.match(line)
        if match is None or match["key"] == "defaults":
            continue
        parents = parents[: len(match["indent"]) // 2]
        name = ".".join([*parents, match["key"]])
        if not match["default"]:
            parents.append(match["key"])
            continue
        default = match["default"].replace("???", "…")
        listed.append((f"{prefix}{name}={'' if default == 'null' else default}", match["text"] or ""))
    width = min(34, max((len(setting) for setting, _ in listed), default=0))
    return [f"  {setting:<{width}}  {text}".rstrip() for setting, text in listed]
