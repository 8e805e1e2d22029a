"""Help texts, read from the comments of the config files, so that there is one place to describe a setting.

In a config file the first comment line is the summary, further ones are examples, and the comment after a setting
describes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from studio.cli.verbs import VERBS

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
_SETTING = re.compile(r"^(?P<indent> *)(?P<key>\w+):(?: (?P<default>[^#]*?))?(?: +# (?P<text>.*))?$")
_BASE = re.compile(r"^ +- (?P<choice>\w+)$")
_COLUMN = 34
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


def verb_help(verb: str, settings: Sequence[str] = ()) -> str:
    """What ``studio <verb> --help`` prints: summary, examples, settings with defaults, groups with choices.

    Args:
        verb: which verb.
        settings: what else was typed: ``driver=video`` shows the settings of that choice.
    """
    path = CONFIGS / f"{verb}.yaml"
    summary, *examples = _comments(path)
    parts = [f"studio {verb}: {summary}", "\n".join(["examples:", *(f"  {line}" for line in examples)])]
    own = _settings(path)
    groups = []
    typed = dict(setting.partition("=")[::2] for setting in settings)
    for group, default in default_choices(verb).items():
        choices = group_choices(group)
        chosen = typed[group] if typed.get(group) in choices else default
        summaries = [f"    {choice} ({_comments(CONFIGS / group / f'{choice}.yaml')[0]})" for choice in choices]
        prefix = "" if group == "recipe" else f"{group}."
        offered = {f"{prefix}{name}": item for name, item in _settings(CONFIGS / group / f"{chosen}.yaml").items()}
        offered |= {name: own.pop(name) for name in offered if name in own}  # the verb's own default counts
        groups.append("\n".join([f"{group}={chosen}", *summaries, *_listed(offered)]))
    return "\n\n".join([*parts, "\n".join(["settings:", *_listed(own)]), *groups])


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


def _settings(path: Path) -> dict[str, tuple[str, str]]:
    """Dotted name -> (default, what it means) of a file, with those of the choice that it builds on."""
    found: dict[str, tuple[str, str]] = {}
    parents: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        base = _BASE.match(line)
        if base and base["choice"] != "_self_":
            found |= _settings(path.with_name(f"{base['choice']}.yaml"))
        match = _SETTING.match(line)
        if match is None or match["key"] == "defaults":
            continue
        parents = parents[: len(match["indent"]) // 2]
        name = ".".join([*parents, match["key"]])
        if match["default"]:
            found[name] = match["default"], match["text"] or ""
        else:
            parents.append(match["key"])
    return found


def _listed(settings: Mapping[str, tuple[str, str]]) -> list[str]:
    """One line for each setting, the meanings in a column; a setting that must be given shows an ellipsis."""
    shown = {"null": "", "???": "…"}
    lines = [(f"{name}={shown.get(default, default)}", meaning) for name, (default, meaning) in settings.items()]
    width = min(_COLUMN, max((len(setting) for setting, _ in lines), default=0))
    return [f"  {setting:<{width}}  {meaning}".rstrip() for setting, meaning in lines]
