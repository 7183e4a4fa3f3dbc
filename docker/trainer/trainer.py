"""The trainer of this image: gradient boosted trees for tables with numbers, categories and missing values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hyperparameters import require
from job import Job, JobError
from models import save_model
from rows import read_channel

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

CHANNEL = "train"
VALIDATION_SHARE = 0.1
PATIENCE = 15  # Boosting stops after this many steps without a better validation loss.
STEPS_A_REPORT = 20  # Rebinning the rows once a report costs about half as much as the 20 steps themselves.
MOST_CATEGORIES = 250  # The trees have 255 bins a column; rarer categories share one.
MOST_CLASSES = 50  # More different values than that are an amount.
EXAMPLE_ROWS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The hyperparameters. Only the `features` are used: a table may hold columns that give the answer away."""

    target: str
    features: tuple[str, ...]
    time_column: str | None = None  # With it, the last rows in time validate; without, a random share.
    task: Literal["classification", "regression"] = "classification"
    learning_rate: float = 0.05
    max_iterations: int = 300
    max_leaf_nodes: int = 31
    min_samples_leaf: int = 20
    l2_regularization: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check ranges, and that the target is not among its own features."""
        rate, most_seeds = self.learning_rate, 2**32 - 1
        require("learning_rate", holds=0 < rate <= 1, expected="more than 0, at most 1", found=rate)
        for name, least in (("max_iterations", 1), ("max_leaf_nodes", 2), ("min_samples_leaf", 1)):
            number = getattr(self, name)
            require(name, holds=number >= least, expected=f"at least {least}", found=number)
        strength = self.l2_regularization
        require("l2_regularization", holds=strength >= 0, expected="at least 0", found=strength)
        require("seed", holds=0 <= self.seed <= most_seeds, expected=f"0 to {most_seeds}", found=self.seed)
        is_leak = self.target in self.features
        require("features", holds=not is_leak, expected="columns without the target", found=self.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Rows as the trees take them, and their answers."""

    x: NDArray[np.float64]
    y: NDArray[Any]


def train(job: Job) -> None:
    """Find the number of boosting steps on held out rows, then fit that many on all rows, and save that model.

    The `validation_*` metrics are of a model that has not seen those rows; the one that is saved has learned from them.

    Raises:
        JobError: a hyperparameter or the data cannot be used; the message names it.
    """
    settings = job.settings(Settings)
    time = [settings.time_column] if settings.time_column else []
    table = read_channel(job, CHANNEL, list(dict.fromkeys([*settings.features, settings.target, *time])))
    frame, target = _features(table, settings), _target(table, settings)
    learning, held_out = _split(table, settings)
    _require_values(frame.iloc[learning])
    job.log(f"Training on {learning.size} rows, validating on {held_out.size}, {len(settings.features)} features")

    encoder = _encoder(frame)
    known = Fold(x=encoder.fit_transform(frame.iloc[learning]), y=target[learning])
    unseen = Fold(x=encoder.transform(frame.iloc[held_out]), y=target[held_out])
    _require_classes(known, unseen, settings)
    searched = _boost(job, known, unseen, settings, category_count=len(_texts(frame)))
    metrics = {f"train_{name}": value for name, value in _quality(searched, known, settings).items()}
    metrics |= {f"validation_{name}": value for name, value in _quality(searched, unseen, settings).items()}

    final = _final(frame, target, settings, iterations=searched.n_iter_)
    save_model(final, job.model_folder, frame.head(EXAMPLE_ROWS))
    job.log_metrics(
        metrics | {"n_iterations": searched.n_iter_, "train_rows": learning.size, "validation_rows": held_out.size},
    )


def _features(table: pa.Table, settings: Settings) -> pd.DataFrame:
    """Strings stay strings, and everything else becomes a number: the types that the model's signature will promise."""
    import pyarrow as pa
    import pyarrow.types as pt

    columns = {}
    for name in settings.features:
        column = table[name]
        kind = column.type.value_type if pt.is_dictionary(column.type) else column.type
        is_text = pt.is_string(kind) or pt.is_large_string(kind)
        is_number = pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind) or pt.is_boolean(kind)
        if not (is_text or is_number or pt.is_null(kind)):
            message = f"Column {name!r} (of features) is {kind}; a feature must be a number, a boolean or a string"
            raise JobError(message)
        columns[name] = column.cast(pa.string() if is_text else pa.float64())
    frame: pd.DataFrame = pa.table(columns).to_pandas()
    return frame


def _target(table: pa.Table, settings: Settings) -> NDArray[Any]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.types as pt

    column, name = table[settings.target], settings.target
    values = column.to_pandas()
    missing = int(values.isna().sum())
    if missing:
        message = (
            f"Column {name!r} (the target) has {missing} missing values in {len(values)} rows; leave such rows out"
        )
        raise JobError(message)
    if settings.task == "regression":
        try:
            numbers: NDArray[Any] = column.cast(pa.float64()).to_numpy()
        except pa.ArrowException as error:
            message = f"Column {name!r} (the target) is {column.type}, and regression needs numbers"
            raise JobError(message) from error
        if not np.isfinite(numbers).all():
            message = f"Column {name!r} (the target) has infinite values"
            raise JobError(message)
        return numbers
    classes = values.nunique()
    if classes < 2:  # noqa: PLR2004 - a choice needs two.
        message = f"Column {name!r} (the target) has only the value {values.iloc[0]}; a classifier needs two or more"
        raise JobError(message)
    if classes > MOST_CLASSES:
        message = f"Column {name!r} (the target) has {classes} different values; for an amount, set task=regression"
        raise JobError(message)
    classed: NDArray[Any] = values.to_numpy(dtype=object if pt.is_dictionary(column.type) else None)
    return classed


