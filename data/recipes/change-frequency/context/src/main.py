"""Signs what its settings say."""

import pathlib

import itsdangerous

settings = pathlib.Path("config/app.toml").read_text()
print(itsdangerous.Signer("not-a-real-key").sign(settings).decode())
