"""Reading the stream of a chat service, whatever it sends."""

import json
import random

import pytest
from fake_openai import chunk_of

from pipeline.errors import LanguageModelError
from pipeline.llm.reading import MAX_LINE_BYTES, AnswerReader
from pipeline.llm.tokens import SaidWords

DONE = "data: [DONE]\n\n"


def sse(*events: object) -> str:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events)


def read(stream: str | bytes, step: int = 10_000) -> str:
    reader = AnswerReader()
    data = stream.encode() if isinstance(stream, str) else stream
    said = [piece for at in range(0, len(data), step) for piece in reader.push(data[at : at + step])]
    said += reader.rest()
    assert reader.complete
    return "".join(said)


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize(
    "event",
    [
        {"choices": None},
        {"choices": []},
        {"choices": {}},
        {"choices": [None]},
        {"choices": ["x"]},
        {"choices": [{}]},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": "x"}]},
        {"choices": [{"index": 1, "delta": {"content": "another answer"}}]},
        {"usage": {"total_tokens": 3}},
        chunk_of(None),
        chunk_of(42),
        chunk_of(True),
        chunk_of({"type": "image_url", "image_url": {"url": "x"}}),
        chunk_of([None, 3, {"type": "thinking", "text": "hm"}, {"type": "image"}]),
        chunk_of(None, delta={"reasoning_content": "hm"}),
        chunk_of(None, delta={"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}),
        chunk_of([{"type": "redacted_thinking", "text": "hm"}, {"type": "summary_text", "text": "hm"}]),
        chunk_of([{"type": "tool_result", "text": "hm"}, {"text": "hm", "thought": True}]),
        chunk_of("hm", delta={"content": "hm", "extra_content": {"google": {"thought": True}}}),
        chunk_of(None, delta={"role": "tool", "content": "{}"}),
        {"choices": [{"message": {"content": "Hello"}}]},
        {"choices": [{"delta": {"content": ""}, "message": {"content": "Hello"}}]},
        {"choices": [{"delta": {}, "finish_reason": "null"}]},
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
        None,
        7,
        ["x"],
        "x",
    ],
)
def test_what_is_no_text_is_passed_over(event: object, step: int) -> None:
    """Between two words may come anything."""
    assert read(sse(chunk_of("Hello "), event, chunk_of("you.")) + DONE, step) == "Hello you."


@pytest.mark.parametrize(
    "event",
    [
        chunk_of("Hi"),
        chunk_of(["H", "i"]),
        chunk_of([{"type": "text", "text": "H"}, {"type": "refusal"}, {"type": "output_text", "text": "i"}]),
        chunk_of([{"type": "text", "text": {"value": "Hi"}}]),
        chunk_of({"type": "text", "text": "Hi"}),
        chunk_of(None, delta={"refusal": "Hi"}),
        chunk_of([{"type": "refusal", "refusal": "Hi"}]),
        {"response": "Hi", "done": True},
        {"choices": [{"text": "Hi"}]},
        {"choices": [{"message": {"content": "Hi"}}]},
        {"choices": [{"index": "0", "delta": {"content": "Hi"}}]},
        {"message": {"role": "assistant", "content": "Hi"}, "done": True},
    ],
)
def test_shapes_of_text(event: object) -> None:
    """Text comes as a string, in parts, as a refusal, or in the shapes of other protocols."""
    assert read(sse(event) + DONE) == "Hi"


@pytest.mark.parametrize(
    "stream",
    [
        sse(chunk_of("Hi")) + DONE,
        sse(chunk_of("Hi")).replace("\n", "\r\n") + DONE,
        sse(chunk_of("Hi")).replace("data: ", "data:").replace("\n\n", "\n") + DONE,
        "\ufeff: hello\n\nevent: message\nid: 1\nretry: 5\n" + sse(chunk_of("Hi")) + DONE,
        sse(chunk_of("Hi", finish_reason="stop")),
        json.dumps({"choices": [{"message": {"content": "Hi"}}]}),
        json.dumps({"id": "1", "choices": [{"index": 0, "message": {"content": "Hi"}}]}, indent=2),
        "".join(f"data: {line}\n" for line in json.dumps(chunk_of("Hi"), indent=1).split("\n")) + "\n" + DONE,
        '{"message": {"content": "H"}}\n{"message": {"content": "i"}, "done": true}\n',
        sse(chunk_of("Hi")).replace("\n", "\r") + DONE,
        "data: ping\n\n: PROCESSING\n\n" + sse(chunk_of("Hi")) + "data: keepalive\n\n" + DONE,
        'data: {"choices": [{"delta": {"content": "Hi"}}], "x": "\t"}\n\n' + DONE,
        "data: [DONE]".join([sse(chunk_of("Hi")), ""]),
    ],
)
@pytest.mark.parametrize("step", [1, 3, 10_000])
def test_forms_of_streams(stream: str, step: int) -> None:
    """Events with and without blank lines, over several lines, as plain JSON, in chunks of any size."""
    assert read(stream, step) == "Hi"


def test_bytes_that_are_no_text_cost_only_themselves() -> None:
    """A broken character does not end the answer."""
    assert read(sse(chunk_of("Hi X!")).encode().replace(b"X", b"\xff") + DONE.encode()) == "Hi \ufffd!"


@pytest.mark.parametrize(
    "event",
    [
        {"error": {"message": "out of memory", "code": 500}},
        {"error": "out of memory"},
        {"object": "error", "message": "out of memory"},
        {"choices": [{"delta": {}, "error": {"message": "out of memory"}}]},
        {"code": "Failed", "message": "out of memory", "request_id": "x"},
        {"text": "out of memory", "error_code": 50001},
        "event: error\ndata: out of memory\n\n",
        'event: error\ndata: "out of memory"\n\n',
        'error: {"code": 500, "message": "out of memory"}\n\n',
    ],
)
def test_an_error_within_the_stream(event: object) -> None:
    """It is a failure, with the service's words for the log; what came before stays."""
    reader = AnswerReader()
    list(reader.push(sse(chunk_of("Hello.")).encode()))
    with pytest.raises(LanguageModelError) as caught:
        list(reader.push((event if isinstance(event, str) else sse(event)).encode()))
    assert "out of memory" in caught.value.detail
    assert "out of memory" not in str(caught.value)
    assert list(reader.rest()) == ["Hello."]
    assert not reader.complete


@pytest.mark.parametrize("stream", ["", sse(chunk_of("Hi")), "<html>login</html>", ": ping\n\n" * 3])
def test_a_stream_that_just_ends_is_not_complete(stream: str) -> None:
    """Without a reason for its end, and without [DONE], an answer has broken off."""
    reader = AnswerReader()
    list(reader.push(stream.encode()))
    list(reader.rest())
    assert not reader.complete


@pytest.mark.parametrize("endless", [b"x" * 2**16, b"data: {\n" * 2**12, b"[[[[" * 2**14])
def test_what_never_ends_is_refused(endless: bytes) -> None:
    """A line, or an event of many lines, is held up to a bound only."""
    reader = AnswerReader()
    with pytest.raises(LanguageModelError, match="more than anybody"):
        list(reader.push(b"data: {\n"))
        for _ in range(4 * MAX_LINE_BYTES // len(endless)):
            list(reader.push(endless))


def test_what_is_nested_without_end_is_no_crash() -> None:
    """JSON that is too deep is a broken event."""
    reader = AnswerReader()
    with pytest.raises(LanguageModelError, match="broke off"):
        list(reader.push(b"data: " + b"[" * 200_000 + b"\n\n"))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("Hm.</think>Hello!", "Hello!"),
        ("<think>Hm.</think>\n\nHello!", "Hello!"),
        ("<THINKING>Hm.</THINKING>Hello!", "Hello!"),
        ("<think>a</think>Hel<think>b</think>lo!", "Hello!"),
        ("Hello!<think>unfinished", "Hello!"),
        ("Hello!<|im_end|>", "Hello!"),
        ("Hello!<|im_end|>\n<|im_start|>user\nAnd you?<|im_end|>", "Hello!"),
        ("<|im_start|>assistant\nHello!<|im_end|>", "Hello!"),
        ("<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>", "Hello!"),
        ("<start_of_turn>model\nHello!<end_of_turn>", "Hello!"),
        ("<s>Hello!</s>", "Hello!"),
        ("Hello!<eos>", "Hello!"),
        ("Hello!<｜end▁of▁sentence｜>", "Hello!"),
        ("[INST] Say hello [/INST] Hello!", "Hello!"),
        ("Hello![INST] And now", "Hello!"),
        ("<<SYS>>Be kind.<</SYS>>Hello!", "Hello!"),
        (
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hello!<|return|>",
            "Hello!",
        ),
        ("◁think▷Hm.◁/think▷Hello!", "Hello!"),
        ("<|begin_of_thought|>Hm.<|end_of_thought|>Hello!", "Hello!"),
        ("<seed:think>Hm.</seed:think>Hello!", "Hello!"),
        ('<tool_call>{"name": "f"}</tool_call>Hello!', "Hello!"),
        ('Hello![TOOL_CALLS][{"name": "f"}]', "Hello!"),
        ("<answer>Hello!</answer>", "Hello!"),
        ("Hello!<EOS_TOKEN>", "Hello!"),
        ("Hello!<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|>", "Hello!"),
        ("<|im_start|>assistant<|im_sep|>Hello!<|im_end|>", "Hello!"),
        ("Hello![PAD][PAD]", "Hello!"),
        ("<think type='x'>Hm.</think >Hello!", "Hello!"),
        ("<analysis>Hm.</analysis>Hello!", "Hello!"),
        ("<thinking_process>Hm.</thinking_process>Hello!", "Hello!"),
        ("[THINK]Hm.[/THINK]Hello!", "Hello!"),
        ("<|think|>Hm.<|/think|>Hello!", "Hello!"),
        ("<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>Hello!<|END_RESPONSE|>", "Hello!"),
        ("<|channel>thought\nHm.<channel|>Hello!<turn|>", "Hello!"),
        ("<|turn>model\nHello!<turn|>\n<|turn>user\nAnd", "Hello!"),
        ("<response>Hello!</response>", "Hello!"),
        ("[gMASK]<sop><|assistant|>\nHello!<|user|>", "Hello!"),
        ("Hello!<｜User｜>And now?", "Hello!"),
        ("<|header_start|>assistant<|header_end|>\n\nHello!<|eot|>", "Hello!"),
        ("<|start_of_role|>assistant<|end_of_role|>Hello!<|end_of_text|>", "Hello!"),
        ("<role>ASSISTANT</role>Hello!", "Hello!"),
        ("<|im_assistant|>assistant<|im_middle|>Hello!<|im_end|>", "Hello!"),
        ("<unused0><reserved_106>[unused1]Hello!<extra_id_0>", "Hello!"),
        (
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>Hello!",
            "Hello!",
        ),
        (
            "<|tool_calls_section_begin|><|tool_call_begin|>f:0<|tool_call_end|><|tool_calls_section_end|>Hello!",
            "Hello!",
        ),
        ('<|tool_call|>[{"name": "f"}]<|/tool_call|>Hello!', "Hello!"),
        ('Hello!<|python_tag|>{"name": "f"}<|eom_id|>', "Hello!"),
        ('<function=f>{"a": 1}</function>Hello!', "Hello!"),
        (
            '<｜DSML｜function_calls><｜DSML｜invoke name="f">x</｜DSML｜invoke></｜DSML｜function_calls>Hello!',
            "Hello!",
        ),
        ("<minimax:tool_call>x</minimax:tool_call>Hello!", "Hello!"),
        ("[TOOL_RESULTS]{}[/TOOL_RESULTS]Hello!", "Hello!"),
        ("<longcat_think>Hm.</longcat_think>Hello!", "Hello!"),
        ("<plan>Hm.</plan><output>Hello!</output>", "Hello!"),
        ("[|assistant|]Hello![|endofturn|]\n[|user|]And", "Hello!"),
        ("### Response:\nHello!\n### Instruction:\nAnd", "Hello!\n"),
        ("### Human: Hi\n### Assistant: Hello!\n### Human: And", "Hello!\n"),
        ("Assistant: Hello!", "Hello!"),
        ("GPT4 Correct Assistant: Hello!<|end_of_turn|>", "Hello!"),
        ("analysisThe user says hi.assistantfinalHello!", "Hello!"),
        ("analysis of it", "analysis of it"),
        ("A plan: <plan> and ### User: in it\n## Input\n#1", "A plan: <plan> and ### User: in it\n## Input\n#1"),
        ("An Assistant: what is it?", "An Assistant: what is it?"),
        ("```\n### User: x\n```\nYes", "```\n### User: x\n```\nYes"),
        ("```\n<think>\n```\nHello!", "```\n<think>\n```\nHello!"),
        ('The tag "<think>" opens them.', 'The tag "<think>" opens them.'),
        ("The <answer> tag and the <reason> of it", "The <answer> tag and the <reason> of it"),
        ("A <function> and </function>", "A <function> and </function>"),
        ("Press <Save>, if a < b [x].", "Press <Save>, if a < b [x]."),
        ("The `<think>` tag", "The `<think>` tag"),
        ("5 <", "5 <"),
        ("see [IN", "see [IN"),
    ],
)
@pytest.mark.parametrize("step", [1, 2, 5, 1000])
def test_marks_of_the_template_are_not_said(raw: str, said: str, step: int) -> None:
    """Thoughts and the marks of a model's template go, however the stream is split; what only looks like one stays."""
    words = SaidWords()
    assert "".join(words.push(raw[at : at + step]) for at in range(0, len(raw), step)) + words.finish() == said


def test_any_bytes_are_survived() -> None:
    """Random mixtures of all the above end in words or in a LanguageModelError, never in anything else."""
    chance = random.Random(8)
    scraps = [
        sse(chunk_of("Hi <|")),
        "data: {",
        "\n",
        "\r\n",
        "\n\n",
        DONE,
        "null",
        "}",
        "[[",
        '{"choices": [1]}',
        "</think>",
    ]
    scraps += [
        "data: ",
        "event: error\n",
        "\ud83c",
        "<think>",
        '{"error": 0}',
        sse({"choices": [{"delta": {"content": [{}]}}]}),
    ]
    for _ in range(2000):
        reader = AnswerReader()
        stream = "".join(chance.choices(scraps, k=chance.randrange(12))).encode("utf-8", "surrogatepass")
        try:
            for at in range(0, len(stream), 5):
                assert all(isinstance(piece, str) and piece for piece in reader.push(stream[at : at + 5]))
            list(reader.rest())
        except LanguageModelError:
            pass
