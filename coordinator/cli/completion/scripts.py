"""Scripts that complete `muster` in bash, zsh and fish: lists of words, so that no key press starts a program.

They fit whatever `muster` is: the program in the image, or a function of the shell that calls it elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from typer import Typer
from typer.main import get_command


@dataclass(frozen=True)
class Words:
    """What may follow a command: its own commands, with their help, and its options."""

    commands: Mapping[str, str]
    options: tuple[str, ...]


def list_words(cli: Typer) -> dict[str, Words]:
    """The words of each command by its path, as `agents drain`; the path of the whole is empty."""
    return dict(_walk(get_command(cli), ""))


def _walk(command: Any, path: str) -> Iterator[tuple[str, Words]]:
    inner = getattr(command, "commands", {})
    options = (word for one in command.params for word in one.opts if word.startswith("--"))
    helped = {name: one.get_short_help_str(80) for name, one in inner.items()}
    yield path, Words(helped, (*options, "--help"))
    for name, one in inner.items():
        yield from _walk(one, f"{path} {name}".strip())


def write_bash(words: Mapping[str, Words]) -> str:
    """For bash 3.2 or newer."""
    paths = "|".join(f'"{path}"' for path in words if path)
    cases = "\n".join(
        f'    "{path}") words="{" ".join((*one.commands, *one.options))}" ;;' for path, one in words.items()
    )
    return f"""_muster() {{
  local path="" longer word words=""
  for word in "${{COMP_WORDS[@]:1:$((COMP_CWORD - 1))}}"; do
    longer="${{path:+$path }}$word"
    case "$longer" in {paths}) path="$longer" ;; esac
  done
  case "$path" in
{cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _muster muster
"""


def write_zsh(words: Mapping[str, Words]) -> str:
    """The same through zsh's own emulation of bash's completion."""
    return "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n" + write_bash(words)


def write_fish(words: Mapping[str, Words]) -> str:
    """One line a word, with its help."""
    lines = ["complete -c muster -f -n __fish_use_subcommand -l version"]
    for path, one in words.items():
        seen = " && ".join(f"__fish_seen_subcommand_from {name}" for name in path.split())
        when = f"-n '{seen}'" if path else "-n __fish_use_subcommand"
        lines += [f"complete -c muster -f {when} -a {name} -d {_quote(said)}" for name, said in one.commands.items()]
        lines += [f"complete -c muster {when} -l {word.removeprefix('--')}" for word in one.options if path]
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS: Mapping[str, Callable[[Mapping[str, Words]], str]] = {"bash": write_bash, "zsh": write_zsh, "fish": write_fish}
