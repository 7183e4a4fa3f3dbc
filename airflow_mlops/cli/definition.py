"""``airflow mlops …``: what the commands are called and what they take. Airflow reads this for each of its commands."""

from typing import Any

from airflow.cli.cli_config import ARG_VERBOSE, ActionCommand, Arg, CLICommand, GroupCommand, lazy_load_command


def _arg(flag: str, **arguments: Any) -> Arg:
    return Arg((flag,), **arguments)  # type: ignore[no-untyped-call] # Airflow's


_MODEL = _arg("model", metavar="MODEL", help="Registered model, or MODEL@VERSION for the card of one version")
_AT = _arg("--at", metavar="TIME", help="What served then: an ISO 8601 time, UTC if it names no zone")
_VERIFY = _arg(
    "--verify", action="store_true", help="Prove the trail, or name the first broken entry and end with status 1"
)
_HEAD = _arg(
    "--head", metavar="N:DIGEST", help="With --verify: an end of the trail that was written down earlier", nargs="+"
)
_OFFLINE = _arg(
    "--offline", action="store_true", help="With --verify: do not ask MLflow, so that a cut at the end may be missed"
)
_MLFLOW = _arg("--mlflow-conn-id", metavar="CONN_ID", help="The MLflow connection", default="mlflow_default")
_EXPORT = _arg(
    "--export", choices=("json", "csv", "md", "html"), help="Write the trail (json, csv) or a model card (md, html)"
)
_OUTPUT = _arg("--output", metavar="FILE", help="With --export: where to; the terminal when it is not given")
_VERSION = _arg(
    "version",
    metavar="VERSION",
    nargs="?",
    help="MODEL@VERSION, models:/MODEL/VERSION, an MLflow run or model id, or the model's SHA-256",
)
_SOURCE = _arg(
    "--source", metavar="FILE", help="Name every version that learned from this file: address, end of it, or SHA-256"
)
_DATA = _arg(
    "source",
    metavar="DATA",
    help="A snapshot's folder, or a file or folder of CSV or Parquet: a path, or an address such as s3://conn@bucket/key",
)
_NAME = _arg("--name", metavar="NAME", help="The suite's name; else that of the data")
_SUITE_OUTPUT = _arg("--output", metavar="FILE", help="A .yaml or .json file; the terminal when it is not given")
_RANGE_MARGIN = _arg(
    "--range-margin", metavar="SHARE", type=float, default=0.1, help="Air on either side of a range (0.1 of its span)"
)
_NULL_MARGIN = _arg(
    "--null-margin", metavar="SHARE", type=float, default=0.01, help="More missing values than were seen (0.01 of rows)"
)
_MAX_CATEGORIES = _arg(
    "--max-categories", metavar="N", type=int, default=50, help="Texts with more different values are no categories"
)
_SUGGESTING = (_DATA, _NAME, _SUITE_OUTPUT, _RANGE_MARGIN, _NULL_MARGIN, _MAX_CATEGORIES, ARG_VERBOSE)


def get_commands() -> list[CLICommand]:
    """Return the commands of this package."""
    return [
        GroupCommand(
            name="mlops",
            help="Ask for the history of models, and suggest expectations on data",
            subcommands=(
                ActionCommand(
                    name="audit",
                    help="Tell, prove or export the story of a model",
                    func=lazy_load_command("airflow_mlops.cli.audit.audit"),
                    args=(_MODEL, _AT, _VERIFY, _HEAD, _OFFLINE, _MLFLOW, _EXPORT, _OUTPUT, ARG_VERBOSE),
                ),
                ActionCommand(
                    name="lineage",
                    help="Tell where a model version came from, or what came from a file",
                    func=lazy_load_command("airflow_mlops.cli.audit.lineage"),
                    args=(_VERSION, _SOURCE, ARG_VERBOSE),
                ),
                ActionCommand(
                    name="suggest-suite",
                    help="Suggest an expectation suite by what is in the data",
                    func=lazy_load_command("airflow_mlops.cli.suggest.suggest_suite"),
                    args=_SUGGESTING,
                ),
            ),
        )
    ]
