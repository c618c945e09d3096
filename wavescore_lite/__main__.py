"""`python -m wavescore_lite` is the command line."""

from .cli import app

if __name__ == "__main__":  # tools import every module of a package
    app(prog_name="wavescore")
