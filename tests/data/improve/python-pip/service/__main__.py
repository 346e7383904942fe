"""Sign a word once a second."""

import time

import click
from itsdangerous import Signer

while True:
    click.echo(Signer("secret").sign("word"))
    time.sleep(1)
