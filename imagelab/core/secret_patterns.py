"""Patterns of secrets: the forms of known tokens, names of secret values, and where commands take passwords.

Every pattern matches in linear time: repetitions are bounded or possessive, so nothing is matched twice.
"""

from __future__ import annotations

import re

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
TOKENS = re.compile(
    r"(?<![A-Za-z0-9])(?:" + "|".join(f"(?P<k{n}>{form})" for n, form in enumerate(TOKEN_FORMS.values())) + ")"
)
TOKEN_KINDS = {f"k{n}": kind for n, kind in enumerate(TOKEN_FORMS)}

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
#: Words in a name that make its value a secret.
SECRET_WORDS = re.compile(
    r"passw(?:or)?d|passphrase|(?:^|_)(?:pass|pwd|pw|cred|creds)(?:_|$)|[a-z]pass$|secret|credential|token(?!iz|s(?:_|$))"
    r"|(?:api|access|private|secret|encryption|encrypt|signing|auth|account|master|admin|app|shared|subscription|service)"
    r"_?keys?(?:_|$)|^authorization$|proxy_authorization|connection_?string|^_auth$|^auth_?token"
)
#: Words in a name that make its value a secret if the value looks random.
MAYBE_SECRET_WORDS = re.compile(r"(?:^|_)(?:keys?|auth|pat|pin|session|salt|sas|webhook|license|dsn|cookie|jwt)(?:_|$)")
#: Words that make such a name a setting, not a secret, wherever they stand (``MIN_PASSWORD_LENGTH``) …
SETTING_WORDS = re.compile(
    r"(?:^|_)(?:min|max|num|count|public|sha1|sha256|sha512|md5|checksum|fingerprint|no|disabled?|without|skip|allow|enabled?"
    r"|require[ds]?|ask|empty|with)(?:_|$)"
)
#: … and after the last secret word: ``PASSWORD_FILE`` is a setting, ``EMAIL_HOST_PASSWORD`` a secret.
SETTING_ENDINGS = re.compile(
    r"(?:^|_)(?:file|path|dir|url|uri|endpoint|host|port|name|names|user|username|type|version|policy|limit|length|len|expiry"
    r"|expires?|expiration|ttl|timeout|lifetime|age|size|header|prefix|suffix|algorithm|alg|stdin|env|ref|provider|manager|store"
    r"|scanner|scanning|symbol|mount|field|column|hint|reset|rotation|budget|per|backend|driver|encoder|hashers?)(?:_|$)"
)
CAMEL_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
#: Values that are no secrets: switches and small numbers, references to a value, paths, checksums.
PLAIN_VALUES = re.compile(
    r"(?:true|false|yes|no|on|off|none|null|nil|undefined|required|optional|disabled|enabled|prompt|\d{1,3}|[\[\](){},;]+)$",
    re.I,
)
REFERENCES = re.compile(
    r"\$\w*$|\$\{[^}]*\}$|\$\(|`|%\w+%$|\{\{|<[^<>]*>$|\[?(?:redacted|masked|hidden)\]?$|[*x.]+$"
    r"|(?:id|type|src|source|env)=",
    re.I,
)
PATHS = re.compile(r"(?:~|\.{1,2})?/|file:|[A-Za-z]:\\")
HEX = re.compile(r"(?:0x|sha\d+:)?[0-9a-fA-F]+(?:[\s,:-]+[0-9a-fA-F]+)*")

_QUOTED = r"\"[^\"\\]*+(?:\\.[^\"\\]*+)*+\"|'[^']*+'|\\\"[^\"\\]*+\\\"|[\"']"
NAME = re.compile(
    r"(?<![\w.${-])(?P<flag>--?)?(?P<name>[A-Za-z_][\w.-]{0,99}+)"
    r"(?P<sep>=(?=[^\s=])| = (?!=)|\\?[\"'] ?: ?| ?:\s|:(?=(?:bearer|basic|token|digest)\\?\s)"
    r"|(?(flag)(?: {1,4}(?=[^\s=:-])|[\"'],? ?(?=[\"'][^-]))|(?!)))"
    r"(?:\\?[\"']?(?:bearer|basic|token|digest|negotiate)\\?\s+)?",
    re.I,
)
VALUE = re.compile(rf"(?:{_QUOTED})?[^\s\"'\\;|&<>()`]*+", re.S)
BEARER = re.compile(r"(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{16,}")
#: Commands that take a password without naming it. The group that matches is the password.
COMMANDS = re.compile(
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
#: Lists of K=V pairs in created_by. Their values contain spaces without quotes.
PAIR_LISTS = re.compile(
    r"(?:\A|\n|#\(nop\)\s{1,4}|Step \d{1,4}/\d{1,4} : )(?P<word>ENV|ARG|LABEL)\s+(?P<env>(?:[^\n\\]|\\.)*+)"
    r"|\A(?:RUN )?\|\d{1,3} (?P<run>[^\n]*?)(?= /\S{1,60} (?:-\S{1,20} |pipefail ){0,4}-\S*c |\Z)",
    re.S,
)
PAIR = re.compile(r"(?:^|(?<=\s))(?P<name>[A-Za-z_\"'][\w.\"'-]{0,99}+)(?:=|\s+(?=\S))")
