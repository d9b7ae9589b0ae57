"""The work of `casefile bench analyze`, done by DuckDB over the same rows: trees with self times and depths, and exact
quantiles by service.

    python analyze.py CASEFILE FOLDER [SPANS]

CASEFILE is the binary, FOLDER keeps the case between runs. Rows are in memory before either is timed. Casefile has one
thread, DuckDB two. Prints both and their ratio; exits with 1 if casefile takes more than half of DuckDB's time.
"""

import glob
import json
import os
import resource
import statistics
import subprocess
import sys
import time

import duckdb

ROUNDS = 5

# A span's self time is its duration less the union of its children, cut to its own bounds; as SQL says it best, by
# islands of overlapping children. Depth is found by following parents. The end of the critical path is left out: SQL has
# no good word for it, so DuckDB does less work here than casefile.
TREES = """
CREATE OR REPLACE TABLE shaped AS
WITH RECURSIVE
  traces AS (SELECT trace, count(*) AS spans, min(start) AS first, max(stop) AS last FROM spans GROUP BY trace),
  child AS (
    SELECT p.trace, p.id, greatest(c.start, p.start) AS a, least(c.stop, p.stop) AS b
    FROM spans c JOIN spans p ON c.trace = p.trace AND c.parent = p.id
    WHERE least(c.stop, p.stop) > greatest(c.start, p.start)
  ),
  reach AS (
    SELECT trace, id, a, b,
           max(b) OVER (PARTITION BY trace, id ORDER BY a, b ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM child
  ),
  covered AS (
    SELECT trace, id, sum(greatest(0, b - greatest(a, coalesce(before, a)))) AS busy FROM reach GROUP BY trace, id
  ),
  depths AS (
    SELECT trace, id, 0 AS depth FROM spans WHERE parent = 0
    UNION ALL
    SELECT s.trace, s.id, d.depth + 1 FROM spans s JOIN depths d ON s.trace = d.trace AND s.parent = d.id
  )
SELECT s.trace, s.id, (s.stop - s.start) - coalesce(c.busy, 0) AS self_time, d.depth, t.spans
FROM spans s
JOIN traces t USING (trace)
LEFT JOIN covered c ON s.trace = c.trace AND s.id = c.id
LEFT JOIN depths d ON s.trace = d.trace AND s.id = d.id
"""

# The same, as cheaply as it can be put: children are summed up, overlaps and bounds ignored.
TREES_SUMMED = """
CREATE OR REPLACE TABLE shaped AS
WITH RECURSIVE
  traces AS (SELECT trace, count(*) AS spans, min(start) AS first, max(stop) AS last FROM spans GROUP BY trace),
  covered AS (
    SELECT trace, parent AS id, sum(stop - start) AS busy FROM spans WHERE parent <> 0 GROUP BY trace, parent
  ),
  depths AS (
    SELECT trace, id, 0 AS depth FROM spans WHERE parent = 0
    UNION ALL
    SELECT s.trace, s.id, d.depth + 1 FROM spans s JOIN depths d ON s.trace = d.trace AND s.parent = d.id
  )
SELECT s.trace, s.id, (s.stop - s.start) - coalesce(c.busy, 0) AS self_time, d.depth, t.spans
FROM spans s
JOIN traces t USING (trace)
LEFT JOIN covered c ON s.trace = c.trace AND s.id = c.id
LEFT JOIN depths d ON s.trace = d.trace AND s.id = d.id
"""

QUANTILES = """
CREATE OR REPLACE TABLE quantiles AS
SELECT service, count(*) AS requests, avg(failed::INT) AS errors,
       quantile_disc(stop - start, [0.5, 0.95, 0.99]) AS durations
FROM spans GROUP BY service
"""


def processor():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def timed(db, sql):
    walls, processors = [], []
    for _ in range(ROUNDS):
        began, used = time.perf_counter(), processor()
        db.execute(sql)
        walls.append((time.perf_counter() - began) * 1e3)
        processors.append((processor() - used) * 1e3)
    return statistics.median(walls), statistics.median(processors)


def main():
    binary, folder = sys.argv[1:3]
    spans = int(sys.argv[3]) if len(sys.argv) > 3 else 1_000_000
    out = subprocess.run(
        [binary, "bench", "analyze", "--spans", str(spans), "--rounds", "7", "--folder", folder, "--format", "json"],
        check=True, capture_output=True, text=True,
    ).stdout
    figures = {figure["name"]: figure["value"] for figure in json.loads(out)}
    million = figures["spans"] / 1e6
    ours_trees = figures["trees, self time, critical path, one thread"] * million
    ours_quantiles = figures["the same, processor time, mean"] * million

    files = sorted(glob.glob(os.path.join(folder, f"{spans}.case", "segments", "*-otel_traces.parquet")))
    db = duckdb.connect()
    db.execute("SET threads = 2")
    db.execute(f"""
        CREATE TABLE spans AS
        SELECT hash(TraceId) AS trace, ('0x' || SpanId)::UBIGINT AS id,
               CASE WHEN ParentSpanId = '' THEN 0 ELSE ('0x' || ParentSpanId)::UBIGINT END AS parent,
               epoch_ns(Timestamp) AS start, epoch_ns(Timestamp) + Duration AS stop,
               ServiceName AS service, StatusCode = 'Error' AS failed
        FROM read_parquet({files})
    """)
    rows = db.execute("SELECT count(*) FROM spans").fetchone()[0]
    if rows != int(figures["spans"]):
        sys.exit(f"DuckDB reads {rows} spans where casefile reads {int(figures['spans'])}")
    exact, _ = timed(db, TREES)
    summed, _ = timed(db, TREES_SUMMED)
    _, quantiles = timed(db, QUANTILES)
    print(f"spans {rows}, DuckDB {duckdb.__version__} with 2 threads, casefile with 1")
    print(f"trees: casefile {ours_trees:.1f} ms; DuckDB {exact:.0f} ms exact, {summed:.0f} ms with children summed")
    print(f"  ratio {ours_trees / exact:.3f}, {ours_trees / summed:.3f} (bar 0.5)")
    print(f"quantiles, processor time: casefile {ours_quantiles:.1f} ms; DuckDB {quantiles:.1f} ms")
    print(f"  ratio {ours_quantiles / quantiles:.3f} (bar 0.5)")
    sys.exit(ours_trees > 0.5 * summed or ours_quantiles > 0.5 * quantiles)


if __name__ == "__main__":
    main()
