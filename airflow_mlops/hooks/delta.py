"""The address of a Delta table becomes what delta-rs opens: a plain URI, and the login of the connection in it."""

from __future__ import annotations

from airflow.sdk import ObjectStoragePath

from airflow_mlops.exceptions import InvalidInputError


def delta_location(address: str) -> tuple[str, dict[str, str]]:
    """Return URI and storage options of a local path, or of an address such as ``s3://conn_id@bucket/table``.

    :raises InvalidInputError: when the storage is another one, or the connection has no login.
    """
    if "://" not in address:
        if not address.startswith("/"):
            msg = (
                f"table {address!r} is relative, but workers differ in their working directory. Give an absolute path."
            )
            raise InvalidInputError(msg)
        return address, {}
    path = ObjectStoragePath(address)
    if path.protocol == "file":
        return path.path, {}
    if path.protocol not in {"s3", "s3a"}:
        msg = f"The Delta table {address} lies on {path.protocol}. Delta tables are read from local disks and S3."
        raise InvalidInputError(msg)
    uri = f"s3://{path.path.removeprefix('s3://')}"
    return uri, _s3_options(path.conn_id) if path.conn_id else {}


def _s3_options(conn_id: str) -> dict[str, str]:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    hook = S3Hook(aws_conn_id=conn_id)
    credentials = hook.get_credentials()
    if credentials is None:
        msg = f"The connection {conn_id!r} gives no AWS credentials."
        raise InvalidInputError(msg)
    endpoint = hook.conn_config.get_service_endpoint_url(service_name="s3")
    options = {
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        "AWS_SESSION_TOKEN": credentials.token,
        "AWS_REGION": hook.region_name or hook.conn_region_name,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true" if endpoint and endpoint.startswith("http://") else None,
    }
    return {name: value for name, value in options.items() if value}
