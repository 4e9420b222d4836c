"""Stands in for the processes that the launcher starts: pip, and other interpreters."""

from __future__ import annotations

from collections.abc import Callable


class FakeRun:
    """Runs nothing. Records commands, and answers with the exit status and lines set for a word in the command."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.answers: dict[str, tuple[int, list[str]]] = {}

    def __call__(self, command: list[str], on_line: Callable[[str], None]) -> int:
        self.commands.append(command)
        status, lines = next((self.answers[word] for word in self.answers if word in " ".join(command)), (0, []))
        for line in lines:
            on_line(line)
        return status

    def pip_installs(self) -> list[list[str]]:
        """Return the packages of each `pip install`."""
        installs = [command for command in self.commands if command[1:4] == ["-m", "pip", "install"]]
        return [[word for word in command if "==" in word] for command in installs]
