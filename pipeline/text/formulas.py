"""Puts TeX in an answer into plain words where that is possible, and removes it where it is not."""

from __future__ import annotations

import re

__all__ = ["said_formula", "say_formulas"]

MAX_SAID_CHARACTERS = 80
_FORMULA = re.compile(
    r"\$\$(.{1,400}?)\$\$|\\\[(.{1,400}?)\\\]|\\\((.{1,400}?)\\\)"
    r"|(?<![\w$\\])\$(?=[^\s$])([^$\n]{1,200}?)(?<=[^\s\\])\$(?![\w$])",
    re.DOTALL,
)
"""Lengths are bounded; otherwise an opening mark without its closing one would be followed to the end of the text."""
_SYMBOLS = {
    **dict.fromkeys(("times", "cdot", "ast"), " × "),
    **dict.fromkeys(("le", "leq"), " ≤ "),
    **dict.fromkeys(("ge", "geq"), " ≥ "),
    **dict.fromkeys(("ne", "neq"), " ≠ "),
    **dict.fromkeys(("approx", "simeq", "sim"), " ≈ "),
    **dict.fromkeys(("left", "right", "displaystyle", "quad", "qquad", "limits", "big", "Big", "boxed", "vec"), " "),
    **dict.fromkeys(("ldots", "dots", "cdots", "to", "rightarrow", "Rightarrow", "implies"), ", "),
    "in": " in ",
    "pm": " ± ",
    "div": " ÷ ",
    "infty": "∞",
    "circ": "°",
    "degree": "°",
}
_NAMES = re.compile(
    r"alpha|beta|gamma|delta|(?:var)?epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|pi|rho|sigma|tau|upsilon"
    r"|(?:var)?phi|chi|psi|omega|sin|cos|tan|log|ln|exp|min|max|lim",
    re.IGNORECASE,
)
_WRAPPED = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|operatorname|boxed|mathbb|mathcal|mathsf|vec|hat|bar|tilde|overline)\s*\{([^{}]*)\}"
)
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_ROOT = re.compile(r"\\sqrt\s*\{([^{}]*)\}")
_POWER = re.compile(r"(?:(?<!\s)\s+)?\^\s*(?:\{\s*(-?\w{1,3}|\\circ)\s*\}|(\w|\\circ))")
_INDEX = re.compile(r"_\{?([A-Za-z0-9]+)\}?")
_COMMAND = re.compile(r"\\([A-Za-z]+|[,;:! %{}|])\s?")
_UNSAID = re.compile(r"[\\{}_&]|\^(?!-?\w)")
_BARE = re.compile(
    r"\\(?:boxed|text(?:bf|it|rm)?|math(?:bf|it|rm)|sqrt|[dt]?frac)\s*\{(?:[^{}]|\{[^{}]*\})*\}(?:\s*\{[^{}]*\})?"
)
_BARE_NAME = re.compile(r"(?<![A-Za-z_:\\/])\\([A-Za-z]+)(?![A-Za-z_\\{]|\.\w)")
"""Commands that some models write without any delimiters. A path, too, has names after backslashes."""


def say_formulas(text: str) -> str:
    """Return the text with each formula in plain words, or removed. Amounts of money are not formulas."""
    if "$" not in text and "\\" not in text:
        return text
    text = _FORMULA.sub(lambda match: said_formula(next(filter(None, match.groups()))), text)
    return _BARE_NAME.sub(_said_command, _BARE.sub(lambda match: said_formula(match[0]), text))


def said_formula(tex: str) -> str:
    """Return a short formula in plain signs and words ("pi r²"); empty if it cannot be said."""
    if len(tex) > 4 * MAX_SAID_CHARACTERS:
        return ""
    for _ in range(3):  # nested commands
        tex = _WRAPPED.sub(r" \1 ", tex)
        tex = _ROOT.sub(r" √\1 ", _FRACTION.sub(r" \1 / \2 ", tex))
    tex = _POWER.sub(_said_power, tex)
    tex = _COMMAND.sub(_said_command, _INDEX.sub(r" \1 ", tex))
    said = " ".join(tex.split())
    return "" if len(said) > MAX_SAID_CHARACTERS or _UNSAID.search(said) else said


def _said_power(match: re.Match[str]) -> str:
    power = match[1] or match[2]
    return {"2": "²", "3": "³", "\\circ": "°"}.get(power, f"^{power} ")


def _said_command(match: re.Match[str]) -> str:
    name = match[1]
    if _NAMES.fullmatch(name):
        return f" {name.removeprefix('var')} "
    if not name.isalpha():
        return "%" if name == "%" else " "
    return _SYMBOLS.get(name, match[0])
