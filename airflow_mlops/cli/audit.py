"""``airflow mlops audit`` and ``airflow mlops lineage``."""

import sys
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_mlops.cli.command import UNKNOWN, command
from airflow_mlops.domain.audit.card import model_card
from airflow_mlops.domain.audit.chain import Trail
from airflow_mlops.domain.audit.entry import Chain, Head, Subject
from airflow_mlops.domain.audit.export import to_csv, to_html, to_json, to_markdown
from airflow_mlops.domain.audit.history import serving_at, serving_history
from airflow_mlops.domain.audit.lineage import find_version, learned_from
from airflow_mlops.domain.audit.story import learned_text, lineage_text, printable, serving_text, story
from airflow_mlops.domain.moment import utc
from airflow_mlops.domain.registry import CHAMPION, TAG_AUDIT_HEAD
from airflow_mlops.exceptions import InvalidInputError, MlopsError
from airflow_mlops.hooks.audit import audit_trail
from airflow_mlops.hooks.mlflow import MlflowHook

_BROKEN = 1


@command
def audit(args: Namespace) -> int:
    """Tell, prove or export the story of a model."""
    model_name, _, version = args.model.partition("@")
    if args.verify:
        return _verify(model_name, args)
    trail = audit_trail().trail(Chain.of_model(model_name))
    _require_entries(trail, model_name)
    if args.at:
        _say(serving_text(model_name, serving_at(trail.entries(Chain.of_model(model_name)), _moment(args.at))))
    elif args.export:
        _export(trail, model_name, version or None, args)
    else:
        _say(story(trail, model_name))
    return _BROKEN if trail.findings() else 0


@command
def lineage(args: Namespace) -> int:
    """Tell where a version came from, or which versions came from a file."""
    if bool(args.version) == bool(args.source):
        msg = "Give either VERSION or --source FILE."
        raise InvalidInputError(msg)
    ledger = audit_trail()
    trail = ledger.trail(*ledger.chains(Subject.MODEL), *ledger.chains(Subject.DATASET))
    if args.version:
        _say(lineage_text(find_version(trail, args.version)))
    else:
        _say(learned_text(args.source, learned_from(trail, args.source)))
    return _warn(trail)


def _verify(model_name: str, args: Namespace) -> int:
    """Prove the chain against itself, what people wrote down, and what the registry remembers."""
    chain = Chain.of_model(model_name)
    heads = [Head.parse(text, "you") for text in args.head or ()]
    champion, silent = "", ""
    if not args.offline:
        try:
            remembered, champion = _registry(model_name, args.mlflow_conn_id)
            heads += remembered
        except MlopsError as error:  # What the chain alone proves is told all the same.
            silent = printable(str(error))
    trail = audit_trail().trail(chain, seen={chain: heads})
    if not heads:
        _require_entries(trail, model_name)
    findings = [str(finding) for finding in trail.findings()]
    history = serving_history(trail.entries(chain))
    serving = history[-1].version if history else ""
    if not args.offline and not silent and serving != champion:
        findings.append(
            f"The registry's {CHAMPION} is {f'version {champion}' if champion else 'no version'}, but the trail says "
            f"that {f'version {serving}' if serving else 'none'} serves: the alias was moved by hand, or a promotion "
            f"was not recorded to its end."
        )
    for finding in findings:
        _say(f"BROKEN: {printable(finding)}")
    if findings:
        return _BROKEN
    for proved, record in trail.records.items():
        _say(f"{printable(str(proved))}: whole, {len(record.entries)} entries, head {record.head}")
    if silent:
        _say(f"The registry could not be asked, so that entries cut off at the end would not be missed: {silent}")
        return UNKNOWN
    if args.offline:
        _say("The registry was not asked: entries that were cut off at the end would not be missed.")
    else:
        _say(f"The registry agrees: {len(heads)} remembered heads, and the {CHAMPION} is the one that serves.")
    return 0


def _registry(model_name: str, conn_id: str) -> tuple[list[Head], str]:
    """Return the heads that the model's versions remember, and which version is the champion."""
    try:
        mlflow = MlflowHook(conn_id).engine()
    except AirflowNotFoundException as error:
        msg = f"{error} Give --mlflow-conn-id, or --offline to do without the registry."
        raise InvalidInputError(msg) from error
    versions = mlflow.versions(model_name)
    heads = [
        Head.parse(version.tags[TAG_AUDIT_HEAD], f"the tag of version {version.version} in MLflow")
        for version in versions
        if TAG_AUDIT_HEAD in version.tags
    ]
    champion = mlflow.version_by_alias(model_name, CHAMPION)
    return heads, champion.version if champion else ""


def _export(trail: Trail, model_name: str, version: str | None, args: Namespace) -> None:
    now = datetime.now(UTC)
    if args.export == "json":
        text = to_json(trail, model_name, now)
    elif args.export == "csv":
        text = to_csv(trail, model_name)
    else:
        card = model_card(trail, model_name, version, now)
        text = to_html(card) if args.export == "html" else to_markdown(card)
    if args.output:
        Path(args.output).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    _warn(trail)


def _warn(trail: Trail) -> int:
    for finding in trail.findings():
        sys.stderr.write(f"BROKEN: {printable(str(finding))}\n")
    return _BROKEN if trail.findings() else 0


def _require_entries(trail: Trail, model_name: str) -> None:
    if trail.entries(Chain.of_model(model_name)) or trail.findings():
        return
    known = ", ".join(chain.name for chain in audit_trail().chains(Subject.MODEL)) or "none"
    msg = f"Nothing is recorded of the model {model_name!r}. Models with an audit trail: {known}."
    raise InvalidInputError(msg)


def _moment(text: str) -> datetime:
    try:
        return utc(datetime.fromisoformat(text))
    except ValueError as error:
        msg = f"--at is {text!r}, but must be an ISO 8601 time such as 2026-03-01T12:00."
        raise InvalidInputError(msg) from error


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
