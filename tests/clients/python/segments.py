"""Opens the segments of a sealed case in polars, DuckDB and chdb, and compares what they read with what clients sent.

    segments.py CASE EXPECTED...

Every reader must count the same rows and find every attribute of every row in its map, with the value that was sent
as text. Each is also asked in SQL for a value by its key, the way people will.
"""

import base64
import glob
import json
import math
import os
import sys

import chdb
import duckdb
import polars

# The columns that name a row, and the one that holds its attributes, by the table a segment holds.
TABLES = {
    "otel_traces": (["SpanId"], "SpanAttributes"),
    "otel_logs": (["ServiceName", "TimeUnixNano"], "LogAttributes"),
    "otel_metrics_gauge": (["ServiceName", "MetricName"], "Attributes"),
    "otel_metrics_sum": (["ServiceName", "MetricName"], "Attributes"),
    "otel_metrics_histogram": (["ServiceName", "MetricName"], "Attributes"),
    "otel_metrics_exponential_histogram": (["ServiceName", "MetricName"], "Attributes"),
}


def wanted(files):
    """What was sent: for each table, rows by their names."""
    tables = {table: {} for table in TABLES}
    for name in files:
        with open(name, encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                match row["signal"]:
                    case "traces":
                        table, key = "otel_traces", (row["span_id"],)
                    case "logs":
                        table, key = "otel_logs", (row["service"], row["time_unix_nano"])
                    case _:
                        table, key = f"otel_metrics_{row['type']}", (row["service"], row["name"])
                tables[table][key] = {"attributes": row["attributes"], "resource": row["resource"]}
    return tables


def means(text, sent):
    """Whether a map's text is the value that was sent."""
    if isinstance(sent, bool):
        return text == ("true" if sent else "false")
    if isinstance(sent, int):
        return text == str(sent)
    if isinstance(sent, float):
        return float(text) == sent or (math.isnan(sent) and text == "NaN")
    if isinstance(sent, str) and text != sent and text.startswith('{"bytesValue"'):
        return base64.b64decode(json.loads(text)["bytesValue"]) == base64.b64decode(sent)
    if isinstance(sent, str):
        return text == sent
    return unwrapped(json.loads(text)) == sent


def unwrapped(value):
    """The plain value of one that is written as OTLP JSON."""
    if not value:
        return None
    ((kind, inner),) = value.items()
    match kind:
        case "intValue":
            return int(inner)
        case "arrayValue":
            return [unwrapped(one) for one in inner["values"]]
        case "kvlistValue":
            return {pair["key"]: unwrapped(pair["value"]) for pair in inner["values"]}
        case _:
            return inner


def as_map(found):
    """A map, however its reader hands it over."""
    if isinstance(found, dict) and set(found) != {"key", "value"}:
        return found
    if isinstance(found, dict):
        return dict(zip(found["key"], found["value"]))
    return {pair["key"]: pair["value"] for pair in found}


def read_polars(path, names, attributes):
    frame = polars.read_parquet(path, columns=[*names, attributes, "ResourceAttributes"])
    return frame.rows()


def read_duckdb(path, names, attributes):
    columns = ", ".join(f'"{name}"' for name in [*names, attributes, "ResourceAttributes"])
    with duckdb.connect() as connection:
        return connection.execute(f"SELECT {columns} FROM read_parquet('{path}')").fetchall()


def read_chdb(path, names, attributes):
    columns = [*names, attributes, "ResourceAttributes"]
    listed = ", ".join(f"`{name}`" for name in columns)
    text = chdb.query(
        f"SELECT {listed} FROM file('{path}', Parquet) SETTINGS output_format_json_quote_64bit_integers = 0",
        "JSONEachRow",
    ).bytes()
    return [tuple(json.loads(line)[column] for column in columns) for line in text.splitlines()]


def check_table(reader, read, table, paths, rows):
    names, attributes = TABLES[table]
    found = {}
    total = 0
    for path in paths:
        for row in read(path, names, attributes):
            total += 1
            found[tuple(row[: len(names)])] = (as_map(row[-2]), as_map(row[-1]))
    if total != len(rows):
        yield f"{reader} counts {total} rows in {table}, {len(rows)} were sent"
    for key, sent in rows.items():
        if key not in found:
            yield f"{reader} doesn't find {key} in {table}"
            continue
        for what, there in zip(("attributes", "resource"), found[key]):
            if there.keys() != sent[what].keys():
                yield f"{reader}, {table} {key}: the keys of {what} differ: {there.keys() ^ sent[what].keys()}"
                continue
            for name, value in sent[what].items():
                if not means(there[name], value):
                    yield f"{reader}, {table} {key}: {name} was {value!r:.100}, is {there[name]!r:.100}"


def count_duckdb(query, values):
    with duckdb.connect() as connection:
        return connection.execute(query, values).fetchall()[0][0]


def check_sql(paths, rows):
    """Asks for one attribute by its key, in each reader's own words."""
    value = "naïve 支付 🧾 \u202eover"
    expected = sum(1 for row in rows.values() if row["attributes"].get("text.unicode") == value)
    files = ", ".join(f"'{path}'" for path in paths)
    answers = {
        "duckdb": lambda: count_duckdb(
            f"SELECT count(*) FROM read_parquet([{files}]) WHERE SpanAttributes['text.unicode'] = ?", [value]
        ),
        "chdb": lambda: sum(
            int(
                chdb.query(
                    f"SELECT count() FROM file('{path}', Parquet) WHERE SpanAttributes['text.unicode'] = '{value}'", "CSV"
                ).bytes()
            )
            for path in paths
        ),
        "polars": lambda: polars.scan_parquet(paths)
        .select(polars.col("SpanAttributes").cast(polars.List(polars.Struct({"key": polars.String, "value": polars.String}))))
        .explode("SpanAttributes")
        .unnest("SpanAttributes")
        .filter((polars.col("key") == "text.unicode") & (polars.col("value") == value))
        .collect()
        .height,
    }
    if not expected:
        yield "no client sent the attribute that is asked for"
    for reader, ask in answers.items():
        found = ask()
        if found != expected:
            yield f"{reader} finds {found} spans by an attribute, {expected} were sent"


def main():
    case, *files = sys.argv[1:]
    tables = wanted(files)
    faults = []
    for table, rows in tables.items():
        paths = sorted(glob.glob(os.path.join(glob.escape(case), "segments", f"*-{table}.parquet")))
        if not rows or not paths:
            faults.append(f"{table}: {len(rows)} rows sent, {len(paths)} segments found")
            continue
        for reader, read in (("polars", read_polars), ("duckdb", read_duckdb), ("chdb", read_chdb)):
            faults.extend(check_table(reader, read, table, paths, rows))
        if table == "otel_traces":
            faults.extend(check_sql(paths, rows))
    for fault in faults:
        print(fault)
    if faults:
        sys.exit(f"{len(faults)} differences")
    count = sum(map(len, tables.values()))
    versions = f"polars {polars.__version__}, DuckDB {duckdb.__version__}, chdb {chdb.__version__}"
    print(f"{count} rows of sealed segments read the same in {versions}")


main()
