"""Python functions that a language model may call. Their results go to the model, and are never spoken.

A function becomes a tool by its name, its docstring and the types of its parameters:

    async def weather(city: str) -> str:
        '''The weather in a city now.'''
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pydantic import BaseModel, ValidationError, create_model

from models.outside import imported
from pipeline.errors import BackendUnavailable

__all__ = ["MAX_CALLS", "Tool", "ToolCalls", "ToolThreads", "named_tools", "tool_of"]

logger = logging.getLogger(__name__)

CALL_TIMEOUT_S = 10.0
MAX_RESULT_CHARACTERS = 8000
MAX_CALLS = 8
"""Most tool calls in one answer of the model; further ones are ignored."""
MAX_ARGUMENT_CHARACTERS = 20_000
MAX_TOOL_THREADS = 16
"""Most tools at work in threads, for all sessions of a language model. Those that hang count."""


class ToolsBusy(Exception):
    """All threads of tools were taken for as long as a call may take."""


class ToolThreads:
    """Threads for tools that are not async. They are the tools' own: one that hangs takes no thread from the portal.

    There are at most MAX_TOOL_THREADS; further calls wait for one. A thread whose tool takes too long is abandoned, and
    counts until the tool returns.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(MAX_TOOL_THREADS)

    async def run(self, function: Callable[[], object], timeout_s: float) -> object:
        """Run the function in a thread and return its result.

        Raises ToolsBusy or TimeoutError if that takes longer, and what the function raises.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_s
        try:
            async with asyncio.timeout_at(until_s):
                await self._free.acquire()
        except TimeoutError as error:
            raise ToolsBusy from error
        outcome: Future[object] = Future()
        returned = asyncio.Event()

        def end() -> None:
            self._free.release()
            returned.set()

        def work() -> None:
            try:
                outcome.set_result(function())
            except Exception as error:  # noqa: BLE001 - the caller looks at it
                outcome.set_exception(error)
            except BaseException as error:  # noqa: BLE001 - SystemExit ends the thread, but not the portal
                outcome.set_exception(RuntimeError(f"it raised {error!r}"))
            finally:
                with suppress(RuntimeError):  # the loop was closed while the tool ran
                    loop.call_soon_threadsafe(end)

        # A daemon, so that a tool that hangs does not keep the process from ending.
        thread = threading.Thread(target=copy_context().run, args=(work,), name="vivavoce-tool", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system gives no further thread
            self._free.release()
            raise
        async with asyncio.timeout_at(until_s):
            await returned.wait()
        return outcome.result()


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a language model may call."""

    name: str
    description: str
    schema: dict[str, object]
    "JSON schema of the arguments."
    arguments: type[BaseModel]
    "Validates the arguments."
    function: Callable[..., object]
    threads: ToolThreads

    @property
    def offer(self) -> dict[str, object]:
        """The tool in the format of OpenAI's interface."""
        told = {"name": self.name, "description": self.description, "parameters": self.schema}
        return {"type": "function", "function": told}

    async def call(self, arguments: str) -> str:
        """Call the function with these arguments (JSON). Returns its result, or the error, as text for the model.

        A function that is not async runs in one of ToolThreads.
        """
        try:
            given = dict(self.arguments.model_validate_json(arguments or "{}"))
        except ValidationError as error:
            return f"error: the arguments do not fit: {error.errors(include_url=False, include_input=False)}"
        try:
            if inspect.iscoroutinefunction(self.function):
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    result = await self.function(**given)
            else:
                result = await self.threads.run(partial(self.function, **given), CALL_TIMEOUT_S)
        except TimeoutError:
            logger.warning("the tool %s took longer than %g s", self.name, CALL_TIMEOUT_S)
            return "error: it took too long"
        except ToolsBusy:
            logger.warning("the tool %s was not called: %d tools hang or are at work", self.name, MAX_TOOL_THREADS)
            return "error: too many tools are at work"
        except Exception:  # the function is not ours: the conversation goes on without its result
            logger.exception("the tool %s failed", self.name)
            return "error: it failed"
        text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)
        return text[:MAX_RESULT_CHARACTERS]


def tool_of(function: Callable[..., object], threads: ToolThreads) -> Tool:
    """Make a tool of a function. Raises TypeError if a parameter has no type, or one that JSON cannot express."""
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        if parameter.annotation is parameter.empty or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise TypeError(f"the parameter {name!r} has no type")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[name] = (parameter.annotation, default)
    model = create_model(function.__name__, **fields)
    return Tool(function.__name__, inspect.getdoc(function) or "", model.model_json_schema(), model, function, threads)


def named_tools(backend: str, paths: Iterable[str]) -> dict[str, Tool]:
    """Return the functions at these paths, `package.module:function`, by name.

    Raises BackendUnavailable for `backend`.
    """
    found, threads = {}, ToolThreads()
    for path in paths:
        try:
            tool = tool_of(imported(path), threads)
        except Exception as error:  # other people's module may raise anything
            reason = f"the tool '{path}' cannot be used: {type(error).__name__}: {error}"
            raise BackendUnavailable(backend, reason, "Correct llm_tools: package.module:function.") from error
        found[tool.name] = tool
    return found


@dataclass(slots=True)
class ToolCalls:
    """The tool calls in one answer, assembled from the pieces in which they are streamed."""

    _calls: dict[int, dict[str, str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(call["name"] for call in self._calls.values())

    def push(self, deltas: object) -> None:
        """Take `tool_calls` of one event, which may be malformed."""
        for place, delta in enumerate(deltas if isinstance(deltas, list) else ()):
            index = delta.get("index", place) if isinstance(delta, dict) else None
            if not isinstance(index, int) or not 0 <= index < MAX_CALLS:
                continue
            call = self._calls.setdefault(index, {"id": "", "name": "", "arguments": ""})
            function = delta.get("function")
            told = {"id": delta.get("id"), **(function if isinstance(function, dict) else {})}
            for name, known in call.items():
                piece = told.get(name)
                if isinstance(piece, str):
                    call[name] = (known + piece if name == "arguments" else piece or known)[:MAX_ARGUMENT_CHARACTERS]

    async def answered(self, tools: dict[str, Tool]) -> Sequence[dict[str, object]]:
        """Make the calls. Returns the messages for the next request: the calls, and their results."""
        calls = [{**call, "id": call["id"] or f"call_{index}"} for index, call in sorted(self._calls.items())]
        calls = [call for call in calls if call["name"]]
        results = await asyncio.gather(*(_result(tools.get(call["name"]), call["arguments"]) for call in calls))
        asked: list[dict[str, object]] = [
            {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
            for call in calls
        ]
        told: list[dict[str, object]] = [
            {"role": "tool", "tool_call_id": call["id"], "content": result}
            for call, result in zip(calls, results, strict=True)
        ]
        return [{"role": "assistant", "content": None, "tool_calls": asked}, *told]


async def _result(tool: Tool | None, arguments: str) -> str:
    return "error: there is no such tool" if tool is None else await tool.call(arguments)
