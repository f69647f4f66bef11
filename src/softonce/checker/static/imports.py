"""Import statements: a module of the project, or a dotted name of another library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softonce.checker.static.values import External

if TYPE_CHECKING:
    import ast

    from softonce.checker.static.context import Run
    from softonce.checker.static.frame import Frame


def import_plain(run: Run, frame: Frame, node: ast.Import) -> bool:
    """Run `import a.b`, `import a.b as c`."""
    scope = run.heap.write(frame.scope)
    for alias in node.names:
        if alias.asname:
            found = run.project.resolve(alias.name, frame.module)
            if found is not None:
                run.import_module(found, frame.module)
            scope[alias.asname] = found or External(alias.name)
        else:
            top = alias.name.split(".")[0]
            found = run.project.resolve(top, frame.module)
            if found is not None:
                run.import_module(found, frame.module)
            scope[top] = found or External(top)
    return False


def import_from(run: Run, frame: Frame, node: ast.ImportFrom) -> bool:
    """Run `from a import b, c as d`, `from .a import *`."""
    dotted = node.module or ""
    module = run.project.resolve(dotted, frame.module, node.level)
    if module is not None and module is not frame.module:
        run.import_module(module, frame.module)
    if module is not None and module.reads_options:
        run.read_option()
    scope = run.heap.write(frame.scope)
    for alias in node.names:
        if alias.name == "*":
            if module is None:
                frame.module.stars.append(dotted)
            else:
                scope.update({k: v for k, v in module.scope.items() if not k.startswith("_")})
                frame.module.stars.extend(module.stars)
            continue
        name = alias.asname or alias.name
        inner = f"{dotted}.{alias.name}" if dotted else alias.name
        if module is not None and alias.name in module.scope and module is not frame.module:
            scope[name] = module.scope[alias.name]
            continue
        submodule = run.project.resolve(inner, frame.module, node.level)
        if submodule is not None and submodule is not frame.module:
            run.import_module(submodule, frame.module)
            scope[name] = submodule
        elif module is not None:
            scope[name] = module.scope.get(alias.name, External(f"project.{inner}"))
        else:
            scope[name] = External(inner)
    return False
