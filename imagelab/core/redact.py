"""Masking values that look like secrets, once, where text is read.

Three clues decide: the form of a known token, the name that a value belongs to, and the place of
credentials in URLs and command lines. A clue needs a value: references (``$TOKEN``), paths
(``/run/secrets/token``), checksums and switches (``true``) are no secrets. Every pattern runs in
linear time: names are bounded, and what can be long is matched once, never backtracked into.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any, NamedTuple

from imagelab.core.errors import ArchiveError

MASK = "********"
MAX_DEPTH = 100

#: Prefixes and lengths as their issuers document them.
TOKEN_FORMS = {
    "github-token": r"gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}",
    "gitlab-token": r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|imt|agent|oas|ffct)-[\w.-]{16,}|GR1348941[\w-]{16,}",
    "aws-key": r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    "slack-token": r"xox[abeoprs](?:\.xox[a-z])?-[\w-]{10,}|xapp-\d-[\w-]{10,}"
    r"|hooks\.slack\.com/(?:services|workflows|triggers)/[\w/+-]{20,}",
    "stripe-key": r"[rs]k_(?:live|test|prod)_\w{10,}|whsec_[\w+/=]{20,}",
    "google-key": r"AIza[\w-]{30,}|ya29\.[\w.-]{20,}|GOCSPX-[\w-]{20,}",
    "npm-token": r"npm_[A-Za-z0-9]{30,}",
    "pypi-token": r"pypi-Ag[\w-]{20,}",
    "docker-token": r"dckr_[po]at_[\w-]{16,}",
    "json-web-token": r"eyJ[\w-]{8,}+\.eyJ[\w-]{4,}+\.[\w-]*",
    "azure-key": r"[\w~.]{3}\dQ~[\w~.-]{31,}|(?<=[?&;]sig=)[\w%+/-]{20,}=*",
    "sendgrid-key": r"SG\.[\w-]{16,}+\.[\w-]{16,}",
    "twilio-key": r"SK[0-9a-f]{32}(?!\w)",
    "huggingface-token": r"(?:hf|api_org)_[A-Za-z0-9]{30,}",
    "ai-key": r"sk-(?:proj|svcacct|admin|ant|or|None)-[\w-]{20,}|sk-[A-Za-z0-9]{32,}|gsk_[A-Za-z0-9]{40,}|xai-\w{40,}",
    "digitalocean-token": r"do[opr]_v1_[0-9a-f]{40,}",
    "shopify-token": r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",
    "telegram-token": r"\d{8,10}:AA[\w-]{33}(?!\w)",
    "databricks-token": r"dapi[0-9a-f]{32}(?:-\d)?(?!\w)",
    "vault-token": r"hv[sbr]\.[\w-]{20,}|[A-Za-z0-9]{14}\.atlasv1\.[\w-]{40,}",
    "mail-key": r"key-[0-9a-f]{32}(?!\w)|[0-9a-f]{32}-us\d{1,2}(?!\w)",
    "service-token": r"glsa_\w{20,}|glc_[\w=+/]{20,}|NRAK-[A-Z0-9]{20,}|AGE-SECRET-KEY-1[A-Z0-9]{50,}"
    r"|sntry[su]_[\w=+/]{20,}|rubygems_[0-9a-f]{40,}|ATATT3[\w=-]{20,}|ATBB\w{20,}|lin_api_\w{30,}|pscale_(?:tkn|pw|oauth)_[\w.=-]{20,}"
    r"|dp\.(?:pt|st|ct)\.\w{20,}|PMAK-[0-9a-f-]{40,}|sq0(?:atp|csp|idp)-[\w-]{20,}",
}
_TOKENS = re.compile(
    r"(?<![A-Za-z0-9])(?:" + "|".join(f"(?P<k{n}>{form})" for n, form in enumerate(TOKEN_FORMS.values())) + ")"
)
_TOKEN_KINDS = {f"k{n}": kind for n, kind in enumerate(TOKEN_FORMS)}

_BODY = r"(?:[^-]|-(?!----))*+"
_PRIVATE_KEY = re.compile(
    r"-----BEGIN[ A-Z0-9]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    rf"(?:{_BODY}-----END[ A-Z0-9]{{0,60}}-----|(?=[\s\\nrt\"']{{0,8}}[A-Za-z0-9+/=]{{16}})[A-Za-z0-9+/=\s\\]*+)"
)
_URL = re.compile(
    r"(?<=://)(?P<user>[^\s/?#\"'<>@:\\]{0,300}+)(?::(?P<secret>(?!\d{1,5}[/?#])(?:[^\s\"'<>@\\:]|:(?!//)){0,300}+"
    r"(?:@[^\s/?#\"'<>@\\:]{1,64}(?=@))?))?"
    r"@(?=[\w\[$.{-])"
)
#: Words that make a name's value a secret, alone or (after +) as neighbours.
_STRONG = re.compile(
    r"passw(?:or)?d|passphrase|(?:^|_)(?:pass|pwd|pw|cred|creds)(?:_|$)|[a-z]pass$|secret|credential|token(?!iz|s(?:_|$))"
    r"|(?:api|access|private|secret|encryption|encrypt|signing|auth|account|master|admin|app|shared|subscription|service)"
    r"_?keys?(?:_|$)|^authorization$|proxy_authorization|connection_?string|^_auth$|^auth_?token"
)
_WEAK = re.compile(r"(?:^|_)(?:keys?|auth|pat|pin|session|salt|sas|webhook|license|dsn|cookie|jwt)(?:_|$)")
#: Words that turn such a name into a setting about secrets: wherever they stand, and behind the last such word
#: (``PASSWORD_FILE``; ``EMAIL_HOST_PASSWORD`` is one).
_SWITCH = re.compile(
    r"(?:^|_)(?:min|max|num|count|public|sha1|sha256|sha512|md5|checksum|fingerprint|no|disabled?|without|skip|allow|enabled?"
    r"|require[ds]?|ask|empty|with)(?:_|$)"
)
_ABOUT = re.compile(
    r"(?:^|_)(?:file|path|dir|url|uri|endpoint|host|port|name|names|user|username|type|version|policy|limit|length|len|expiry"
    r"|expires?|expiration|ttl|timeout|lifetime|age|size|header|prefix|suffix|algorithm|alg|stdin|env|ref|provider|manager|store"
    r"|scanner|scanning|symbol|mount|field|column|hint|reset|rotation|budget|per|backend|driver|encoder|hashers?)(?:_|$)"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SWITCHES = re.compile(
    r"(?:true|false|yes|no|on|off|none|null|nil|undefined|required|optional|disabled|enabled|prompt|\d{1,3}|[\[\](){},;]+)$",
    re.I,
)
_REFERENCE = re.compile(
    r"\$\w*$|\$\{[^}]*\}$|\$\(|`|%\w+%$|\{\{|<[^<>]*>$|\[?(?:redacted|masked|hidden)\]?$|[*x.]+$"
    r"|(?:id|type|src|source|env)=",
    re.I,
)
_PATH = re.compile(r"(?:~|\.{1,2})?/|file:|[A-Za-z]:\\")
_HEX = re.compile(r"(?:0x|sha\d+:)?[0-9a-fA-F]+(?:[\s,:-]+[0-9a-fA-F]+)*")

_QUOTED = r"\"[^\"\\]*+(?:\\.[^\"\\]*+)*+\"|'[^']*+'|\\\"[^\"\\]*+\\\"|[\"']"
_NAME = re.compile(
    r"(?<![\w.${-])(?P<flag>--?)?(?P<name>[A-Za-z_][\w.-]{0,99}+)"
    r"(?P<sep>=(?=[^\s=])| = (?!=)|\\?[\"'] ?: ?| ?:\s|:(?=(?:bearer|basic|token|digest)\\?\s)"
    r"|(?(flag)(?: {1,4}(?=[^\s=:-])|[\"'],? ?(?=[\"'][^-]))|(?!)))"
    r"(?:\\?[\"']?(?:bearer|basic|token|digest|negotiate)\\?\s+)?",
    re.I,
)
_VALUE = re.compile(rf"(?:{_QUOTED})?[^\s\"'\\;|&<>()`]*+", re.S)
_BEARER = re.compile(r"(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{16,}")
#: Command lines that take a password without naming it; the last group is the secret.
_COMMANDS = re.compile(
    r"\b(?:curl|wget|http)\b[^;|\n]{0,400}?[\s\"'](?:-\w{0,4}[uU]|--(?:proxy-)?user)[\s=\"',]{0,4}[^\s:\"'$]{1,99}:(?P<a>[^\s\"']+)"
    r"|\bsshpass\b[\s\"',]{1,4}-p[\s\"',]{0,4}(?P<b>[^\s\"'-][^\s\"']*)"
    r"|\bmysql\w{0,9}\b[^;|\n]{0,200}?[\s\"']-p(?P<c>[^\s\"'][^\s\"']*)"
    r"|\b(?:redis-cli|twine upload|\w{1,20} login)\b[^;|\n]{0,200}?\s-[ap][\s\"',]{1,4}(?P<d>[^\s\"'-][^\s\"']*)"
    r"|\becho\s+(?:-\w+\s+)?[\"']?[\w.$-]{1,64}:(?P<e>[^\s\"'|]+)[\"']?\s*\|\s*chpasswd"
    r"|\bpass(?:in|out)?[\s\"',]{1,4}pass:(?P<f>[^\s\"']+)"
    r"|\bhtpasswd\s+-(?:(?=\w{0,6}n)\w{0,6}b\w{0,6}|\w{0,6}b\w{0,6}\s+\S{1,200})\s+\S{1,99}\s+(?P<g>[^\s\"'&;|]+)"
    r"|\bmachine\s+\S{1,200}\s+login\s+\S{1,99}\s+password\s+(?P<h>[^\s\"'\\&;|]+)"
    r"|\b(?:echo|printf)\s+(?:-\w+\s+)?[\"']?(?P<i>[^\s\"'|$]{1,500})[\"']?\s{0,4}\|[^\n|]{0,200}"
    r"(?:--(?:password|passphrase|token)-(?:stdin|fd)|--stdin|sudo\s+-S)"
    r"|\bconfig(?:ure)?\s+(?:set\s+)?(?:--?\w[\w-]{0,40}\s+){0,3}[\w./:@-]{0,99}?(?:secret|token|passw|auth)[\w.-]{0,40}"
    r"[\s=\"',]{1,4}(?P<j>[^\s\"'=-][^\s\"']*)"
    r"|(?i:\b(?:identified\s+by|(?:with\s+)?password))\s+\\?'(?P<k>[^'\\]+)"
    r"|\\?\"auth\\?\"\s{0,2}:\s{0,2}\\?\"(?P<l>[A-Za-z0-9+/=]{8,})"
)
#: Where created_by holds K=V pairs whose values keep their spaces unquoted.
_PAIRS = re.compile(
    r"(?:\A|\n|#\(nop\)\s{1,4}|Step \d{1,4}/\d{1,4} : )(?P<word>ENV|ARG|LABEL)\s+(?P<env>(?:[^\n\\]|\\.)*+)"
    r"|\A(?:RUN )?\|\d{1,3} (?P<run>[^\n]*?)(?= /\S{1,60} (?:-\S{1,20} |pipefail ){0,4}-\S*c |\Z)",
    re.S,
)
_PAIR = re.compile(r"(?:^|(?<=\s))(?P<name>[A-Za-z_\"'][\w.\"'-]{0,99}+)(?:=|\s+(?=\S))")


class Masked(NamedTuple):
    """Text without its secrets, and what kinds of secret were masked (empty: none)."""

    text: str
    kinds: tuple[str, ...]


def _words(name: str) -> str:
    return re.sub(r"[.\s-]+", "_", _CAMEL.sub("_", name[:200].strip("\"' "))).lower()


def _is_dense(value: str) -> bool:
    """Whether the value has a random token's mix of characters (Shannon entropy per character, in bits)."""
    if not 16 <= len(value) <= 4096 or any(character.isspace() for character in value):
        return False
    if _HEX.fullmatch(value) or not (re.search(r"\d", value) and re.search(r"[A-Za-z]", value)):
        return False
    return -sum(n / len(value) * math.log2(n / len(value)) for n in Counter(value).values()) >= 3.5


