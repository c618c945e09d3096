"""`python -m wavescore_lite` is the command line."""

from .cli import app

app(prog_name="wavescore")
