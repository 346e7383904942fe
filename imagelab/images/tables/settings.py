"""The settings of an image's config, one row each."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from imagelab.core.frames import make_frame
from imagelab.core.json_fields import mapping, strings
from imagelab.core.model import Image
from imagelab.images.tables.images import Images, load_images

SETTINGS_COLUMNS = {"reference": "str", "setting": "str", "name": "string", "value": "string", "redacted": "bool"}


def settings(images: Images) -> pd.DataFrame:
    """The config's settings, one row each.

    Returns
    -------
    pandas.DataFrame
        ``SETTINGS_COLUMNS``: ``setting`` is ``user``, ``workdir``, ``entrypoint``, ``cmd``, ``shell``, ``env``, ``label``,
        ``port``, ``volume``, ``healthcheck``, ``stop_signal``, ``onbuild``, ``architecture`` …; ``name`` is the variable's,
        label's, port's or volume's; lists are JSON, as in a Dockerfile; ``redacted``: looked like a secret.
    """
    rows = []
    for image in load_images(images):
        masked = {redaction.where for redaction in image.redactions}
        for setting, name, value, where in _settings(image):
            redacted = any(place == where or place.startswith((where + "[", where + ".")) for place in masked)
            rows.append(
                {"reference": image.reference, "setting": setting, "name": name, "value": value, "redacted": redacted}
            )
    return make_frame(rows, SETTINGS_COLUMNS)


def _settings(image: Image) -> Iterable[tuple[str, str | None, str | None, str]]:
    config = mapping(image.config, "config")

    def shown(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    single = {"User": "user", "WorkingDir": "workdir", "Entrypoint": "entrypoint", "Cmd": "cmd", "Shell": "shell"}
    single |= {"Healthcheck": "healthcheck", "StopSignal": "stop_signal", "StopTimeout": "stop_timeout"}
    for key in ("architecture", "os", "variant", "os.version", "os.features", "author"):
        if image.config.get(key):
            yield key, None, shown(image.config[key]), f"config.{key}"
    for key, setting in single.items():
        if config.get(key) not in (None, "", [], {}):
            yield setting, None, shown(config[key]), f"config.config.{key}"
    for item in strings(config.get("Env")):
        name, _, value = item.partition("=")
        yield "env", name, value, f"config.config.Env[{name}]"
    for name, value in sorted(mapping(config, "Labels").items()):
        yield "label", name, shown(value), f"config.config.Labels.{name}"
    for key, setting in (("ExposedPorts", "port"), ("Volumes", "volume")):
        for name in sorted(mapping(config, key)):
            yield setting, name, None, f"config.config.{key}.{name}"
    for item in strings(config.get("OnBuild")):
        yield "onbuild", None, item, "config.config.OnBuild"
