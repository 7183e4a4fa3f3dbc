"""What to train on, and why: what monitoring asks for, or what somebody typed into the trigger form."""

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from airflow_mlops.assets import retraining_asset
from airflow_mlops.domain.training_request import RollingMonths, TrainingRequest, retraining_events
from airflow_mlops.operators.base import MlopsOperator


class TrainingRequestOperator(MlopsOperator):
    """Find out what a Dag run is to train on: the first task of a Dag that is scheduled on ``retraining_asset``.

    When an event of ``retraining_asset(model_name)`` started the Dag run, its window says the dates, by ``rolling``,
    and its reasons go on to the approver. Several events in one Dag run are answered by one training: the latest window
    wins, and all reasons are kept. Without an event, such as when somebody triggers the Dag, the dates are those given.

    :param model_name: the model that the Dag trains.
    :param train_start: first moment to learn from, when no event says so (templated).
    :param train_end: first moment not to learn from: the holdout begins here (templated).
    :param holdout_end: end of the holdout (templated).
    :param rolling: how many months before the window's end are learned from, and how many of them judge.

    Returns a :class:`~airflow_mlops.domain.training_request.TrainingRequest` as a dict, and each of its keys as an
    XCom of its own: ``XComArg(request, "train_start")``.

    :raises InvalidInputError: when an event cannot be read, or asks for another model.
    """

    template_fields: Sequence[str] = ("train_start", "train_end", "holdout_end")
    ui_color = "#d9d2e9"

    def __init__(
        self,
        *,
        model_name: str,
        train_start: str,
        train_end: str,
        holdout_end: str,
        rolling: RollingMonths = RollingMonths(),  # noqa: B008 - frozen
        **kwargs: Any,
    ) -> None:
        super().__init__(multiple_outputs=True, **kwargs)
        self.model_name = model_name
        self.train_start = train_start
        self.train_end = train_end
        self.holdout_end = holdout_end
        self.rolling = rolling

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the events of the Dag run, and decide."""
        request = self.measure(context)
        self.log.info(
            "Learn from %s to before %s, judge until before %s.",
            request.train_start,
            request.train_end,
            request.holdout_end,
        )
        for reason in request.reasons or ("No event asked for this training.",):
            self.log.info("Why: %s", reason)
        return request.to_dict()

    def measure(self, context: Context) -> TrainingRequest:
        """Return what the events ask for, or what the parameters say. Override to choose other dates."""
        asked = (context.get("triggering_asset_events") or {}).get(retraining_asset(self.model_name), ())
        events = retraining_events([event.extra or {} for event in asked], self.model_name)
        if events:
            return TrainingRequest.of_events(events, self.rolling)
        return TrainingRequest(train_start=self.train_start, train_end=self.train_end, holdout_end=self.holdout_end)
