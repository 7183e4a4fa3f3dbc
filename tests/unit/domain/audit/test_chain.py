"""Whatever is done to one entry of a chain is found, and the entry is named."""

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlops.domain.audit.chain import Trail, read_chain
from airflow_mlops.domain.audit.entry import AuditEntry, AuditEvent, Chain, EventKind, Head, entry_name, entry_sequence
from airflow_mlops.exceptions import InvalidInputError
from tests.unit.domain.audit.trail import FLIGHTS, MODEL, event, files_of, seal

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
EVENTS = st.builds(
    lambda kind, version, text, run, fact: event(kind, version, summary=text, run=run, facts={"fact": fact}),
    st.sampled_from(EventKind),
    st.none() | st.sampled_from(["1", "2"]),
    TEXTS,
    TEXTS,
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
)
unhurried = settings(max_examples=50, deadline=None)
CHAINS = st.lists(EVENTS, min_size=1, max_size=6).map(seal)


@unhurried
@given(CHAINS)
def test_untouched_chain_is_whole_and_reads_as_it_was_written(entries: list[AuditEntry]) -> None:
    record = read_chain(MODEL, files_of(entries), [entry.head for entry in entries])
    assert record.is_whole
    assert list(record.entries) == entries
    assert record.head == entries[-1].head


@unhurried
@given(CHAINS, st.data())
def test_any_byte_that_is_altered_is_found_and_its_entry_named(entries: list[AuditEntry], data: st.DataObject) -> None:
    files = files_of(entries)
    altered = data.draw(st.integers(1, len(entries)))
    content = bytearray(files[entry_name(altered)])
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
    findings = read_chain(MODEL, files | {entry_name(altered): bytes(content)}).findings
    assert findings[0].sequence == altered


@unhurried
@given(CHAINS, st.data())
def test_an_altered_entry_with_a_fitting_digest_is_found_and_named(
    entries: list[AuditEntry], data: st.DataObject
) -> None:
    altered = data.draw(st.integers(1, len(entries)))
    old = entries[altered - 1]
    happening = replace(old.happening, summary=old.happening.summary + "!")
    forged = AuditEntry.seal(replace(old.event, happening=happening), Head(sequence=altered - 1, digest=old.previous))
    files = files_of(entries) | {entry_name(altered): forged.to_text().encode()}
    record = read_chain(MODEL, files, [replace(entries[-1].head, seen_by="the tag")])
    assert [finding.sequence for finding in record.findings] == [altered]
    assert "was replaced" in record.findings[0].reason


@unhurried
@given(CHAINS, st.data())
def test_a_removed_entry_is_found_and_named(entries: list[AuditEntry], data: st.DataObject) -> None:
    files = files_of(entries)
    removed = data.draw(st.integers(1, len(entries)))
    del files[entry_name(removed)]
    record = read_chain(MODEL, files, [entries[-1].head])
    assert [finding.sequence for finding in record.findings] == [removed]
    assert "is missing" in record.findings[0].reason


@unhurried
@given(CHAINS.filter(lambda entries: len(entries) > 1), st.data())
def test_two_exchanged_entries_are_found_and_the_first_is_named(entries: list[AuditEntry], data: st.DataObject) -> None:
    one, other = sorted(data.draw(st.lists(st.integers(1, len(entries)), min_size=2, max_size=2, unique=True)))
    files = files_of(entries)
    files[entry_name(one)], files[entry_name(other)] = files[entry_name(other)], files[entry_name(one)]
    record = read_chain(MODEL, files)
    assert [finding.sequence for finding in record.findings if "wrong place" in finding.reason] == [one, other]
    assert record.findings[0].sequence == one


@unhurried
@given(CHAINS, st.data())
def test_entries_that_were_renumbered_to_close_a_gap_are_found(entries: list[AuditEntry], data: st.DataObject) -> None:
    removed = data.draw(st.integers(1, len(entries)))
    kept = [entry for entry in entries if entry.sequence != removed]
    files = {entry_name(number): entry.to_text().encode() for number, entry in enumerate(kept, start=1)}
    record = read_chain(MODEL, files, [entries[-1].head])
    assert record.findings[0].sequence == removed


@unhurried
@given(CHAINS, st.data())
def test_a_cut_at_the_end_is_found_by_whoever_remembers_the_end(entries: list[AuditEntry], data: st.DataObject) -> None:
    kept = data.draw(st.integers(0, len(entries) - 1))
    cut = files_of(entries[:kept])
    assert read_chain(MODEL, cut).is_whole  # The chain alone cannot know.
    findings = read_chain(MODEL, cut, [entries[0].head, replace(entries[-1].head, seen_by="the tag")]).findings
    assert findings[-1].sequence == kept + 1
    assert f"the tag saw the chain end at entry {len(entries)}" in findings[-1].reason


def test_a_rewritten_tail_is_found_by_a_head_that_was_remembered() -> None:
    entries = seal([event(EventKind.GATE, "1"), event(EventKind.APPROVAL, "1")])
    rewritten = seal([event(EventKind.GATE, "1"), event(EventKind.PROMOTION, "1"), event(EventKind.DEPLOYMENT, "1")])
    assert read_chain(MODEL, files_of(rewritten)).is_whole
    heads = [replace(entries[-1].head, seen_by="the tag of version 1"), rewritten[-1].head]
    (finding,) = read_chain(MODEL, files_of(rewritten), heads).findings
    assert str(finding).startswith("Entry 2 of models/flight-delays was replaced: the tag of version 1 saw ")


