"""The guide's knowledge: a table of topics, each with a pattern for questions and an answer, in English and Chinese.

Answers are spoken, so they are short plain sentences. Text that is only for reading stands between ``` fences, which
voices skip. Do not claim anything here that the program cannot do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.rows.row import Label

__all__ = ["GREETINGS", "TOPICS", "UNKNOWN", "Answer", "Topic"]


class Answer(Label):
    """An answer of the guide."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that the guide can talk about."""

    pattern: re.Pattern[str]
    answer: Answer


def _topic(english: str, chinese: str, answer: Answer) -> Topic:
    return Topic(re.compile(rf"\b(?:{english})\b|{chinese}", re.IGNORECASE), answer)


_COMMANDS = """
```
# {here}
python launch.py --llm openai --llm-base-url http://127.0.0.1:11434/v1 --llm-model qwen3:8b

# {elsewhere}
python launch.py --llm openai --llm-base-url http://127.0.0.1:8000/v1 --llm-model Qwen/Qwen3-8B

# {dashscope}
VIVAVOCE_LLM_API_KEY=sk-... python launch.py --llm openai --llm-model qwen-plus \\
  --llm-base-url https://dashscope.aliyuncs.com/compatible-mode/v1

# OpenAI
VIVAVOCE_LLM_API_KEY=sk-... python launch.py --llm openai --llm-model gpt-4o-mini \\
  --llm-base-url https://api.openai.com/v1
```
"""
_ENGLISH_COMMANDS = _COMMANDS.format(
    here="Ollama, on this machine", elsewhere="vLLM, on a server of your own", dashscope="DashScope"
)
_CHINESE_COMMANDS = _COMMANDS.format(here="Ollama，在本机", elsewhere="vLLM，在自己的服务器上", dashscope="阿里云百炼")

_YOURS = r"(?:my|own|new|custom|another|different|change|swap|make|create|add|use|delete)"
_FACES = r"(?:avatars?|photos?|pictures?|portraits?|faces?|clips?|videos?|characters?)"

