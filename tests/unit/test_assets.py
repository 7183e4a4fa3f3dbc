import pytest
from airflow.sdk import Asset

from airflow_mlops.assets import dataset_asset, model_asset, retraining_asset


def test_datasets_models_and_retrainings_have_own_addresses() -> None:
    assert dataset_asset("flights").uri == "mlops://datasets/flights"
    assert model_asset("Flights Late").uri == "mlops://models/Flights%20Late"
    assert retraining_asset("Flights Late").uri == "mlops://retraining/Flights%20Late"


def test_models_are_in_the_group_of_models() -> None:
    assert model_asset("late").group == "model"


@pytest.mark.parametrize(
    "uri", ["mlops://reports/x", "mlops://datasets", "mlops://datasets/a/b", "mlops://models/a?b=c"]
)
def test_other_addresses_are_refused(uri: str) -> None:
    with pytest.raises(
        ValueError, match="must be mlops://datasets/<name>, mlops://models/<name> or mlops://retraining/<model>"
    ):
        Asset(uri=uri)
