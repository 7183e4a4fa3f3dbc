"""The story, the lineage, the exports and the card of one made-up model say what was recorded, and no more."""

import csv
import io
import json
from html.parser import HTMLParser

import pytest

from airflow_mlops.domain.audit.card import UNKNOWN, ModelCard, model_card
from airflow_mlops.domain.audit.chain import Trail, read_chain
from airflow_mlops.domain.audit.entry import Chain, EventKind, entry_name
from airflow_mlops.domain.audit.export import to_csv, to_html, to_json, to_markdown
from airflow_mlops.domain.audit.lineage import find_version, learned_from
from airflow_mlops.domain.audit.story import learned_text, lineage_text, story
from airflow_mlops.exceptions import InvalidInputError
from tests.unit.domain.audit.trail import FLIGHTS, MODEL, START, event, files_of, provenance, seal

EVIL = "<script>alert(1)</script>|[x](http://evil)\x1b[2J\n=1+1"
SHA = provenance(dataset="d", model="a1b2c3d4", suite="e", file="f", holdout="b", evidence="9")


def made(
    summary: str = "Ada approved it.", *, model: str = MODEL.name, files: tuple[str, ...] = ("/data/1.csv",)
) -> Trail:
    """One version from its snapshot to its deployment; two snapshots of the same rows, and one of others."""
    sources = [{"uri": uri, "sha256": SHA["file"]} for uri in files]
    data = {"dataset": SHA["dataset"]}
    flights = seal(
        [
            event(EventKind.SNAPSHOT, chain=FLIGHTS, run="other", digests={"dataset": SHA["holdout"]}),
            event(EventKind.SNAPSHOT, chain=FLIGHTS, digests=data, facts={"rows": 1000, "sources": sources}),
            event(EventKind.VALIDATION, chain=FLIGHTS, digests=data, summary="It met the 4 expectations."),
            event(EventKind.TRAINING, chain=FLIGHTS, digests=data | {"model": SHA["model"]}),
            event(EventKind.SNAPSHOT, chain=FLIGHTS, run="later", digests=data),
        ],
        FLIGHTS,
    )
    chain = Chain.of_model(model)
    number = {"value": 0.75, "low": 0.7, "high": 0.8}
    registered = {"run_id": "r-1", "model_uri": "models:/m-77", "dataset_name": "flights", "code_version": "abc"}
    judged = {
        "dataset_name": "holdout", "rows": 10, "champion_version": None, "confidence_level": 0.95,
        "evidence_uri": "/e.json", "report_uri": "/e.html",
        "worst_slices": [
            {
                "slice": "carrier = EV", "rows": 1200, "metric": "roc_auc", "candidate": 0.61, "champion": None,
                "surely_worse": True,
            }
        ],
        "disparities": [
            {"column": "origin", "measure": "equal_opportunity", "value": 0.1, "between": "EWR and JFK"}
        ],
        "metrics": {"roc_auc": {"candidate": number, "champion": None, "difference": None}},
    }  # fmt: skip
    verdicts = [{"gate": "roc_auc", "mode": "enforce", "passed": True, "reason": "It clears the bar."}]
    entries = seal(
        [
            event(
                EventKind.REGISTRATION, "3", chain=chain, digests={"dataset": SHA["dataset"], "model": SHA["model"]},
                facts=registered, references=(flights[3].reference,), hour=1,
            ),
            event(
                EventKind.EVALUATION, "3", chain=chain, facts=judged,
                digests={"holdout": SHA["holdout"], "evidence": SHA["evidence"]},
            ),
            event(EventKind.GATE, "3", chain=chain, facts={"passed": True, "verdicts": verdicts}),
            event(EventKind.APPROVAL, "3", chain=chain, summary=summary, who=summary),
            event(EventKind.DEPLOYMENT, "3", chain=chain, who="Ada (7)", hour=2),
        ],
        chain,
    )  # fmt: skip
    return Trail(records={chain: read_chain(chain, files_of(entries)), FLIGHTS: read_chain(FLIGHTS, files_of(flights))})


def card(trail: Trail, model: str = MODEL.name) -> ModelCard:
    return model_card(trail, model, None, START)


def test_the_story_tells_what_led_to_a_registration_before_it_and_nothing_else_of_the_dataset() -> None:
    told = [line.split("  ")[1:] for line in story(made(), MODEL.name).splitlines() if line.startswith("2026")]
    assert told == [
        ["snapshot", "(datasets/flights #2)"],
        ["validation", "(datasets/flights #3)"],
        ["training", "(datasets/flights #4)"],
        ["registration", "(#1)"],
        ["evaluation", "(#2)"],
        ["gate", "(#3)"],
        ["approval", "(#4)"],
        ["deployment", "(#5)"],
    ]
    assert "Served: version 3 from 2026-03-01 02:00:00+00:00 to now" in story(made(), MODEL.name)


