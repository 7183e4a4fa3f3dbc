"""The reports that tasks leave in the artifact store, for people who may see the Dag."""

from typing import Annotated

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Query  # noqa: TID253 - the first request imports this module
from fastapi.responses import HTMLResponse  # noqa: TID253 - as above

from airflow_mlops.domain.work_key import WorkKey
from airflow_mlops.exceptions import InvalidInputError, StorageUnavailableError
from airflow_mlops.hooks.storage import artifact_store

_HEADERS = {
    # A report has its style in itself. Were data in it ever taken for markup, no script would run and nothing be sent.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-store",
}

app = FastAPI(title="Reports of airflow-mlops", docs_url=None, redoc_url=None, openapi_url=None)


@app.get("/", dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE))])
def report(
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: int = -1,
    name: Annotated[str, Query(pattern=r"^[a-z_-]+\.html$")] = "validation.html",
) -> HTMLResponse:
    """Return the page that a task wrote into its report folder."""
    key = WorkKey(dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index)
    file = artifact_store() / f"reports/{key.path}/{name}"
    try:
        return HTMLResponse(file.read_text(), headers=_HEADERS)
    except InvalidInputError as error:
        raise HTTPException(404, "The task has no such report, or it was removed.") from error
    except StorageUnavailableError as error:
        raise HTTPException(503, "The artifact store does not answer.") from error
