"""What the tries of one training know of each other, in Airflow's task state store."""

from airflow.sdk import Context, RetryAction, RetryPolicy

from airflow_mlops.domain.job import JobHandle
from airflow_mlops.domain.training import RunRef, TrainingResult, TrainingState
from airflow_mlops.exceptions import InvalidInputError

_KEY = "airflow_mlops.training"
_UNREAD = object()


class TrainingMemory:
    """The state that a try leaves for the next one.

    A worker may die at any moment, so a try writes down what it has begun before it goes on. After a failure that was
    recorded, there is nothing left to go on with, and the state is deleted. After a success it stays: Airflow may not
    have heard of that success, and then starts a retry, which returns the same result.

    :param is_new: nothing of this work was begun before, so that the store need not be asked.
    """

    def __init__(self, context: Context, *, is_new: bool = False) -> None:
        ti = context["ti"]
        self._store = context["task_state_store"]
        self._max_tries = ti.max_tries
        self._clear_number = context["dag_run"].clear_number or 0
        self._try_number = ti.try_number
        self._stored: object = None if is_new else _UNREAD

    def is_retried(self, error: BaseException, policy: RetryPolicy | None) -> bool:
        """Whether Airflow starts another try when this one fails of that error."""
        if self._try_number > self._max_tries:
            return False
        return policy is None or (
            policy.evaluate(error, self._try_number, self._max_tries).action is not RetryAction.FAIL
        )

    def recall(self) -> TrainingState | None:
        """Return what an earlier try of the same work left."""
        state = self._read()
        return state if state is not None and self._is_same(state) else None

    def recall_cleared(self) -> TrainingState | None:
        """Return what is left of the work that was done before the task was cleared."""
        state = self._read()
        return None if state is None or self._is_same(state) else state

    def remember(self, run: RunRef, *, handle: JobHandle | None = None, result: TrainingResult | None = None) -> None:
        """Write down how far this work has come."""
        state = TrainingState(
            max_tries=self._max_tries,
            clear_number=self._clear_number,
            run_id=run.run_id,
            experiment_id=run.experiment_id,
            handle=handle,
            result=result,
        )
        self._stored = state.to_dict()
        self._store.set(_KEY, self._stored)

    def forget(self) -> None:
        """Delete the state."""
        self._stored = None
        self._store.delete(_KEY)

    def _is_same(self, state: TrainingState) -> bool:
        return state.is_work_of(max_tries=self._max_tries, clear_number=self._clear_number)

    def _read(self) -> TrainingState | None:
        if self._stored is _UNREAD:  # Each question to the store is one to the API server.
            self._stored = self._store.get(_KEY)
        if not isinstance(self._stored, dict):
            return None
        try:
            return TrainingState.from_dict(self._stored)
        except InvalidInputError:  # Another release of this package wrote it. The job's label and the run's tag remain.
            return None
