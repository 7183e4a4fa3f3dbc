"""YAML and JSON files as plain values; JSON is YAML's subset here, told apart by the file's name."""

import json
from pathlib import Path
from typing import Any

from airflow_mlops.exceptions import InvalidInputError


def format_document(document: Any, *, is_json: bool = False) -> str:
    """Return plain values as YAML or JSON, for people: in the order in which they are, and not as ASCII alone."""
    import yaml

    if is_json:
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120))


def read_document(file: Path) -> Any:
    """Return the value in a ``.json``, ``.yaml`` or ``.yml`` file.

    :raises InvalidInputError: naming the file, when it is missing or cannot be parsed.
    """
    import yaml

    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        msg = f"{file} cannot be read: {error.strerror}. Check the path; relative ones start at the Dag's folder."
        raise InvalidInputError(msg) from error
    try:
        return json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        kind = "JSON" if file.suffix == ".json" else "YAML"
        msg = f"{file} is not {kind}: {error}"
        raise InvalidInputError(msg) from error