def _split(table: pa.Table, settings: Settings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split row numbers into those to learn from and those to validate on: the last in time, or a random share."""
    import numpy as np
    import pyarrow.compute as pc

    row_count = table.num_rows
    held_out_count = round(row_count * VALIDATION_SHARE)
    if not held_out_count:
        message = f"Channel {CHANNEL!r} has {row_count} rows; too few to hold {VALIDATION_SHARE:.0%} out for validation"
        raise JobError(message)
    if settings.time_column is None:
        order = np.random.default_rng(settings.seed).permutation(row_count)
    else:
        moments = table[settings.time_column]
        if moments.null_count:
            message = f"Column {settings.time_column!r} (time_column) has {moments.null_count} missing values"
            raise JobError(message)
        order = pc.sort_indices(moments).to_numpy().astype(np.int64)  # Stable: equal times keep their order.
    # Rows stay in their own order within a part, so that a fit does not depend on how the parts were drawn.
    return np.sort(order[:-held_out_count]), np.sort(order[-held_out_count:])


def _require_values(frame: pd.DataFrame) -> None:
    """Refuse a feature that is empty: the trees cannot bin it, and a model that names it would promise to use it."""
    for name in frame.columns:
        if frame[name].isna().all():
            message = f"Column {name!r} (of features) is empty in the rows to learn from; leave it out of the features"
            raise JobError(message)


def _require_classes(known: Fold, unseen: Fold, settings: Settings) -> None:
    """Refuse a split in time that hides a whole class from training."""
    if settings.task == "classification":
        hidden = sorted(set(unseen.y.tolist()) - set(known.y.tolist()))
        if hidden or len(set(known.y.tolist())) == 1:
            message = f"Column {settings.target!r} (the target) has values only in the rows held out: {hidden}"
            raise JobError(message)


def _encoder(frame: pd.DataFrame) -> Any:
    """Put the categories first, as numbers. One never seen, or null, becomes NaN, which the trees take as missing."""
    import numpy as np
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OrdinalEncoder

    texts = _texts(frame)
    numbers = [name for name in frame.columns if name not in texts]
    numbering = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=MOST_CATEGORIES)
    return ColumnTransformer([("categories", numbering, texts), ("numbers", "passthrough", numbers)])


def _texts(frame: pd.DataFrame) -> list[str]:
    return [name for name in frame.columns if frame[name].dtype == object]


def _trees(settings: Settings, *, category_count: int, **search: Any) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if settings.task == "classification" else HistGradientBoostingRegressor
    return kind(
        learning_rate=settings.learning_rate,
        max_leaf_nodes=settings.max_leaf_nodes,
        min_samples_leaf=settings.min_samples_leaf,
        l2_regularization=settings.l2_regularization,
        random_state=settings.seed,
        categorical_features=list(range(category_count)),
        **search,
    )


def _boost(job: Job, known: Fold, unseen: Fold, settings: Settings, *, category_count: int) -> Any:
    """Boost until the held out rows no longer gain, reporting the losses of the steps while they are made."""
    most = settings.max_iterations
    trees = _trees(
        settings,
        category_count=category_count,
        early_stopping=True,
        scoring="loss",
        n_iter_no_change=PATIENCE,
        warm_start=True,
    )
    reported = 0
    for limit in [*range(STEPS_A_REPORT, most, STEPS_A_REPORT), most]:
        trees.set_params(max_iter=limit)
        trees.fit(known.x, known.y, X_val=unseen.x, y_val=unseen.y)
        # scikit-learn keeps the losses as scores, negated; step 0 is the constant that boosting starts from.
        for step in range(reported, len(trees.train_score_)):
            job.log_step(step, train_loss=-trees.train_score_[step], validation_loss=-trees.validation_score_[step])
        reported = len(trees.train_score_)
        if trees.n_iter_ < limit:
            break
    return trees


def _final(frame: pd.DataFrame, target: NDArray[Any], settings: Settings, *, iterations: int) -> Any:
    """Fit the model that is saved, on all rows: a pipeline, so that it takes the columns as they are."""
    from sklearn.pipeline import Pipeline

    trees = _trees(settings, category_count=len(_texts(frame)), early_stopping=False, max_iter=iterations)
    return Pipeline([("encoder", _encoder(frame)), ("trees", trees)]).fit(frame, target)


def _quality(trees: Any, fold: Fold, settings: Settings) -> dict[str, float]:
    """Measure the trees on a part of the rows; the area under the curve only where both of two classes occur in it."""
    from sklearn import metrics

    if settings.task == "regression":
        predicted = trees.predict(fold.x)
        return {
            "rmse": float(metrics.root_mean_squared_error(fold.y, predicted)),
            "mae": float(metrics.mean_absolute_error(fold.y, predicted)),
        }
    probabilities = trees.predict_proba(fold.x)
    measured = {"log_loss": float(metrics.log_loss(fold.y, probabilities, labels=trees.classes_))}
    if len(trees.classes_) == 2 and len(set(fold.y.tolist())) == 2:  # noqa: PLR2004 - a curve is of two classes.
        measured["auc"] = float(metrics.roc_auc_score(fold.y, probabilities[:, 1]))
    return measured
