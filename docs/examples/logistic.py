"""A trainer of your own for the image in docker/trainer: logistic regression over the columns named `features`."""

from dataclasses import dataclass

from job import Job
from models import save_model
from rows import read_channel
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The hyperparameters: they arrive as texts, and are read and checked by these types."""

    target: str
    features: tuple[str, ...]
    regularization: float = 1.0


def train(job: Job) -> None:
    """Read the channel `train`, fit, save an MLflow model with its signature, and report metrics."""
    settings = job.settings(Settings)
    table = read_channel(job, "train", [*settings.features, settings.target]).to_pandas()
    rows, target = table[list(settings.features)].astype(float), table[settings.target]
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(C=settings.regularization))
    model.fit(rows, target)
    save_model(model, job.model_folder, rows.head())
    job.log_metrics({"train_accuracy": float(model.score(rows, target))})
