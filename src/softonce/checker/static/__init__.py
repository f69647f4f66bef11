"""Source in, findings out, with Python's standard library alone; no code of the project is run."""

from softonce.checker.static.check import Checked, Settings, check_paths, check_sources

__all__ = ["Checked", "Settings", "check_paths", "check_sources"]
