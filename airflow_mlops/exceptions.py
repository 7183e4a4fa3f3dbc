"""Every error that this package raises, in one tree that says whether a retry can help.

::

    MlopsError
    ├── PermanentError               a retry would give the same answer: the task fails at once
    │   ├── InvalidInputError        a file, value or setting that its author has to change
    │   │   ├── DatasetError         sources that cannot become a snapshot
    │   │   │   └── NoRowsError      there is nothing in them, or not in the window
    │   │   ├── SuiteError           an expectation suite that cannot be used
    │   │   ├── EvaluationError      predictions or labels that cannot be judged
    │   │   │   └── TooManyGroupsError   a column with too many values to group rows by
    │   │   └── PolicyError          a promotion policy that cannot be used
    │   ├── ValidationFailedError    the data does not meet its expectation suite
    │   ├── JobError                 a job that ran and did not deliver
    │   │   ├── JobFailedError       its own code failed
    │   │   ├── JobOutOfMemoryError  it hit its memory limit
    │   │   ├── JobOutOfDiskError    it filled its scratch space
    │   │   ├── JobTimeoutError      it hit its wall time limit
    │   │   └── JobOutputError       it succeeded, but left no usable model, metrics or predictions
    │   ├── ImageNotFoundError       no such image on the host, nor to be pulled
    │   ├── RegistryError            the registry does not hold what was asked for
    │   ├── RollbackRefusedError     nothing to return to, or the records and the registry do not agree
    │   ├── PromotionRefusedError    the evidence, the approval and the registry do not agree
    │   └── AuditTrailBrokenError    the last entry of an audit trail is not what was written
    └── TransientError               a retry can help
        ├── JobStoppedError          the job was stopped from outside
        ├── DockerUnavailableError
        ├── ImageRegistryUnavailableError   the registry that an image is pulled from
        ├── MlflowUnavailableError
        ├── AirflowUnavailableError  Airflow's own API server
        ├── StorageUnavailableError
        ├── DatabaseUnavailableError
        ├── AuditTrailBusyError      an event could not be recorded in time
        └── PromotionUnderWayError   another task is promoting the same model

``MlopsOperator`` gives every task an ``ExceptionRetryPolicy`` made of these two branches.
"""


class MlopsError(Exception):
    """Base of all errors of this package."""


class PermanentError(MlopsError):
    """An error that a retry cannot cure."""


class InvalidInputError(PermanentError, ValueError):
    """A file, value or setting that its author has to change."""


class DatasetError(InvalidInputError):
    """Sources that cannot become a snapshot, or a snapshot that cannot be read."""


class NoRowsError(DatasetError):
    """There are no files, or no rows in the window that was asked for."""


class SuiteError(InvalidInputError):
    """An expectation suite that cannot be used."""


class EvaluationError(InvalidInputError):
    """Predictions or labels that cannot be judged."""


class TooManyGroupsError(EvaluationError):
    """A column has too many values to group rows by."""


class PolicyError(InvalidInputError):
    """A promotion policy that cannot be used."""


class ValidationFailedError(PermanentError):
    """The data does not meet its expectation suite."""


class JobError(PermanentError):
    """A job that ran and did not deliver."""


class JobFailedError(JobError):
    """The job's own code failed."""


class JobOutOfMemoryError(JobError):
    """The job hit its memory limit."""


class JobOutOfDiskError(JobError):
    """The job filled its scratch space."""


class JobTimeoutError(JobError):
    """The job hit its wall time limit."""


class JobOutputError(JobError):
    """The job succeeded, but left no usable model, metrics or predictions."""


class ImageNotFoundError(PermanentError):
    """The image is neither on the Docker host nor to be pulled from its registry."""


class RegistryError(PermanentError):
    """The model registry does not hold what was asked for."""


class PromotionRefusedError(PermanentError):
    """The evidence, the approval and the registry do not agree, so nothing was promoted."""


class RollbackRefusedError(PermanentError):
    """There is nothing to return to, or the records and the registry do not agree, so nothing was rolled back."""


class AuditTrailBrokenError(PermanentError):
    """The last entry of an audit trail is not what was written, so nothing can follow it."""


class TransientError(MlopsError):
    """An error that a retry can cure."""


class JobStoppedError(TransientError):
    """The job was stopped from outside."""


class DockerUnavailableError(TransientError):
    """The Docker host does not answer."""


class ImageRegistryUnavailableError(TransientError):
    """The registry that an image is pulled from does not answer, fails, or asks to come later."""


class MlflowUnavailableError(TransientError):
    """The MLflow server does not answer."""


class AirflowUnavailableError(TransientError):
    """Airflow's own API server does not answer."""


class StorageUnavailableError(TransientError):
    """The object storage does not answer."""


class DatabaseUnavailableError(TransientError):
    """The database does not answer."""


class AuditTrailBusyError(TransientError):
    """An event could not be recorded in the audit trail in time."""


class PromotionUnderWayError(TransientError):
    """Another task is promoting a version of the same model, or has just done so."""
