import click

click.echo("ready")
