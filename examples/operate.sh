#!/usr/bin/env bash
# A corpus in service, from the first manifest to a batch that is taken out again:
#   examples/operate.sh [FOLDER [DOCUMENTS]]    a folder in BEIR layout, and how many of its documents; the demo's, and 24, unless given
set -euo pipefail
folder="${1:-$(cd "$(dirname "$0")/../ragguard/demo/data" && pwd)}"
count="${2:-24}"
work="$(mktemp -d)"
trap 'kill "${sidecar:-}" 2>/dev/null || true; rm -rf "$work"' EXIT
export FOLDER="$folder" DOCUMENTS="$count"
head -n 80 "$folder/queries.jsonl" >"$work/queries.jsonl"
cd "$work"
python3 - <<'PYTHON'
import json
import os
from pathlib import Path

rows = [json.loads(line) for line in (Path(os.environ["FOLDER"]) / "corpus.jsonl").read_text().splitlines()]
texts = [(row["_id"], f"{row.get('title', '')}\n{row['text']}".strip()) for row in rows]
count = int(os.environ["DOCUMENTS"])
question = json.loads(Path("queries.jsonl").read_text().splitlines()[0])["text"]
hides, repeats, honest = (text for _, text in texts[count : count + 3])
hidden = "".join(f"{letter}\u200d" for letter in question)
sent = [("hides", f"{hides} {hidden}"), ("repeats", f"{question} {repeats} {question}"), ("honest", honest)]
for name, corpus in (("corpus.jsonl", texts[:count]), ("incoming.jsonl", sent)):
    Path(name).write_text("".join(json.dumps({"_id": name, "text": text}) + "\n" for name, text in corpus))
Path("question.txt").write_text(question)
PYTHON
question="$(cat question.txt)"

say() { printf '\n== %s\n' "$*"; }
finds() { "$@" || [ $? -eq 4 ]; } # 4: it was done, and something was found

say "Who brought in what: a signed manifest; and a guard, calibrated on clean queries"
ragguard keygen manifest.key
ragguard manifest corpus.jsonl --out manifest.jsonl --batch first --source library --principal ada --key manifest.key
ragguard calibrate . --out guard.json --top-k 5 --max-clean-query-loss 0.1 --cache cache --json >calibrated.json

say "Somebody sends documents: the gate puts one away that hides text"
finds ragguard scan incoming.jsonl --trusted corpus.jsonl --max-flagged 0.1 --quarantine quarantine.db
ragguard quarantine list --quarantine quarantine.db

say "The others are let in, as a batch of their own"
grep -v '"hides"' incoming.jsonl >>corpus.jsonl
ragguard manifest corpus.jsonl --out manifest.jsonl --batch forum --source forum --principal bob --key manifest.key

say "What the guard makes of a question, and what it wrote down"
ragguard serve guard.json corpus.jsonl --audit audit.jsonl --port 0 --json >served.json &
sidecar=$!
until [ -s served.json ]; do
  kill -0 "$sidecar"
  sleep 0.1
done
python3 - <<'PYTHON'
import json
import urllib.request
from pathlib import Path

rows = [json.loads(line) for line in Path("corpus.jsonl").read_text().splitlines()][-10:][::-1]  # what your retriever found
hits = [{"id": row["_id"], "text": row["text"], "score": 1 - place / 100} for place, row in enumerate(rows)]
asked = {"query": Path("question.txt").read_text(), "k": 5, "hits": hits}
url = json.loads(Path("served.json").read_text())["url"] + "/guard"
request = urllib.request.Request(url, json.dumps(asked).encode(), {"Content-Type": "application/json"})
print("dropped:", json.load(urllib.request.urlopen(request))["removed"])
PYTHON
kill "$sidecar" && wait "$sidecar" || true
ragguard audit audit.jsonl --guard guard.json --corpus corpus.jsonl --queries question.txt

say "What the results rest on, without a guard"
ragguard trace corpus.jsonl --manifest manifest.jsonl --key manifest.key.pub --query "$question" --top-k 3 --cache cache

say "The batch goes; what is left is as recorded, until somebody changes a word"
ragguard rollback corpus.jsonl --manifest manifest.jsonl --batch forum --key manifest.key
ragguard verify corpus.jsonl --manifest manifest.jsonl --key manifest.key.pub --at-least 3
sed -i.bak '1s/"text": "/"text": "Not so: /' corpus.jsonl
finds ragguard verify corpus.jsonl --manifest manifest.jsonl --key manifest.key.pub
