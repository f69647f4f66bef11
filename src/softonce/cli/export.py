"""`softonce export`."""

from __future__ import annotations

from softonce.config import ExportConfig

DISAGREES = 1


def export(config: ExportConfig) -> int:
    """Write a classifier for another runtime: pixels in, probabilities out.

    Preprocessing, temperature, class names and all else that the artefact says are in the file. It
    is compared with the artefact on real images first; one that disagrees is not written, and the
    exit status is 1.
    """
    from softonce.cli.tables import print_parity, print_paths
    from softonce.console import print_error
    from softonce.exporting.run import export as run_export

    exported = run_export(config)
    print_parity(exported.parity)
    for failure in exported.parity.failures:
        print_error(failure)
    if exported.is_written:
        print_paths({"exported": exported.file})
    return DISAGREES if exported.parity.failures else 0