def test_a_comment_cannot_rewrite_the_terminal() -> None:
    assert "\x1b" not in story(made(EVIL), MODEL.name)
    assert "\n=1" not in story(made(EVIL), MODEL.name)


@pytest.mark.parametrize(
    "text",
    ["flight-delays@3", "models:/flight-delays/3", "flight-delays/3", "3", "r-1", "m-77", "a1b2c3d4", SHA["model"]],
)
def test_a_version_is_found_by_whatever_a_log_calls_it(text: str) -> None:
    found = lineage_text(find_version(made(), text))
    for part in ("flight-delays version 3", SHA["model"], "/data/1.csv", "abc", "It met the 4", "loop / r / training"):
        assert part in found


@pytest.mark.parametrize("text", ["4", "flight-delays@33", "a1b2", "other@3"])
def test_a_version_that_is_not_recorded_is_not_guessed(text: str) -> None:
    with pytest.raises(InvalidInputError, match="is in the audit trail"):
        find_version(made(), text)


def test_a_number_that_two_models_have_is_refused_with_both_names() -> None:
    both = Trail(records={**made().records, **made(model="other").records})
    with pytest.raises(InvalidInputError, match="flight-delays@3, other@3"):
        find_version(both, "3")
    assert len(learned_from(both, "/data/1.csv")) == 2


@pytest.mark.parametrize("source", ["/data/1.csv", "1.csv", "data/1.csv", SHA["file"]])
def test_a_file_leads_to_every_version_that_learned_from_it(source: str) -> None:
    trail = made(files=("/data/1.csv", "/data/2.csv"))
    assert learned_text(source, learned_from(trail, source)) == "flight-delays@3  trained on flights dddddddddddd"


@pytest.mark.parametrize("source", [".csv", "/other/1.csv", "11.csv", SHA["dataset"]])
def test_a_file_that_no_version_learned_from_leads_to_none(source: str) -> None:
    assert "No registered version learned from" in learned_text(source, learned_from(made(), source))


def test_exported_files_prove_the_chain_elsewhere() -> None:
    exported = json.loads(to_json(made(), MODEL.name, START))
    for name, chain in (("models/flight-delays", MODEL), ("datasets/flights", FLIGHTS)):
        files = {file: text.encode() for file, text in exported["chains"][name].items()}
        record = read_chain(chain, files)
        assert record.is_whole
        assert str(record.head) == exported["heads"][name]


def test_a_spreadsheet_computes_nothing_of_what_people_wrote() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(made("=cmd()"), MODEL.name))))
    assert [row["event"] for row in rows][3:5] == ["registration", "evaluation"]
    assert {row["summary"] for row in rows if row["event"] == "approval"} == {"'=cmd()"}
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "@", "+"))]
    assert [row["map_index"] for row in rows] == ["-1"] * 8


def test_the_card_has_the_sections_that_people_know_and_fills_in_nothing() -> None:
    text = to_markdown(card(made()))
    titles = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert titles == [
        "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
        "Quantitative analyses", "Ethical considerations", "Caveats and recommendations", "History",
    ]  # fmt: skip
    assert "| roc\\_auc | 0.7500 \\[0.7000, 0.8000\\] | not computed | not computed |" in text
    assert "| carrier = EV | 1,200 | roc\\_auc | 0.6100 | not computed | yes |" in text
    assert "| origin | equal\\_opportunity | 0.1000 | EWR and JFK |" in text
    assert f"## Intended use\n\n{UNKNOWN}" in text
    assert f"## Caveats and recommendations\n\n{UNKNOWN}" in text
    assert text.startswith('---\nmodel_name: "flight-delays"\n')
    assert card(made()).metrics == {"roc_auc": 0.75}


def test_the_page_of_the_card_carries_no_markup_that_somebody_wrote() -> None:
    class Tags(HTMLParser):
        found: set[str]

        def handle_starttag(self, tag: str, attrs: object) -> None:
            self.found.add(tag)

    parser = Tags()
    parser.found = set()
    page = to_html(card(made(EVIL, model="<b>m</b>"), "<b>m</b>"))
    parser.feed(page)
    assert not parser.found & {"script", "b", "a", "img"}
    assert "&lt;script&gt;" in page
    assert "<script>" not in to_markdown(card(made(EVIL)))
    assert "\\[x\\](http" in to_markdown(card(made(EVIL)))


def test_a_card_of_a_broken_trail_says_so() -> None:
    whole = made()
    files = dict(whole.records[MODEL].files)
    name = entry_name(4)
    files[name] = files[name].replace(b"Ada approved", b"Eve approved")
    broken = Trail(records={**whole.records, MODEL: read_chain(MODEL, files)})
    for text in (to_html(card(broken)), to_markdown(card(broken)), story(broken, MODEL.name)):
        assert "BROKEN: Entry 4 of models/flight" in text.replace("\\", "")


def test_a_version_without_a_registration_has_no_card() -> None:
    with pytest.raises(InvalidInputError, match="version 9 is in the audit trail"):
        model_card(made(), MODEL.name, "9", START)
