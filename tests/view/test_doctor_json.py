"""docs/doctor.schema.json says what ``pageblock doctor --json`` prints."""

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pageblock.cli import main
from pageblock.cli.doctor import recorded_machine
from pageblock.view.doctor_json import FORMAT

DUMP = Path(__file__).parents[1] / "machine" / "data" / "core-6.1-cma.parquet"
SCHEMA = Path(__file__).parents[2] / "docs" / "doctor.schema.json"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(found)
    return found


def closed(schema: Any) -> Any:
    """The schema with every key that it does not name forbidden, so that nothing is printed that it does not know."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(part) for name, part in schema.items()}
    if found.get("type") == "object" and "properties" in found:
        found["additionalProperties"] = False
    return found


def answer(capsys: pytest.CaptureFixture[str], *args: str) -> Any:
    assert main(["doctor", "--json", *args]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    "args", [(), ("--ranges", "--size", "64M"), ("--size", "32G"), ("--zone", "DMA"), ("--anywhere",)]
)
def test_every_answer_fits_the_schema(
    capsys: pytest.CaptureFixture[str], schema: dict[str, Any], args: tuple[str, ...]
) -> None:
    jsonschema.Draft202012Validator(closed(schema)).validate(answer(capsys, "--recorded", *args))


def test_the_answer_from_a_kernel_dump_fits_too(capsys: pytest.CaptureFixture[str], schema: dict[str, Any]) -> None:
    found = answer(capsys, "--from", str(DUMP), "--size", "2M")
    jsonschema.Draft202012Validator(closed(schema)).validate(found)
    assert [area["name"] for area in found["areas"]] == ["reserved"]
    [pinned] = [group for group in found["sizes"][-1]["causes"] if group["kinds"] == ["pinned"]]
    assert pinned["cause"]["name"] == "long-term pin"
    [blocker] = [one for one in found["sizes"][-1]["blockers"] if one["reason"] in pinned["reasons"]]
    assert {"name": "long-term pin", "certainty": "likely"} in blocker["causes"]
    assert any(remark["topic"] == "source" for remark in found["remarks"])


def test_a_walk_names_causes_and_what_its_source_knows(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "--from", str(DUMP), "--why", "14831")
    [walk] = found["walks"]
    assert walk["cause"]["name"] == "long-term pin"
    assert walk["obstacles"][0]["cause"]["certainty"] == "likely"
    assert any(remark["topic"] == "source" for remark in found["remarks"])


def test_an_answer_without_kpageflags_fits_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], schema: dict[str, Any]
) -> None:
    for name in ("buddyinfo", "zoneinfo", "meminfo"):
        shutil.copy(recorded_machine() / name, tmp_path)
    found = answer(capsys, "--from", str(tmp_path))
    jsonschema.Draft202012Validator(closed(schema)).validate(found)
    assert found["bounds"]


def test_other_machines_fit_too(shared: Path, capsys: pytest.CaptureFixture[str], schema: dict[str, Any]) -> None:
    machines = [path for path in sorted((shared / "machines").iterdir()) if (path / "zoneinfo").exists()]
    assert machines
    for path in machines:
        jsonschema.Draft202012Validator(closed(schema)).validate(answer(capsys, "--from", str(path)))


def test_the_schema_is_of_the_format_that_is_printed(schema: dict[str, Any]) -> None:
    assert schema["properties"]["format"]["const"] == FORMAT
    assert schema["$id"].endswith(f":{FORMAT}")


@pytest.mark.parametrize("wrong", [{"format": 2}, {"page_size": "4096"}, {"maps": [{"zone": "DMA"}]}])
def test_a_wrong_answer_does_not_fit(
    capsys: pytest.CaptureFixture[str], schema: dict[str, Any], wrong: dict[str, Any]
) -> None:
    found = answer(capsys, "--recorded", "--size", "1G") | wrong
    assert not jsonschema.Draft202012Validator(schema).is_valid(found)
