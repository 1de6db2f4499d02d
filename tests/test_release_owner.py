from pathlib import Path

import pytest
from huggingface_hub import DatasetCard
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from rem_release.errors import InputError
from rem_release.plain_text import escape
from rem_release.release.card import render_card
from rem_release.release.facts import OwnerFacts
from rem_release.release.markdown import is_mail, is_url, write_address, write_paragraphs, write_plain
from rem_release.release.owner import CARD_FIELDS, apply_card_fields, read_card_fields
from tests.test_release_card import state_facts

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
WORDS = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
MARKS = st.sampled_from(
    [
        *("\\", "\\|", "`", "```", "*", "_", "|", "#", "-", "---", "===", "+ ", "- ", "1. ", "2) ", "> ", "~~", "$$"),
        *("[x](https://x.org)", "![x](y)", "<b>", "<!--", "<https://x.org>", "&lt;", "{{ digest }}", "{% raw %}"),
        *(": ", "'", '"', " "),
    ]
)
LINE = st.lists(MARKS | st.text(WORDS, max_size=4), max_size=8).map("".join)
WORDED = st.tuples(LINE, st.sampled_from("aé猫"), LINE).map("".join)
TEXT = st.lists(LINE | st.just("\n") | st.just("\n\n"), max_size=6).map("\n".join)


def outline(markdown: str) -> list[tuple[str, str, list[tuple[str, dict[str, str | int | float]]]]]:
    """The structure of a text: its blocks, and what stands inside each, without the words."""
    return [
        (token.type, token.tag, [(child.type, child.attrs) for child in token.children or [] if child.type != "text"])
        for token in MARKDOWN.parse(markdown)
    ]


def words(text: str) -> str:
    return " ".join(text.split())


@given(TEXT)
@settings(max_examples=300)
def test_any_text_comes_out_as_the_same_words_in_plain_paragraphs(text: str) -> None:
    tokens = [token for token in MARKDOWN.parse(write_paragraphs(text)) if token.type == "inline"]
    assert {kind for kind, _, _ in outline(write_paragraphs(text))} <= {"paragraph_open", "inline", "paragraph_close"}
    assert all(child.type == "text" for token in tokens for child in token.children or [])
    found = ["".join(child.content for child in token.children or []) for token in tokens]
    assert words(" ".join(found)) == escape(words(text))


def test_what_the_hub_reads_as_mathematics_is_escaped() -> None:
    assert write_plain(r"$$x$$ \(y\)") == r"\$\$x\$\$ &#92;(y&#92;)"


@given(LINE)
@settings(max_examples=200)
def test_any_text_stays_in_its_cell_and_in_its_heading(text: str) -> None:
    plain = write_plain(text)
    table = MARKDOWN.parse(f"| a | b |\n|---|---|\n| {plain} | end |\n")
    cells = ["".join(child.content for child in token.children or []) for token in table if token.type == "inline"]
    assert cells == ["a", "b", escape(words(text)), "end"]
    assert outline(f"# {plain} x\n\nnext") == outline("# x\n\nnext")


@given(st.fixed_dictionaries({key: WORDED for key in CARD_FIELDS if key not in ("license", "license_link")}))
@settings(max_examples=40)
def test_nothing_that_an_owner_writes_breaks_the_card(texts: dict[str, str]) -> None:
    assume(not is_mail(texts["contact"]) and not is_url(texts["contact"]))
    owner = {"license": "other", **texts}
    benign = render_card(state_facts(owner={"license": "other", **dict.fromkeys(texts, "word")}))
    card = DatasetCard(render_card(state_facts(owner=owner)))
    data = card.data.to_dict()
    for key, name in (("pretty_name", "pretty_name"), ("license_name", "license_name")):
        assert data[key] == texts[name]
    for key, name in (("heading", "gated_heading"), ("prompt", "gated_prompt"), ("button_content", "gated_button")):
        assert data[f"extra_gated_{key}"] == texts[name]
    assert list(data) == list(DatasetCard(benign).data.to_dict())
    assert outline(card.text) == outline(DatasetCard(benign).text)


@given(TEXT)
@settings(max_examples=40)
def test_any_terms_come_back_from_the_metadata(text: str) -> None:
    card = DatasetCard(render_card(state_facts(owner={"gated_prompt": text, "gated_button": text})))
    data = card.data.to_dict()
    assert (data["extra_gated_prompt"], data["extra_gated_button_content"]) == (text, text)
    assert card.text.lstrip().startswith("# Images protected with robust error-minimizing noise\n\n**NOT CERTIFIED**")


@pytest.mark.parametrize(
    "address",
    ["https://x.org", "http://x.org:8080/a_b*c?d=[1]&e=(2)#f", "anna.b+c@mail.x.org", "https://localhost/a%20b"],
)
def test_an_address_becomes_a_link_that_shows_it(address: str) -> None:
    (_, inline, _) = MARKDOWN.parse(write_address(address))
    assert [child.type for child in inline.children or []] == ["link_open", "text", "link_close"]
    assert str((inline.children or [])[0].attrs["href"]).removeprefix("mailto:") in (
        address,
        address.replace("[1]", "%5B1%5D"),
    )


