"""`python -m softonce` is `softonce`."""

from softonce.cli.app import run

if __name__ == "__main__":
    run()
