"""Airflow assets for what this package makes, so that a Dag can be scheduled on them by name."""

from urllib.parse import SplitResult, quote

from airflow.sdk import Asset

_KINDS = ("datasets", "models", "retraining")


def dataset_asset(name: str) -> Asset:
    """Return the asset of a dataset's snapshots. Its events carry ``digest``, ``uri``, ``rows`` and ``created``."""
    return Asset(uri=f"mlops://datasets/{quote(name, safe='')}")


def model_asset(name: str) -> Asset:
    """Return the asset of a registered model, in Airflow's group ``model``."""
    return Asset(uri=f"mlops://models/{quote(name, safe='')}", group="model")


def retraining_asset(model_name: str) -> Asset:
    """Return the asset that asks for a new training of a model. Its events carry why, and which window showed it."""
    return Asset(uri=f"mlops://retraining/{quote(model_name, safe='')}")


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Check an asset address with the scheme ``mlops``; Airflow calls this for every such asset.

    :raises ValueError: when it is no dataset's, no model's and no retraining's.
    """
    if uri.netloc not in _KINDS or uri.path.count("/") != 1 or uri.path == "/" or uri.query:
        msg = (
            f"{uri.geturl()!r} must be mlops://datasets/<name>, mlops://models/<name> or mlops://retraining/<model>. "
            f"See airflow_mlops.assets."
        )
        raise ValueError(msg)
    return uri