TOPICS = (
    _topic(
        r"connect (?:a|an|the|to|you|it|my|ollama|openai)|llms?|language models?|chat ?gpt|gpt|openai|ollama|vllm"
        r"|dashscope|qwen|llama|deepseek|smarter|api key|base url|connect",
        r"大模型|语言模型|接入|连接|模型|密钥|通义|千问|更聪明",
        Answer(
            "I can be given a real language model. Start Vivavoce with the option llm set to openai, and name a "
            "service that speaks that protocol, such as Ollama, vLLM, DashScope or OpenAI. The commands are in the "
            "chat." + _ENGLISH_COMMANDS,
            "我可以接入真正的大模型。启动时把 llm 选项设为 openai，再填上兼容服务的地址就行，"
            "比如 Ollama、vLLM、百炼或者 OpenAI。具体命令写在聊天里了。" + _CHINESE_COMMANDS,
        ),
    ),
    _topic(
        r"interrupt(?:ing)?|stop (?:you|talking|speaking)|shut up|be quiet|cut you off|barge",
        r"打断|中断|停下|闭嘴|别说|安静",
        Answer(
            "You can interrupt me whenever you like. Press Interrupt, send the next message, or speak if your "
            "microphone is on, and I stop at once.",
            "你可以随时打断我。点一下“打断”，直接发下一条消息，或者打开麦克风后直接开口，我马上就停。",
        ),
    ),
    _topic(
        r"renam(?:e|ed|ing)|(?:change|edit|set|give|choose|pick)\b.{0,24}\bnames?",
        r"重命名|改名|(?:改|换|修改|更改|起|取).{0,8}(?:名字|名称)",
        Answer(
            "Open the Avatars tab and click an avatar to look closer. Press Rename beside its name, type another one "
            "and press Enter. Everything else about it stays as it is.",
            "打开“数字人”页面，点一下某个数字人查看详情，再点名字旁边的“重命名”，输入新名字后按回车就行。其他的都不会变。",
        ),
    ),
    _topic(
        rf"crop(?:ping|ped|s)?|framing|framed|frame (?:a|an|my|the|this|it|me)\b.{{0,20}}"
        rf"|(?:part|half|area|section) of (?:a|an|my|the|this)\b.{{0,12}}\b{_FACES}"
        r"|(?:two|three|several|many|multiple|more than one|which|the wrong) (?:faces?|people|persons?)",
        r"取景|裁剪|裁切|裁一|截取|(?:照片|图片|画面|视频).{0,6}(?:一部分|局部)|(?:两|几|多|好几)(?:个人|张脸|个脸)",
        Answer(
            "When you have chosen a photo or a clip on the Avatars tab, pick A part of it. Drag the square to the face "
            "you mean, and set its size below. Of several faces in the square, the largest is taken.",
            "在“数字人”页面选好照片或视频后，点“其中一部分”，把取景框拖到你想要的那张脸上，再调整大小。"
            "框里有好几张脸时，使用最大的一张。",
        ),
    ),
    _topic(
        rf"upload(?:ing)?|{_YOURS}\b.{{0,20}}\b{_FACES}",
        r"上传|自己的.{0,6}(?:形象|照片|头像|视频|数字人)|换.{0,6}(?:形象|头像|人物|脸|数字人)"
        r"|(?:制作|创建|新建|做|删除).{0,6}(?:形象|数字人|头像)",
        Answer(
            "Open the Avatars tab and drop a portrait or a short clip there. One face that looks at the camera works "
            "best. You see the progress, and then you can pick your avatar on the Talk tab.",
            "打开“数字人”页面，把一张照片或者一小段视频拖进去就行。最好只有一张正对镜头的脸。"
            "页面会显示进度，完成后就能在“对话”页面选用。",
        ),
    ),
    _topic(
        r"render(?:ing)?|export(?:ing)?|download|studio|mp4|save (?:a|the|this) (?:video|clip)",
        r"导出|下载|渲染|生成视频|工作室|保存视频",
        Answer(
            "The Studio tab makes a video file from a text or a recording, with the avatar you choose.",
            "在“工作室”页面，输入文字或者上传录音，再选一个数字人，就能制作视频文件。",
        ),
    ),
    _topic(
        r"(?:what|which|how many|other) languages?.{0,20}\byou|(?:can|do) you (?:speak|talk|understand|know)\b.*"
        r"|your (?:voice|accent)|other voices?|(?:change|pick|choose) (?:the|a|your) voice|text to speech|tts"
        r"|speak (?:chinese|mandarin|english|french|german|spanish|japanese|korean|russian)",
        r"你.{0,4}(?:语言|中文|汉语|普通话|英语|英文|方言)|说(?:中文|汉语|普通话|英语|英文)|声音|嗓音|音色|语音",
        Answer(
            "Without a network I speak English, German, French, Spanish and Italian, and Chinese with a voice that is "
            "fetched once. Online voices speak many more languages. As a guide I know my answers in English and "
            "Chinese only.",
            "离线时我会说英语、德语、法语、西班牙语和意大利语，另外下载一次中文语音后也会说中文。在线语音还会更多语言。"
            "不过作为向导，我的回答只有中文和英文。",
        ),
    ),
    _topic(
        r"privacy|private|my data|secure|security|record me|recorded|(?:leave|leaves) (?:this|my) (?:machine|computer)"
        r"|(?:work|run|be used|use you) offline|need (?:the |an )?(?:internet|network)|in the cloud",
        r"隐私|数据|安全|录音|泄露|离线|联网|云端",
        Answer(
            "With the default settings everything stays on this machine. No text, voice or picture leaves it. Only an "
            "online voice or an outside language model, if you choose one, gets the text it has to work on.",
            "在默认设置下，所有内容都留在这台机器上，文字、声音和图像都不会传出去。"
            "只有选用在线语音或者外部的大模型时，需要处理的文字才会发送给它们。",
        ),
    ),
    _topic(
        r"web ?rtc|web ?sockets?|udp|turn server|fallback|fall back|firewall|transport|latency|lag(?:s|gy|ging)?"
        r"|frame rate|fps",
        r"防火墙|连接方式|传输|延迟|卡顿|帧率",
        Answer(
            "Picture and sound come over WebRTC. If that cannot connect, perhaps because of a firewall, the page "
            "changes to a WebSocket by itself and tells you why. The status line names the one in use.",
            "画面和声音通过 WebRTC 传输。如果连不上，比如被防火墙挡住，页面会自动改用 WebSocket，并告诉你原因。"
            "从状态栏可以看到当前用的是哪一种。",
        ),
    ),
    _topic(
        r"lip[- ]?sync|your (?:lips?|mouth)|how (?:do |can )?you (?:really |actually )?(?:work|move|talk|speak)|gpu"
        r"|how (?:does )?(?:it|this|that|vivavoce) works?"
        r"|musetalk|wav2lip",
        r"口型|嘴|原理|怎么工作|如何工作|怎么实现|显卡",
        Answer(
            "Your text becomes an answer, the answer becomes speech, and the speech becomes mouth shapes, picture by "
            "picture. In the default settings an ordinary processor is enough for that.",
            "你的话先变成回答，回答变成语音，语音再变成一帧一帧的口型。默认设置下，普通的 CPU 就够用了。",
        ),
    ),
    _topic(
        r"who (?:made|built|created|wrote|developed) (?:you|this|vivavoce)|your (?:maker|author|creator)s?|open source"
        r"|licen[cs]e|source code",
        r"谁(?:做|造|写|开发|创造|制作)|作者|开发者|开源|许可|源代码",
        Answer(
            "I am part of Vivavoce. It is an open source project under the Apache 2.0 licence, so anyone may use it "
            "and change it.",
            "我是 Vivavoce 的一部分。它是一个开源项目，采用 Apache 2.0 许可，谁都可以使用和修改。",
        ),
    ),
    _topic(
        r"who are you|what are you|your name|are you (?:an? )?(?:ai|robot|human|real|person|bot|alive)"
        r"|introduce yourself|about (?:you|yourself)|(?:what is|what's|about) vivavoce",
        r"你是谁|你是什么|你叫|你的名字|自我介绍|介绍一下(?:你|自己)|你是.{0,4}(?:人|机器人)|vivavoce ?是什么",
        Answer(
            "I am the offline guide of Vivavoce. There is no language model behind me, only a few prepared answers "
            "about this program. Ask me how to connect a model, and I will tell you.",
            "我是 Vivavoce 的离线向导。我背后没有大模型，只会回答一些关于这个程序的常见问题。"
            "想知道怎样接入大模型，问我就好。",
        ),
    ),
    _topic(
        r"what (?:can|do|could) you do|help|how (?:do|can|should) i (?:start|begin|use)|what can i (?:do|ask)"
        r"|features|capabilities",
        r"你.{0,2}能做什么|可以做什么|你会什么|会做什么|能干什么|帮助|帮帮我|怎么用|如何使用|功能|怎么开始",
        Answer(
            "Type something, or speak if the microphone is set up, and I answer in voice and picture. You can "
            "interrupt me, make an avatar from a portrait or a clip, and make videos in the Studio. I am only a guide. "
            "For a real conversation, connect a language model.",
            "你打字，或者装好语音识别后直接说话，我就用声音和画面回答。你可以随时打断我，用照片或视频制作数字人，还可以在“工作室”里制作视频。"
            "我只是一个向导，想真正聊起来，请接入大模型。",
        ),
    ),
)
"""The first match counts, so special topics come before general ones."""

