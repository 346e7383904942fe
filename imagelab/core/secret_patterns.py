"""Compile ``secrets.toml``: forms of tokens, names of secret values, and where commands take passwords.

Every pattern matches in linear time: repetitions are bounded or possessive, so nothing is matched twice.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

_FACTS = tomllib.loads(Path(__file__).with_name("secrets.toml").read_text("utf-8"))


def _any(alternatives: list[str], flags: int = 0) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{alternative})" for alternative in alternatives), flags)


TOKEN_KINDS = {f"k{number}": kind for number, kind in enumerate(_FACTS["tokens"])}
TOKENS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    + "|".join(f"(?P<k{number}>{'|'.join(forms)})" for number, forms in enumerate(_FACTS["tokens"].values()))
    + ")"
)
SECRET_WORDS, MAYBE_SECRET_WORDS, SETTING_WORDS, SETTING_ENDINGS = (
    _any(_FACTS["names"][key]) for key in ("secret", "maybe", "setting", "ending")
)
#: Values that are not secrets.
PLAIN_VALUES, REFERENCES = (_any(_FACTS["values"][key], re.I) for key in ("plain", "reference"))
#: Program → how it takes passwords, as words.
COMMANDS: dict[str, list[list[str]]] = {}
for _command in _FACTS["commands"]:
    for _program in _command["programs"]:
        COMMANDS.setdefault(_program, []).extend(form.split(" ") for form in _command["secret"])
#: Commands that give a password in another way. Their group is the password.
SHELL = [re.compile(pattern) for pattern in _FACTS["shell"]["patterns"]]

_BODY = r"(?:[^-]|-(?!----))*+"
PRIVATE_KEY = re.compile(
    r"-----BEGIN[ A-Z0-9]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    rf"(?:{_BODY}-----END[ A-Z0-9]{{0,60}}-----|(?=[\s\\nrt\"']{{0,8}}[A-Za-z0-9+/=]{{16}})[A-Za-z0-9+/=\s\\]*+)"
)
URL = re.compile(
    r"(?<=://)(?P<user>[^\s/?#\"'<>@:\\]{0,300}+)(?::(?P<secret>(?!\d{1,5}[/?#])(?:[^\s\"'<>@\\:]|:(?!//)){0,300}+"
    r"(?:@[^\s/?#\"'<>@\\:]{1,64}(?=@))?))?"
    r"@(?=[\w\[$.{-])"
)
CAMEL_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
PATHS = re.compile(r"(?:~|\.{1,2})?/|file:|[A-Za-z]:\\")
#: A key of 16 or 32 bytes; the fingerprints of public keys and commits have 20.
HEX_KEY = re.compile(r"[0-9a-f]{32}(?:[0-9a-f]{32})?")
HEX = re.compile(r"(?:0x|sha\d+:)?[0-9a-fA-F]+(?:[\s,:-]+[0-9a-fA-F]+)*")
#: Words that may be text in base64.
BASE64 = re.compile(r"(?<![\w+/.-])[A-Za-z0-9+/_-]{24,}+={0,2}(?![\w+/])")
#: A step's name in a log of BuildKit, which writes build arguments out, and the words of it that may be such values.
STEP_NAME = re.compile(r"(?:#\d+ )?\[(?:[^\]\n]{1,200} )?\d+/\d+\] ")
BARE_WORD = re.compile(r"(?<![\w/.:@+~%=-])[A-Za-z0-9_-]{20,200}+(?![/.:@+~%=])")

_QUOTED = r"\"[^\"\\]*+(?:\\.[^\"\\]*+)*+\"|'[^']*+'|\\\"[^\"\\]*+\\\"|[\"']"
NAME = re.compile(
    r"(?<![\w$-])(?<!\w\.|\.\.|\$\{|\d:)(?P<flag>--?)?(?P<name>[A-Za-z_][\w.-]{0,99}+)"
    r"(?P<sep>=(?=[^\s=>])|\\?[\"']\] ?= ?(?!=)| = (?!=)|: ?\w{1,20} = (?=[\"'])|\\?[\"']? ?=> ?(?=\\?[\"'])|:(?=\\?[\"'])"
    r"|\\?[\"'] ?: ?| ?:\s|:(?=(?:bearer|basic|token|digest)\\?\s)"
    r"|(?:(?<=token)|(?<=-key)|(?<=secret)|(?<=password)):(?=[^\s:/\\]{8})"
    r"|(?(flag)(?: {1,4}(?=[^\s=:-])|[\"'],? ?(?=[\"'][^-]))|(?!)))"
    r"(?:\\?[\"']?(?:bearer|basic|token|digest|negotiate)\\?\s+)?",
    re.I,
)
VALUE = re.compile(rf"(?:{_QUOTED})?[^\s\"'\\;|&<>()`]*+", re.S)
BEARER = re.compile(r"(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{16,}")
#: The name of a program with the end of its quoted item, the words of its command line, and what is between them.
PROGRAM = re.compile(r"(?<![\w.-])[A-Za-z0-9][\w.-]{1,30}+(?P<item>\\?[\"'],)?(?:\\?[\"'](?=\s))?")
WORD = re.compile(r"(?:[^\s;|&\"'\\<>]|\\[^\n]|\"(?:[^\"\\]|\\.)*+\"|'[^']*+'|[\"'])++", re.S)
ITEM = re.compile(r"\\?[\"'](?:[^\"\\]|\\[^\"])*+\\?\"")  # of a list in JSON
BETWEEN_ITEMS = re.compile(r"[\s,]*+")
BETWEEN_WORDS = re.compile(r"(?:[^\S\n]|\\\r?\n)*+")
#: Lists of K=V pairs in created_by. Their values contain spaces without quotes.
PAIR_LISTS = re.compile(
    r"(?:\A|\n|#\(nop\)\s{1,4}|Step \d{1,4}/\d{1,4} : )(?P<word>ENV|ARG|LABEL)\s+(?P<env>(?:[^\n\\]|\\.)*+)"
    r"|\A(?:RUN )?\|\d{1,3} (?P<run>[^\n]*?)(?= /\S{1,60} (?:-\S{1,20} |pipefail ){0,4}-\S*c |\Z)",
    re.S,
)
PAIR = re.compile(r"(?:^|(?<=\s))(?P<name>[A-Za-z_\"'][\w.\"'-]{0,99}+)(?:=|\s+(?=\S))")