def _is_harmless(value: str) -> bool:
    """Whether the value cannot be a secret itself: empty, a reference, a switch, a path, a URL without credentials."""
    value = value.strip("\"'\\ \t\n")
    if not value or MASK in value or _SWITCHES.match(value) or _REFERENCE.match(value) or "://" in value[:30]:
        return True
    return bool(_PATH.match(value)) and not any(_is_dense(part) for part in value.split("/", 99))


def _names_secret(name: str) -> bool:
    words = _words(name)
    ends = [found.end() for found in _STRONG.finditer(words)]
    return bool(ends) and not _SWITCH.search(words) and not _ABOUT.search(words[ends[-1] :])


def is_secret(value: str, name: str) -> bool:
    """Whether a value belongs to a name that makes it a secret."""
    if _is_harmless(value):
        return False
    if _names_secret(name):
        return True
    return bool(_WEAK.search(_words(name))) and _is_dense(value.strip("\"'\\ "))


def mask(text: str, name: str | None = None) -> Masked:
    """Mask what looks like a secret in ``text``.

    Parameters
    ----------
    text : str
        A value, a command, a line of a log, a whole Dockerfile.
    name : str, optional
        The variable, label or option that the text is the value of (``DATABASE_PASSWORD``).

    Returns
    -------
    Masked
        ``text`` with each secret replaced by ``MASK``; masking it again changes nothing.
    """
    if name is not None and is_secret(text, name):
        return Masked(MASK, ("secret-name",))
    kinds: list[str] = []

    def hide(kind: str) -> str:
        kinds.append(kind)
        return MASK

    def hide_token(match: re.Match[str]) -> str:
        return hide(_TOKEN_KINDS[str(match.lastgroup)])

    def hide_url(match: re.Match[str]) -> str:
        user, secret = match["user"], match["secret"]
        if secret and secret != "x-oauth-basic":
            return match[0] if _is_harmless(secret) and "://" not in secret else f"{user}:{hide('url-credentials')}@"
        bare = secret is None and (re.fullmatch(r"[A-Za-z][A-Za-z._-]{0,15}", user) or "://" not in text)
        if bare or _is_harmless(user):
            return match[0]
        return hide("url-credentials") + ("" if secret is None else f":{secret}") + "@"

    def hide_assignments(text: str) -> str:
        out, end, start = [], 0, 0
        while match := _NAME.search(text, start):
            start = match.end()
            if not _names_secret(match["name"]) and not _WEAK.search(_words(match["name"])):
                continue
            value = _VALUE.match(text, start)[0]  # type: ignore[index]  # matches the empty string at least
            sentence = match["sep"].strip() == ":" and not re.fullmatch(r"[A-Z]+_[A-Z_]+", match["name"])
            prose = sentence and re.fullmatch(r"[A-Za-z]?[a-z]*[.,]?", value)
            if not prose and is_secret(value, match["name"]):
                quote = re.match(r"\\?[\"']|", value)[0]  # type: ignore[index]
                closing = quote if len(value) > len(quote) and value.endswith(quote) else ""
                out += [text[end:start], quote, hide("secret-name"), closing]
                end = start = start + len(value)
            elif not value.startswith(("'", '"', "\\")):
                start += len(value)
        return "".join([*out, text[end:]])

    def hide_command(match: re.Match[str]) -> str:
        value = match[str(match.lastgroup)]
        if _is_harmless(value):
            return match[0]
        start, end = (place - match.start() for place in match.span(str(match.lastgroup)))
        return match[0][:start] + hide("command-password") + match[0][end:]

    def hide_pairs(match: re.Match[str]) -> str:
        group = "run" if match["run"] is not None else "env"
        pairs = match[group]
        named = list(_PAIR.finditer(pairs))
        named = [pair for pair in named if pair[0].endswith("=")] or named[:1]
        stops = [*(pair.start() for pair in named[1:]), len(pairs)]
        out, end = [], 0
        for pair, stop in zip(named, stops, strict=False):
            value = pairs[pair.end() : stop]
            hidden = is_secret(value, pair["name"])
            out += [pairs[end : pair.end()], hide("secret-name") + value[len(value.rstrip()) :] if hidden else value]
            end = stop
        start, stop = (place - match.start() for place in match.span(group))
        return match[0][:start] + "".join([*out, pairs[end:]]) + match[0][stop:]

    text = _PRIVATE_KEY.sub(lambda _: hide("private-key"), text)
    text = _TOKENS.sub(hide_token, text)
    if "://" in text:
        text = _URL.sub(hide_url, text)
    text = _PAIRS.sub(hide_pairs, text)
    text = hide_assignments(text)
    text = _COMMANDS.sub(hide_command, text)
    text = _BEARER.sub(lambda _: hide("bearer-token"), text)
    return Masked(text, tuple(dict.fromkeys(kinds)))