@pytest.mark.parametrize(
    "text",
    [
        *(
            "javascript:alert(1)",
            "https://hf.co@evil.org/",
            "https://x.org/|",
            "https://x.org/ y",
            "https://",
            "anna@x",
        ),
        *(
            "ftp://x.org",
            "https://x.org/>",
            "https://é.org",
            "x https://x.org",
            "https://x.org\n",
            "a@b.c>",
            "a`b@c.de",
        ),
    ],
)
def test_what_is_no_address_is_no_link(text: str) -> None:
    assert not is_url(text)
    assert not is_mail(text)
    assert "link_open" not in str(outline(write_address(text)))


def test_options_win_over_the_file_and_texts_stay_as_written(tmp_path: Path) -> None:
    file = tmp_path / "card.yaml"
    file.write_text(
        "license_name: 1.0\nlicense: no\ncontact: 2024-01-01\npretty_name:\nabout: |\n  One.\n\n  Two.\n",
        encoding="utf-8",
    )
    assert read_card_fields(["license=other", "contact=a=b", "contact=c=d "], file) == {
        **{"license_name": "1.0", "license": "other", "contact": "c=d ", "pretty_name": ""},
        "about": "One.\n\nTwo.\n",
    }
    assert read_card_fields([], None) == {}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("- a\n", "is not a mapping"),
        ("", "is not a mapping"),
        ("license: {name: x}\n", "the value of license is not a text"),
        ("contact: [a]\n", "the value of contact is not a text"),
        ("licence: x\n", "no field 'licence'; the nearest is license. Fields: pretty_name, about,"),
        ("a: b: c\n", "is not YAML"),
        ("? [a]\n: b\n", "is not YAML"),
        ("[" * 5000, "is not YAML"),
        ("about: \x07\n", "is not YAML"),
    ],
)
def test_a_file_that_is_no_list_of_fields_is_refused(tmp_path: Path, document: str, reason: str) -> None:
    file = tmp_path / "card.yaml"
    file.write_text(document, encoding="utf-8")
    with pytest.raises(InputError, match=r"^--card-fields .*card\.yaml") as refusal:
        read_card_fields([], file)
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"about: \xe9\n")
    for name in ("latin.yaml", "missing.yaml", "."):
        with pytest.raises(InputError, match="cannot be read"):
            read_card_fields([], tmp_path / name)


def test_a_field_is_key_and_value_and_known() -> None:
    with pytest.raises(InputError, match=r"--card-field license: write KEY=VALUE"):
        read_card_fields(["license"], None)
    with pytest.raises(
        InputError, match=r"--card-field: no field 'gated-prompt'; the nearest is gated_prompt\. Fields: "
    ):
        read_card_fields(["gated-prompt=x"], None)


def test_changes_keep_the_rest_and_an_empty_text_removes() -> None:
    owner = OwnerFacts(about="Cats.", contact="anna@x.org")
    changed = apply_card_fields(owner, {"contact": " ", "license": " cc0-1.0 ", "intended_use": "\nA \r\n\n  b\tc\n\n"})
    assert changed == OwnerFacts(about="Cats.", license="cc0-1.0", intended_use="A\n\nb c")
    assert apply_card_fields(changed, {}) == changed


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"license": "CC BY 4.0"}, "card field license='CC BY 4.0': give an identifier of the Hub's own list"),
        ({"license": "other"}, "card field license='other': name the licence too: --card-field license_name=NAME"),
        ({"license": "mit", "license_name": "x"}, "license_name='x': it needs license=other; give that, or remove it"),
        ({"license_link": "https://x.org"}, "license_link='https://x.org': it needs license=other"),
        ({"license": "other", "license_name": "x", "license_link": "x.org"}, "starts with http:// or https://"),
        ({"license": "other", "license_name": "x", "license_link": "javascript:1"}, "starts with http:// or https://"),
        ({"contact": "Anna"}, "card field contact='Anna': give an address of mail, or of a page"),
        ({"pretty_name": "a\nb"}, "give one line; only about, intended_use, gated_prompt may have several"),
        ({"about": "a\x1bb"}, "it holds the control character U+001B; remove it"),
        ({"about": "a\rb"}, "control character U+000D"),
        ({"about": "a\u202eb"}, "control character U+202E"),
        ({"about": "a\u2028b"}, "control character U+2028"),
        ({"gated_heading": "a\udcffb"}, "control character U+DCFF"),
    ],
)
def test_what_a_card_cannot_carry_is_refused_in_one_line(changes: dict[str, str], reason: str) -> None:
    with pytest.raises(InputError) as refusal:
        apply_card_fields(OwnerFacts(), changes)
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)
    str(refusal.value).encode()


@pytest.mark.parametrize("identifier", ["mit", "cc-by-nc-sa-4.0", "openrail++", "unknown"])
def test_identifiers_of_the_hub_are_taken(identifier: str) -> None:
    assert apply_card_fields(OwnerFacts(), {"license": identifier}).license == identifier