GREETINGS = (
    _topic(
        r"how are you|how(?:'s| is) it going|how do you do|are you (?:ok|okay|well|fine)",
        r"你好吗|你怎么样|最近怎么样|还好吗|过得",
        Answer("I am well, thank you. What would you like to know?", "我很好，谢谢。你想了解什么？"),
    ),
    _topic(
        r"thanks?|thank you|thx|cheers|(?:well|nicely) done|great|good job|nice",
        r"谢|辛苦|真棒|不错|厉害",
        Answer(
            "You are welcome.",
            "不客气。",
        ),
    ),
    _topic(
        r"good ?bye|bye|see you|farewell|good night|see ya",
        r"再见|拜拜|回头见|晚安|下次见",
        Answer(
            "Goodbye, and come back any time.",
            "再见，欢迎随时回来。",
        ),
    ),
    _topic(
        r"hello|hi|hey|good (?:morning|afternoon|evening)|greetings|howdy|test(?:ing)?",
        r"你好|您好|嗨|哈喽|早上好|上午好|下午好|晚上好|大家好|在吗|测试",
        Answer(
            "Hello! I am the offline guide of Vivavoce. Ask me what I can do, or how to connect a language model.",
            "你好！我是 Vivavoce 的离线向导。你可以问我能做什么，或者怎样接入大模型。",
        ),
    ),
)
"""They match only at the beginning of a short message: "Hello, where is Rome?" gets no greeting for an answer."""

UNKNOWN = Answer(
    "I cannot answer that. I am only the offline guide, without a language model. Ask me what I can do, or how to "
    "connect a model.",
    "这个我回答不了。我只是离线向导，没有接入大模型。你可以问我能做什么，或者怎样接入大模型。",
)