def mask_document(value: Any, where: str = "") -> tuple[Any, list[tuple[str, str]]]:
    """Mask the secrets in an image's config, or in any JSON-like value.

    Parameters
    ----------
    value : dict, list, str or other JSON value
        ``Env`` lists (``K=V``) and dicts are read as names and values; an option of a command list
        (``["--password", "x"]``) names the item after it.
    where : str
        Path of the value, the start of the places reported.

    Returns
    -------
    masked : same shape as value
    found : list of (where, kind)

    Raises
    ------
    ArchiveError
        The value is nested deeper than 100 levels.
    """
    found: list[tuple[str, str]] = []

    def note(place: str, masked: Masked) -> str:
        found.extend((place, kind) for kind in masked.kinds)
        return masked.text

    def walk(item: Any, place: str, name: str | None, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ArchiveError(f"{where or 'document'}: nested deeper than {MAX_DEPTH} levels; no image config is.")
        if isinstance(item, str):
            key, equals, rest = item.partition("=")
            if name == "Env" and equals:
                return f"{key}={note(f'{place}[{key}]', mask(rest, key))}"
            return note(place, mask(item, name))
        if isinstance(item, dict):
            prefix = f"{place}." if place else ""
            return {key: walk(inner, f"{prefix}{key}", str(key), depth + 1) for key, inner in item.items()}
        if isinstance(item, list):
            inner_name = name if name == "Env" else None
            out: list[Any] = []
            for n, inner in enumerate(item):
                option = inner_name
                if n and isinstance(inner, str) and isinstance(item[n - 1], str) and not inner.startswith("-"):
                    flag = re.fullmatch(r"--?[A-Za-z][\w-]{1,60}", item[n - 1])
                    option = flag[0] if flag else inner_name
                out.append(walk(inner, place if name == "Env" else f"{place}[{n}]", option, depth + 1))
            return out
        return item

    return walk(value, where, None, 0), found
