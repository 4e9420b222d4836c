"""Language models. The first is the default."""

from __future__ import annotations

from pipeline.rows.row import BackendRow, Label, for_measuring

__all__ = ["ROWS"]

ROWS = (
    BackendRow("llm", "guide", "pipeline.llm.guide:GuideLanguageModel", Label("Guide · built in", "向导 · 内置")),
    BackendRow(
        kind="llm",
        name="openai",
        path="pipeline.llm.openai:OpenAILanguageModel",
        label=Label("Any server with OpenAI's interface", "任何兼容 OpenAI 接口的服务"),
        online=True,
        settings={
            "base_url": "llm_base_url",
            "api_key": "llm_api_key",
            "model": "llm_model",
            "system_prompt": "llm_system_prompt",
            "timeout_s": "llm_timeout_s",
            "tools": "llm_tools",
        },
    ),
    for_measuring("llm", "echo", "pipeline.llm.echo:EchoLanguageModel", "Echo"),
)
