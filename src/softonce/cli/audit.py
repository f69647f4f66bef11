"""`softonce audit`."""

from __future__ import annotations

import json

from softonce.config import AuditConfig


def audit(config: AuditConfig) -> int:
    """Tell what a classifier's numbers mean and whether they can be trusted.

    Of a file of answers, a model file or a service. The status is 1 if there is a fault: the
    numbers do not mean what they are read as.
    """
    from softonce.auditing.run import audit as run_audit
    from softonce.cli.tables import print_audit, print_paths

    found = run_audit(config)
    if config.json:
        print(json.dumps(found.to_dict(), ensure_ascii=False))  # noqa: T201 - the result
    else:
        print_audit(found)
    paths = {}
    if config.write is not None:
        found.write(config.write)
        paths["repaired"] = config.write
    if config.report is not None:
        from softonce.report.audits import write_audit_report

        write_audit_report(found, config.report)
        paths["report"] = config.report
    if not config.json:
        print_paths(paths)
    return 1 if found.faults else 0
