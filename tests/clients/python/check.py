"""Compares what clients said they sent with what casefile prints, attribute for attribute.

    check.py CASEFILE CASE EXPECTED...

Every expected row must be there once, and nothing else from that service. A value of another type is a difference: 5
is not 5.0, and true is not 1.
"""

import json
import subprocess
import sys


def same(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def differences(expected, found, path=""):
    """Where two values differ, by path; extra fields of `found` matter only below the first level."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in expected.keys() | (found.keys() if path else set()):
            if key not in found:
                yield f"{path}/{key}: missing"
            elif key not in expected:
                yield f"{path}/{key}: unexpected {found[key]!r}"
            else:
                yield from differences(expected[key], found[key], f"{path}/{key}")
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (one, other) in enumerate(zip(expected, found)):
            yield from differences(one, other, f"{path}/{index}")
    elif not same(expected, found):
        yield f"{path}: sent {expected!r:.300}, found {found!r:.300}"


def keys(row):
    """What tells a row from the others of its service and signal."""
    match row["signal"]:
        case "traces":
            return row["span_id"]
        case "logs":
            return row["time_unix_nano"]
        case _:
            return row["name"]


def unrepeated(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"a key stands twice in {[key for key, _ in pairs]}")
    return found


def printed(casefile, case, signal, service):
    command = [casefile, signal, "--case", case, "--format", "json", "--service", service, "--limit", "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return [], f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}"
    rows = [json.loads(line, object_pairs_hook=unrepeated) for line in done.stdout.splitlines()]
    return [row | {"signal": signal} for row in rows], None


def main():
    casefile, case, *files = sys.argv[1:]
    faults, rows = [], 0
    for name in files:
        with open(name, encoding="utf-8") as lines:
            expected = [json.loads(line) for line in lines]
        if not expected:
            faults.append(f"{name}: says nothing was sent")
            continue
        service = expected[0]["service"]
        for signal in ("traces", "logs", "metrics"):
            wanted = {keys(row): row for row in expected if row["signal"] == signal}
            if not wanted:
                faults.append(f"{service}: sent no {signal}")
            found, fault = printed(casefile, case, signal, service)
            if fault:
                faults.append(fault)
                continue
            there = [keys(row) for row in found]
            for key in sorted(set(map(str, there)) - set(map(str, wanted))):
                faults.append(f"{service} {signal} {key}: was never sent")
            for key, row in wanted.items():
                rows += 1
                of_key = [one for one in found if keys(one) == key]
                if len(of_key) != 1:
                    faults.append(f"{service} {signal} {key}: sent once, found {len(of_key)} times")
                else:
                    where = f"{service} {signal} {row.get('name', key)}"
                    faults.extend(f"{where}{difference}" for difference in differences(row, of_key[0]))
    for fault in faults:
        print(fault)
    if faults:
        sys.exit(f"{len(faults)} differences in {rows} rows")
    print(f"{rows} rows of {len(files)} clients arrived attribute for attribute")


main()
