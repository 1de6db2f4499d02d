from pathlib import Path

from rem_release.release.canonical import seal
from rem_release.release.certificate import ANSWERS, AUDIT_FIGURES, read_certificate
from rem_release.release.documents import CARD, CERTIFICATE, describe_files, read_facts, write_documents
from tests.command_line import run, snapshot, succeed
from tests.pushes import certify


def test_the_card_follows_the_certificate_and_a_void_one_counts_for_nothing(run_copy: Path) -> None:
    release = run_copy / "release"
    card = release / CARD
    unaudited = card.read_bytes()
    certify(run_copy, passed=False)
    certificate = read_certificate(release / CERTIFICATE)
    card.unlink()
    assert "warning" not in succeed("card", run_copy).err
    assert "**NOT CERTIFIED**: Fell short of the owner's policy in the " in card.read_text(encoding="utf-8")
    assert succeed("verify", release, "--json").json["passed"] is True

    void = certificate.model_copy(update={"digest": "ef" * 32})
    (release / CERTIFICATE).write_bytes(seal(void.model_dump(mode="json")))
    assert "warning: audit.json is void: it is of other data." in succeed("card", run_copy).err
    assert "nobody has measured what a model learns" in card.read_text(encoding="utf-8")
    (release / CERTIFICATE).unlink()
    (release / ANSWERS).unlink()
    for figure in AUDIT_FIGURES:
        (release / figure).unlink(missing_ok=True)
    write_documents(release, read_facts(release).model_copy(update={"files": describe_files(release)}))
    assert card.read_bytes() == unaudited
    (release / CERTIFICATE).write_bytes(seal(void.model_dump(mode="json")))
    failed = [check["name"] for check in run("verify", release, "--json").json["checks"] if check["passed"] is False]
    assert failed == ["certificate"]


def test_a_damaged_certificate_makes_no_card(run_copy: Path) -> None:
    before = (run_copy / "release" / CARD).read_bytes()
    (run_copy / "release" / CERTIFICATE).write_bytes(seal({"digest": "ef" * 32}))
    result = run("card", run_copy)
    assert result.code == 1
    assert "audit.json does not follow its schema" in result.err
    assert (run_copy / "release" / CARD).read_bytes() == before


def test_the_owners_words_come_from_options_and_a_file_and_stay(run_copy: Path, tmp_path: Path) -> None:
    file = tmp_path / "fields.yaml"
    file.write_text("contact: anna@x.org\nabout: |\n  Cats.\n\n  More | cats.\n", encoding="utf-8")
    options = ("--card-fields", file, "--card-field", "contact=bob@x.org", "--card-field", "license=cc-by-4.0")
    shown = succeed("card", run_copy, *options, "--json").json
    assert {key: value for key, value in shown["owner"].items() if value} == {
        **{"contact": "bob@x.org", "about": "Cats.\n\nMore | cats.", "license": "cc-by-4.0"}
    }
    succeed("card", run_copy, "--card-field", "contact=", "--card-field", "pretty_name=My cats")
    card = (run_copy / "release" / CARD).read_text(encoding="utf-8")
    assert "\n# My cats\n" in card
    assert "Cats.\n\nMore \\| cats.\n" in card
    assert "| Contact | none given |" in card
    assert "license: cc-by-4.0\n" in card
    assert succeed("verify", run_copy, "--json").json["passed"] is True
    again = read_facts(run_copy / "release")
    assert succeed("card", run_copy).code == 0
    assert read_facts(run_copy / "release") == again


def test_a_field_that_is_refused_changes_nothing(run_copy: Path) -> None:
    before = snapshot(run_copy)
    for field in ("colour=red", "license=Mine", "license_link=https://x.org", "about"):
        result = run("card", run_copy, "--card-field", "contact=anna@x.org", "--card-field", field)
        assert result.code == 2
        assert result.err.count("\n") == 1
        assert result.err.startswith("error: ")
    assert snapshot(run_copy) == before
