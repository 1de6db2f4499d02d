from pathlib import Path

from rem_release.release.canonical import seal
from rem_release.release.documents import CARD, CERTIFICATE, read_facts
from tests.certificates import make_certificate
from tests.command_line import run, succeed


def test_the_card_follows_the_certificate_and_a_void_one_counts_for_nothing(run_copy: Path) -> None:
    release = run_copy / "release"
    card = release / CARD
    unaudited = card.read_bytes()
    certificate = make_certificate(digest=read_facts(release).digest)
    (release / CERTIFICATE).write_bytes(seal(certificate.model_dump(mode="json")))
    assert "warning" not in succeed("card", run_copy).err
    assert "**The audit fell short." in card.read_text(encoding="utf-8")
    assert succeed("verify", release, "--json").json["passed"] is True

    void = certificate.model_copy(update={"digest": "ef" * 32})
    (release / CERTIFICATE).write_bytes(seal(void.model_dump(mode="json")))
    assert "warning: audit.json is void: it is of other data." in succeed("card", run_copy).err
    assert card.read_bytes() == unaudited
    failed = [check["name"] for check in run("verify", release, "--json").json["checks"] if check["passed"] is False]
    assert failed == ["certificate"]


def test_a_damaged_certificate_makes_no_card(run_copy: Path) -> None:
    before = (run_copy / "release" / CARD).read_bytes()
    (run_copy / "release" / CERTIFICATE).write_bytes(seal({"digest": "ef" * 32}))
    result = run("card", run_copy)
    assert result.code == 1
    assert "audit.json does not follow its schema" in result.err
    assert (run_copy / "release" / CARD).read_bytes() == before