def test_two_memories_of_one_entry_that_disagree_cannot_both_be_right() -> None:
    entries = seal([event(EventKind.GATE, "1")])
    other = Head(sequence=1, digest="0" * 64, seen_by="a note")
    for heads in ([entries[0].head, other], [other, entries[0].head]):
        assert "a note saw" in read_chain(MODEL, files_of(entries), heads).findings[0].reason


def test_entries_of_another_model_do_not_fit() -> None:
    other = Chain.of_model("other")
    copied = files_of(seal([event(EventKind.GATE, "1", chain=other)], other))
    assert "is in the wrong place" in read_chain(MODEL, copied).findings[0].reason


def test_a_chain_that_lost_its_beginning_does_not_pass_for_a_whole_one() -> None:
    first, second = seal([event(EventKind.GATE, "1"), event(EventKind.APPROVAL, "1")])
    moved = AuditEntry.seal(second.event, Head(sequence=0, digest=first.digest))
    assert "is not the first" in read_chain(MODEL, files_of([moved])).findings[0].reason


def test_a_number_far_away_is_one_gap_and_takes_no_time() -> None:
    entry = AuditEntry.seal(event(EventKind.GATE, "1"), Head(sequence=99_999_998, digest="0" * 64))
    (finding,) = read_chain(MODEL, files_of([entry])).findings
    assert str(finding) == (
        "Entry 1 of models/flight-delays is missing: later ones are there. So are those up to 99999998."
    )


def test_leftovers_of_a_killed_writer_are_passed_over_but_foreign_files_are_named() -> None:
    files = files_of(seal([event(EventKind.GATE, "1")])) | {".00000002.json.k3j": b"{", "": b""}
    assert read_chain(MODEL, files).is_whole
    (finding,) = read_chain(MODEL, files | {"00000002 (1).json": b""}).findings
    assert "'00000002 (1).json' is no file of a chain" in finding.reason


def test_a_key_that_stands_twice_in_a_file_is_an_alteration() -> None:
    (entry,) = seal([event(EventKind.APPROVAL, "1", who="Ada (7)")])
    text = entry.to_text().replace('"who": "Ada (7)"', '"who": "Eve (8)",\n      "who": "Ada (7)"')
    assert "not the text that was written" in read_chain(MODEL, {entry_name(1): text.encode()}).findings[0].reason


def test_an_auditor_can_compute_the_digest_without_this_package() -> None:
    first, second = seal([event(EventKind.GATE, "1", summary="Prüfung ✓"), event(EventKind.APPROVAL, "1")])
    document = json.loads(first.to_text())
    del document["digest"]
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == first.digest == second.previous


def test_an_entry_of_another_chain_that_is_stood_on_must_be_there_as_it_was() -> None:
    training = seal([event(EventKind.TRAINING, chain=FLIGHTS)], FLIGHTS)
    model = seal([event(EventKind.REGISTRATION, "1", references=(training[0].reference,))])
    own = read_chain(MODEL, files_of(model))
    assert Trail(records={MODEL: own}).missing_chains() == (FLIGHTS,)
    assert not Trail(records={MODEL: own, FLIGHTS: read_chain(FLIGHTS, files_of(training))}).findings()
    (finding,) = Trail(records={MODEL: own, FLIGHTS: read_chain(FLIGHTS, {})}).findings()
    assert str(finding) == (
        "Entry 1 of datasets/flights is not the one that entry 1 of models/flight-delays stands on: it was replaced or "
        "removed."
    )


@unhurried
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text(min_size=1))
def test_every_name_has_a_folder_of_its_own_below_its_subject(name: str, other: str) -> None:
    chain = Chain.of_model(name)
    assert Chain.at(chain.path) == chain
    assert chain.path.count("/") == 1
    assert chain.path.partition("/")[2] not in {".", "..", ""}
    assert (Chain.of_dataset(name).path, name == other) != (chain.path, False)


def test_events_of_one_work_are_the_same_until_the_run_is_cleared() -> None:
    def tried(number: int, cleared: int) -> AuditEvent:
        made = event(EventKind.GATE, "1")
        return replace(made, origin=replace(made.origin, try_number=number, clear_number=cleared))

    assert tried(1, 0).key == tried(2, 0).key
    assert tried(1, 0).key != tried(2, 1).key
    assert tried(1, 0).key != event(EventKind.APPROVAL, "1").key


@pytest.mark.parametrize("name", ["0000001.json", "00000000.json", "000000001.json", "00000001.json.tmp", "x.json"])
def test_only_a_number_as_it_is_written_names_an_entry(name: str) -> None:
    assert entry_sequence(name) is None
    assert entry_sequence(entry_name(123_456_789)) == 123_456_789


@pytest.mark.parametrize("text", ["", "12", "12:xyz", f"-1:{'a' * 64}"])
def test_a_head_that_was_written_down_wrongly_says_how_it_looks(text: str) -> None:
    with pytest.raises(InvalidInputError, match="as --verify prints it"):
        Head.parse(text, "you")
    assert Head.parse(f"12:{'a' * 64}", "you").sequence == 12
