"""SARIF 2.1.0: the objects that we write have the properties that the standard gives them."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import jsonschema
import pytest

from softonce.checker import sarif
from softonce.checker.catalog import RULES
from softonce.checker.findings import Finding, Place
from softonce.checker.static import Settings, check_paths

# Section 3 of the standard, as far as we write it: required properties, types, and no others.


def _object(required: str, **properties: object) -> dict:
    return {
        "type": "object", "required": required.split(), "properties": properties,
        "additionalProperties": False,
    }  # fmt: skip


def _list(items: object) -> dict:
    return {"type": "array", "items": items}


TEXT = {"type": "string", "minLength": 1}
NUMBER = {"type": "integer", "minimum": 1}
BYTES = {"type": "integer", "minimum": 0}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
URI = {"type": "string", "pattern": r"^[\w/.~%()+,;=!*'@:&$-]+$"}
MESSAGE = _object("text", text=TEXT)
ARTIFACT = _object("uri", uri=URI)
REGION = _object("startLine", startLine=NUMBER, startColumn=NUMBER)
PHYSICAL = _object("artifactLocation", artifactLocation=ARTIFACT, region=REGION)
LOCATION = _object("physicalLocation", physicalLocation=PHYSICAL, message=MESSAGE)
STEP = _object("location", location=LOCATION)
FLOW = _object("threadFlows", threadFlows=_list(_object("locations", locations=_list(STEP))))
EDIT = _object(
    "deletedRegion",
    deletedRegion=_object("byteOffset byteLength", byteOffset=BYTES, byteLength=BYTES),
    insertedContent=_object("text", text={"type": "string"}),
)
CHANGE = _object(
    "artifactLocation replacements",
    artifactLocation=ARTIFACT, replacements={**_list(EDIT), "minItems": 1},
)  # fmt: skip
FIX = _object(
    "artifactChanges description",
    description=MESSAGE, artifactChanges={**_list(CHANGE), "minItems": 1},
)  # fmt: skip
RULE = _object(
    "id help",
    id={"enum": sorted(RULES)}, name={"type": "string", "pattern": "^([A-Z][a-z0-9]*)+$"},
    shortDescription=MESSAGE, fullDescription=MESSAGE, helpUri={"type": "string"},
    help=_object("text markdown", text=TEXT, markdown=TEXT),
    defaultConfiguration=_object("level", level=LEVEL),
)  # fmt: skip
RESULT = _object(
    "message ruleId ruleIndex partialFingerprints",
    ruleId={"enum": sorted(RULES)}, ruleIndex=BYTES, level=LEVEL, message=MESSAGE,
    locations={**_list(LOCATION), "maxItems": 1}, relatedLocations=_list(LOCATION),
    codeFlows=_list(FLOW), fixes=_list(FIX),
    partialFingerprints={"type": "object", "additionalProperties": TEXT},
)  # fmt: skip
DRIVER = _object("name", name=TEXT, version=TEXT, rules={**_list(RULE), "uniqueItems": True})
RUN = _object(
    "tool results",
    tool=_object("driver", driver=DRIVER), results=_list(RESULT),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
)  # fmt: skip
LOG = {
    **_object("version runs", version={"const": "2.1.0"}, runs=_list(RUN)),
    "$schema": "https://json-schema.org/draft/2020-12/schema",
}
LOG["properties"]["$schema"] = {"type": "string", "format": "uri"}


def written(*paths: Path) -> dict:
    checked = check_paths([str(path) for path in paths], Settings(notes=True))
    return json.loads(sarif.to_sarif(checked.findings, "1.0", checked.read_line))


def test_all_that_the_case_files_show_is_valid() -> None:
    log = written(Path(__file__).parent / "cases")
    jsonschema.validate(log, LOG)
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(rules) > 20
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in run["results"])
    assert any("fixes" in result for result in run["results"])


def test_a_clean_tree_is_valid(tmp_path: Path) -> None:
    (tmp_path / "clean.py").write_text("x = 1\n")
    jsonschema.validate(written(tmp_path), LOG)


def test_every_rule_brings_its_page_along() -> None:
    findings = [Finding(code, "broken", Place("a.py", 1)) for code in RULES]
    log = json.loads(sarif.to_sarif(findings, "1.0"))
    jsonschema.validate(log, LOG)
    for rule in log["runs"][0]["tool"]["driver"]["rules"]:
        assert rule["help"]["markdown"].startswith(f"# {rule['id']} ")
        assert RULES[rule["id"]].fix in rule["help"]["text"]


def test_columns_count_characters_and_addresses_are_escaped(tmp_path: Path) -> None:
    path = tmp_path / "a ré.py"
    line = "    é = 'ü'; F.cross_entropy(x.softmax(1), y)\n"
    path.write_text(f"import torch.nn.functional as F\ndef f(x, y):\n{line}", encoding="utf-8")
    (result,) = written(path)["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].endswith("a%20r%C3%A9.py")
    assert place["region"] == {"startLine": 3, "startColumn": line.index("F.") + 1}


def test_two_equal_lines_have_two_fingerprints(tmp_path: Path) -> None:
    step = "def {}(x, y):\n    return F.cross_entropy(x.softmax(1), y)\n"
    text = "import torch.nn.functional as F\n" + step.format("one") + step.format("two")
    (tmp_path / "a.py").write_text(text)
    results = written(tmp_path)["runs"][0]["results"]
    first, second = (result["partialFingerprints"]["softonce/v1"] for result in results)
    assert first.split(":")[0] == second.split(":")[0]
    assert (first.split(":")[1], second.split(":")[1]) == ("1", "2")


@pytest.mark.parametrize("named", ["Documentation, https://forge.example/own/tree/main/docs", None])
def test_help_has_an_address_if_the_package_knows_it(monkeypatch, named: str | None) -> None:
    class Metadata:
        def get_all(self, _: str) -> list[str] | None:
            return [named] if named else None

    monkeypatch.setattr(sarif, "metadata", lambda _: Metadata())
    sarif._guide.cache_clear()
    log = json.loads(sarif.to_sarif([Finding("SO101", "m", Place("a.py", 1))], "1.0"))
    sarif._guide.cache_clear()
    (rule,) = log["runs"][0]["tool"]["driver"]["rules"]
    guide = "https://forge.example/own/tree/main/docs/guides/check.md"
    assert rule.get("helpUri") == (guide if named else None)


def test_a_copy_that_is_not_installed_has_no_address(monkeypatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(sarif, "metadata", missing)
    sarif._guide.cache_clear()
    assert sarif._guide() == ""
    sarif._guide.cache_clear()
