"""What is masked, what is left alone, and that neither takes long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagelab.core.errors import ArchiveError
from imagelab.core.redact import MASK, mask, mask_document

# Pieces are joined here so that no complete token stands in this file.
TOKENS = {
    "github-token": "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5",
    "gitlab-token": "glpat-" + "aB3dE5gH7jK9mN1pQ3sT",
    "aws-key": "AKIA" + "IOSFODNN7EXAMPLQ",
    "slack-token": "xoxb-" + "123456789012-1234567890123-aB3dE5gH7jK9",
    "stripe-key": "sk_live_" + "aB3dE5gH7jK9mN1pQ3sT5vW7",
    "google-key": "AIza" + "SyB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3f",
    "npm-token": "npm_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5",
    "pypi-token": "pypi-" + "AgEIcHlwaS5vcmcCJDAwMDAwMDAwLTAwMDAtMDAwMA",
    "docker-token": "dckr_pat_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9",
    "json-web-token": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    "sendgrid-key": "SG." + "aB3dE5gH7jK9mN1pQ3sT5v." + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5aB3dE5g",
    "twilio-key": "SK" + "0123456789abcdef" * 2,
    "huggingface-token": "hf_" + "aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH",
    "ai-key": "sk-ant-" + "api03-aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5",
    "vault-token": "hvs." + "CAESIaB3dE5gH7jK9mN1pQ3sT5vW7yZ9",
}
SECRET = "Hunter2-s3cret!"


@pytest.mark.parametrize("kind", TOKENS)
@pytest.mark.parametrize(
    "around", ["{}", "RUN fetch --with {} now", "ENV X={}", '{{"a": "{}"}}', "x={},y=1", "https://{}@example.com/r"]
)
def test_known_token_forms_are_masked_anywhere(kind, around):
    masked = mask(around.format(TOKENS[kind]))
    assert TOKENS[kind] not in masked.text and MASK in masked.text
    assert kind in masked.kinds


@pytest.mark.parametrize(
    "text",
    [
        f"RUN |1 TOKEN={SECRET} /bin/sh -c make # buildkit",
        f"|2 A=b API_KEY={SECRET} /bin/sh -c make",
        f"ENV DB_PASSWORD={SECRET}",
        f"ENV A=b DB_PASSWORD={SECRET} C=d",
        f"/bin/sh -c #(nop)  ENV DB_PASSWORD={SECRET}",
        f"/bin/sh -c #(nop)  ARG GH_TOKEN={SECRET}",
        f"ENV NAGIOSADMIN_PASS {SECRET}",
        f"Step 3/9 : ENV DB_PASSWORD={SECRET}",
        f"RUN export X_SECRET={SECRET} && make",
        f"RUN export X_SECRET='{SECRET}' && make",
        f'RUN export X_SECRET="{SECRET}"; make',
        f"RUN tool --password {SECRET} run",
        f"RUN tool --password={SECRET} run",
        f"RUN tool --client-secret '{SECRET}'",
        f'CMD ["tool", "--api-key", "{SECRET}"]',
        f'CMD ["tool", "--api-key={SECRET}"]',
        f'curl -H "Authorization: Bearer {SECRET}" https://example.com',
        f"curl -H 'Authorization: token {SECRET}' https://example.com",
        f"curl -H 'X-Api-Key: {SECRET}' https://example.com",
        f"curl -u user:{SECRET} https://example.com",
        f"curl -sSLu user:{SECRET} https://example.com",
        f"curl --user user:{SECRET} https://example.com",
        f"git clone https://user:{SECRET}@example.com/x.git",
        f"git clone https://{SECRET}@example.com/x.git",
        f"psql postgres://app:{SECRET}@db:5432/app",
        f"redis://:{SECRET}@cache:6379/0",
        f"echo 'root:{SECRET}' | chpasswd",
        f"sshpass -p {SECRET} ssh host",
        f"mysql -u root -p{SECRET} db",
        f"redis-cli -a {SECRET} ping",
        f'{{"auths": {{"example.com": {{"auth": "{TOKENS["json-web-token"]}", "password": "{SECRET}"}}}}}}',
        f"//registry.example.com/:_authToken={SECRET}",
        f"Server=db;User=sa;Password={SECRET};Encrypt=true",
        f"https://example.com/hook?access_token={SECRET}&x=1",
        f"java -Ddb.password={SECRET} -jar app.jar",
        f"password: {SECRET}",
        f'echo "machine example.com login me password {SECRET}" > ~/.netrc',
        f"aws configure set aws_secret_access_key {SECRET}",
        f"npm config set //registry.example.com/:_authToken {SECRET}",
        f"echo {SECRET} | docker login -u me --password-stdin example.com",
        f"echo '{SECRET}' | sudo -S make",
        f"htpasswd -bc /etc/nginx/.htpasswd admin {SECRET}",
        f"psql -c \"ALTER USER app WITH PASSWORD '{SECRET}'\"",
        f"mysql -e \"CREATE USER a IDENTIFIED BY '{SECRET}'\"",
        f"curl -H Authorization:Bearer\\ {SECRET}",
        f"kubectl create secret generic x --from-literal=password={SECRET}",
        f"docker run -e POSTGRES_PASSWORD={SECRET} postgres",
        f"export MYSQL_PWD={SECRET}",
        f"keytool -storepass {SECRET} -genkey",
        f"htpasswd -nbB admin {SECRET}",
        f"twine upload -u me -p {SECRET} dist/*",
        f"skopeo login -u me -p {SECRET} example.com",
        f"composer config github-oauth.github.com {SECRET}",
        "PASSWORD=changeme",
        "MYSQL_ROOT_PASSWORD: swordfish",
        "java -Djavax.net.ssl.trustStorePassword=changeit",
        "LABEL secret=swordfish",
    ],
)
def test_secrets_in_their_usual_places(text):
    masked = mask(text)
    assert not any(secret in masked.text for secret in (SECRET, "changeme", "changeit", "swordfish"))
    assert MASK in masked.text and masked.kinds
    assert mask(masked.text) == (masked.text, ())


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('environment:\n  - "DB_PASSWORD=two words 4x"\n', f'environment:\n  - "DB_PASSWORD={MASK}"\n'),
        ("  - 'DB_PASSWORD=two words 4x'\n  - next", f"  - 'DB_PASSWORD={MASK}'\n  - next"),
        ('- "DB_PASSWORD=two words 4x"', f'- "DB_PASSWORD={MASK}"'),
        ('run "DB_PASSWORD=two words 4x"', f'run "DB_PASSWORD={MASK} words 4x"'),
        ('run "password: abc4 def"', f'run "password: {MASK} def"'),
    ],
)
def test_a_quoted_item_of_a_yaml_list_is_one_value(text, masked):
    assert mask(text).text == masked


@pytest.mark.parametrize(
    "text",
    [
        "RUN x YWJjZGVmZ2hpamtsbW5vcAECAwQFBgcI y",  # base64 of bytes that are not text
        "PRIMARY_KEY=customer_name",
        "SORT_KEY=0123456789abcdef0123456789abcdef",
    ],
)
def test_what_only_looks_like_a_secret_stays(text):
    assert mask(text) == (text, ())


def test_a_random_word_in_the_name_of_a_step_is_a_build_argument():
    token = "aB3dE5gH7jK9mN1pQ3sT5vW7"
    assert mask(f"#8 [2/5] RUN fetch --with {token} now") == (
        f"#8 [2/5] RUN fetch --with {MASK} now",
        ("build-argument",),
    )
    assert mask(f"fetch --with {token} now").text == f"fetch --with {token} now"


def test_a_masked_build_argument_leaves_the_command():
    recorded = "RUN |1 TOKEN=swordfish /bin/bash -o pipefail -c make # buildkit"
    assert mask(recorded).text == recorded.replace("swordfish", MASK)


@pytest.mark.parametrize(
    "name",
    [
        "DATABASE_PASSWORD",
        "API_TOKEN",
        "apiKey",
        "client-secret",
        "AWS_SECRET_ACCESS_KEY",
        "DB_PASS",
        "PGPASSWORD",
        "com.example.password",
        "EMAIL_HOST_PASSWORD",
        "MYSQL_USER_PASSWORD",
        "BACKEND_API_KEY",
        "PASSWORD_RESET_TOKEN",
    ],
)
def test_a_secret_name_masks_its_whole_value(name):
    assert mask("two words", name) == (MASK, ("secret-name",))
    assert mask("", name) == ("", ())


HARMLESS = [
    ("GPG_KEY", "A035C8C19219BA821ECEA86B64E628F8D684696D"),
    ("GPG_KEYS", "A035C8C19219BA821ECEA86B64E628F8D684696D E3FF2839C048B25C084DEBE9B26995E310250568"),
    ("PYTHON_SHA256", "8da7ad7bc4ac1d9ec01d6d5e2f8bd1a8a8ac2d4d5d4b9b5e4a3c2e3bce2f2f1a"),
    ("PYTHON_PIP_VERSION", "24.0"),
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("DB_PASSWORD_FILE", "/run/secrets/db_password"),
    ("SECRET", "/run/secrets/x"),
    ("API_TOKEN", "$TOKEN"),
    ("API_TOKEN", "${TOKEN:-}"),
    ("API_TOKEN", "$(cat /run/secrets/x)"),
    ("TOKENIZERS_PARALLELISM", "false"),
    ("MAX_TOKENS", "4096"),
    ("USE_TOKEN", "true"),
    ("TOKEN_URL", "https://example.com/oauth/token"),
    ("PWD", "/app"),
    ("org.opencontainers.image.revision", "64e6282f8d684696d1a2b3c4d5e6f708192a3b4c"),
    ("SSH_KEY_TYPE", "ed25519"),
    ("KEYBOARD", "us"),
    ("pass", "16"),
    ("SECRET_BACKEND", "vault"),
    ("ALLOW_EMPTY_PASSWORD", "indeed"),
    ("API_KEY_HEADER_NAME", "X-Key"),
]


@pytest.mark.parametrize(("name", "value"), HARMLESS)
def test_harmless_values_stay(name, value):
    assert mask(value, name) == (value, ())
    assert mask(f"ENV {name}={value}") == (f"ENV {name}={value}", ())


@pytest.mark.parametrize(
    "text",
    [
        "RUN --mount=type=secret,id=npm_token,target=/root/.npmrc npm ci",
        "docker build --secret id=github_token,src=./token.txt .",
        "pip install git+https://$(cat /run/secrets/github_token)@github.com/private/repo.git",
        "git clone git@github.com:private/repo.git",
        "RUN git clone ssh://git@github.com/private/repo.git",
        "FROM python@sha256:" + "0123456789abcdef" * 4,
        "adduser --disabled-password --gecos '' app",
        "adduser --disabled-password app",
        "docker login --password-stdin example.com",
        "RUN chown -R 1000:1000 /app && docker run -u 1000:1000 x",
        "RUN wget https://example.com/key.asc && echo '0a1b2c3d  key.asc' | sha256sum -c",
        'RUN if [ "$TOKEN" = "x" ]; then make; fi',
        "RUN mkdir -p /app/secrets && rm -rf /root/.aws/credentials",
        "COPY --from=build /out/token /usr/bin/token",
        "syntax error: unexpected token: newline",
        "RUN pip install tokenizers==0.15.2 python-secrets keyring",
        "npm_config_cache=/tmp npm_config_update_notifier=false",
        "LABEL org.opencontainers.image.source=https://github.com/a/b@main",
        "ARG TOKEN",
        "git config --global user.email me@example.com",
        "npm config set registry https://registry.example.com",
        "echo hello | tee /etc/motd",
        "pip config set global.index-url https://example.com/simple",
        "docker pull vault-token:1.2.3",
        "RUN apt-get install -y libpam-auth passwd password-store",
        "ENV AUTH_TYPE=basic COOKIE_NAME=session SECRET_NAME=db",
        "ssh-keygen -t rsa -N '' -f /etc/ssh/key",
        "enter the password when asked",
        "curl -fsSL https://example.com:8443/pkg@1.2/x.tgz",
        'CMD ["python", "-m", "http.server"]',
    ],
)
def test_ordinary_commands_stay(text):
    assert mask(text) == (text, ())


def test_official_image_histories_stay(corpus):
    import json

    texts = []
    for path in sorted((corpus / "history").rglob("*.json")):

        def walk(value):
            if isinstance(value, dict):
                for inner in value.values():
                    walk(inner)
            elif isinstance(value, list):
                for inner in value:
                    walk(inner)
            elif isinstance(value, str):
                texts.append(value)

        try:
            walk(json.loads(path.read_bytes()))
        except ValueError:
            continue
    assert len(texts) > 100
    changed = [text for text in texts if mask(text).kinds]
    assert not changed, changed[:5]


def test_private_keys_are_masked_whole():
    key = "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEowIBAAKCAQEA7bq98q9w\nabc/def+ghi==\n-----END RSA PRIVATE KEY-----"
    assert mask(f"RUN echo '{key}' > k") == (f"RUN echo '{MASK}' > k", ("private-key",))
    assert "7bq98q9w" not in mask("KEY=" + key[:70]).text  # cut off, as history does
    assert mask('grep -q "-----BEGIN ' + 'PRIVATE KEY-----" x.pem').kinds == ()


def test_document_names_the_places():
    config = {
        "config": {
            "Env": ["PATH=/bin", f"DB_PASSWORD={SECRET}", f"URL=postgres://a:{SECRET}@h/d", "BROKEN"],
            "Cmd": ["tool", "--password", SECRET, "-v"],
            "Entrypoint": ["sh", "-c", f"export TOKEN={SECRET}; run"],
            "Labels": {"secret": SECRET, "a": "b", "n": 1},
            "Healthcheck": {"Test": ["CMD-SHELL", f"curl -u a:{SECRET} http://localhost"]},
            "OnBuild": [f"ENV X_TOKEN={SECRET}"],
        },
        "history": [
            {
                "created_by": f"ENV DB_PASSWORD={SECRET}",
                "comment": f"token={SECRET}",
                "author": f"a <https://a:{SECRET}@x>",
            }
        ],
    }
    masked, found = mask_document(config)
    assert SECRET not in repr(masked)
    assert masked["config"]["Labels"]["n"] == 1 and masked["config"]["Cmd"][3] == "-v"
    assert ("config.Env[DB_PASSWORD]", "secret-name") in found
    assert ("history[0].created_by", "secret-name") in found
    assert len(found) == 10
    assert mask_document(masked) == (masked, [])


def test_deep_documents_are_refused():
    deep = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ArchiveError, match="nested deeper"):
        mask_document(deep, "config")


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "a_token=",
        "token='",
        'token="',
        "://",
        "://a:",
        "-----BEGIN PRIVATE KEY-----",
        "eyJ",
        "eyJaaaaaaaa.",
        "curl ",
        "curl -u a:",
        "--password ",
        "ENV ",
        "\nENV A",
        "|1 ",
        "K=V ",
        "Bearer ",
        "\\",
        '\\"',
        "$(",
        "0123456789:AA",
        "echo a:",
        "mysql -p",
        "A_",
        "-",
        " ",
        "\n",
        "a@",
        "hf_",
        "SG.",
        "{",
        "mysql -p",
        "sqlplus a/",
        "echo a |",
        "<token>",
        '["curl",',
        "kubectl create secret --from-literal a=",
        "QUJD",
        "[1/2] ",
    ],
)
def test_a_long_text_is_masked_like_its_beginning(piece):
    """A pattern that went back over it would not end in the time that a test run has."""
    for start in ("", "RUN |1 ", "ENV "):
        text = start + piece * (100_000 // len(piece))
        assert mask(text)[0][:40] == mask(text[:2000])[0][:40]


PIECES = [*"abTOKEN_=:/@ \"'\\$-\n;|ENV1", "password", "TOKEN=", "://", "--secret ", "ENV ", MASK]


@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_masking_twice_changes_nothing(pieces):
    once = mask("".join(pieces)).text
    assert mask(once).text == once


# The shortest token of each form as its issuer documents it, and where a shorter one begins to be something else.
SHORTEST = {
    "github-token": ("ghp_", "aB3dE5gH7jK9mN1pQ3sT"),
    "gitlab-token": ("glpat-", "aB3dE5gH7jK9mN1p"),
    "slack-token": ("xoxb-", "aB3dE5gH7j"),
    "stripe-key": ("sk_live_", "aB3dE5gH7j"),
    "npm-token": ("npm_", "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1"),
    "pypi-token": ("pypi-Ag", "aB3dE5gH7jK9mN1pQ3sT"),
    "docker-token": ("dckr_pat_", "aB3dE5gH7jK9mN1p"),
    "huggingface-token": ("hf_", "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1"),
    "vault-token": ("hvs.", "aB3dE5gH7jK9mN1pQ3sT"),
}


@pytest.mark.parametrize("kind", SHORTEST)
def test_the_shortest_token_is_masked_and_a_shorter_one_is_not(kind):
    prefix, rest = SHORTEST[kind]
    assert mask(f"run {prefix}{rest} x") == (f"run {MASK} x", (kind,))
    assert mask(f"run {prefix}{rest[:-1]} x").kinds == ()


def test_a_value_looks_random_from_16_characters_on():
    """For names such as KEY, whose values are secrets only if they are random."""
    random = "aB3dE5gH7jK9mN1p"
    assert mask(random, "APP_SALT") == (MASK, ("secret-name",))
    assert mask(random[:-1], "APP_SALT").kinds == ()
    assert mask(random * 256, "APP_SALT").kinds and not mask(random * 256 + "a", "APP_SALT").kinds
    assert mask("aB3aB3aB3aB3aB3aB3", "APP_SALT").kinds == ()  # too regular: 1.6 bits a character
    assert mask("abcdefghijklmnopqrs", "APP_SALT").kinds == () == mask("12345678901234567890", "APP_SALT").kinds


def test_a_bearer_token_of_16_characters():
    assert mask("x Bearer aB3dE5gH7jK9mN1p").kinds == ("bearer-token",)
    assert mask("x Bearer aB3dE5gH7jK9mN1").kinds == ()


def test_a_document_of_100_levels_is_read():
    deep = "x"
    for _ in range(100):
        deep = [deep]
    assert mask_document(deep) == (deep, [])
    with pytest.raises(ArchiveError, match="deeper than 100 levels"):
        mask_document([deep])


def test_a_secret_build_argument_is_masked_wherever_the_config_repeats_it():
    secret = "k3v9x2q7m1z8"
    config = {
        "config": {"Labels": {"channel": secret}, "WorkingDir": f"/srv/{secret}"},
        "history": [{"created_by": f"RUN |1 DEPLOY_TOKEN={secret} /bin/sh -c ./login {secret} # buildkit"}],
    }
    masked, _ = mask_document(config)
    assert secret not in str(masked)
