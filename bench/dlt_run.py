"""The same import by dlt's `rest_api` source into the same PostgreSQL: merge by primary key, nested values as JSON.

Runs in an environment of its own (.venv-bench). Times `pipeline.run` alone, without dlt's own import. One line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"

import dlt
from dlt.sources.rest_api import rest_api_source

PAGE = 100
PAGINATORS = {
    "cursor": {"type": "cursor", "cursor_path": "next", "cursor_param": "after"},
    "offset": {"type": "offset", "limit": PAGE, "total_path": "total"},
}


def complete(database: str) -> str:
    """dlt insists on a host and a password; libpq still takes the socket named in the query, which asks for none."""
    return database.replace("@/", ":unused@localhost/")


def run(url: str, database: str, paging: str) -> dict[str, float]:
    source = rest_api_source(
        {
            "client": {"base_url": url, "paginator": PAGINATORS[paging]},
            "resources": [
                {
                    "name": "records",
                    "primary_key": "id",
                    "write_disposition": "merge",
                    "endpoint": {
                        "path": "records",
                        "params": {"limit": PAGE} if paging == "cursor" else {},
                        "data_selector": "data",
                    },
                }
            ],
        }
    )
    source.max_table_nesting = 0
    with tempfile.TemporaryDirectory() as scratch:
        pipeline = dlt.pipeline(
            "bench",
            pipelines_dir=scratch,
            destination=dlt.destinations.postgres(complete(database)),
            dataset_name="bench",
            progress=None,
        )
        began, cpu = time.perf_counter(), time.process_time()
        pipeline.run(source).raise_on_failed_jobs()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        with pipeline.sql_client() as client, client.execute_query("SELECT count(*) FROM records") as cursor:
            stored = cursor.fetchone()[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"records": stored, "seconds": seconds, "cpu_seconds": cpu, "peak_rss_mib": peak}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--paging", choices=sorted(PAGINATORS), default="cursor")
    options = parser.parse_args()
    print(json.dumps(run(options.url, options.database, options.paging)))
