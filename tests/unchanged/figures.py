"""Records figures that a change of structure must not change, and compares with them: run before and after it.

    python tests/unchanged/figures.py record FILE
    python tests/unchanged/figures.py check FILE

They are the rows of `stackmac evaluate` in five worlds and the log of three updates of `stackmac train` under every
objective and both roles, all with fixed seeds. Figures depend on the processor's arithmetic, so that FILE holds for one
machine only and is not kept; what holds everywhere, the control bytes of kept recordings, is a test of its own
(tests/xapp/record/test_kept_recordings.py). About ten minutes on two cores.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
EVALUATIONS = {"mix": "4", "sporadic": "4", "lab": "20", "ric20": "30", "lab_paper": "8"}
OBJECTIVES = ("regression", "counterfactual", "token", "all_action", "sequence")
TIMES = ("seconds", "per_second", "_ms", "_us", "elapsed", "time", "jobs", "bundle", "command", "version")
"""Parts of keys whose values are no figures: durations, rates, places."""
RENAMED = {"policy": "player", "moved": "step_kl"}
"""Keys by the name that they have since."""
PARALLEL_RUNS = 2


def stackmac(*arguments: str) -> None:
    """Run one command of this checkout. Raises CalledProcessError."""
    call = "import sys; from xapp.cli import entry; sys.argv[0] = 'stackmac'; entry()"
    done = subprocess.run([sys.executable, "-c", call, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"stackmac {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-3000:]}")


def figures_in(value: Any) -> Any:
    """The value without what differs between two runs of the same command."""
    if isinstance(value, dict):
        return {
            RENAMED.get(key, key): figures_in(item)
            for key, item in sorted(value.items())
            if not any(part in key for part in TIMES)
        }
    if isinstance(value, list):
        return [figures_in(item) for item in value]
    return value


def evaluation(scenario: str, ues: str, folder: Path) -> Any:
    out = folder / f"{scenario}.json"
    stackmac(
        *("evaluate", "--scenario", scenario, "--ues", ues, "--seeds", "1", "--cells", "4", "--jobs", "1"),
        *("--decoding", "both", "--json", str(out)),
    )
    return json.loads(out.read_text())["rows"]


def training(objective: str, roles: str, folder: Path) -> Any:
    out = folder / f"{objective}-{roles}"
    stackmac(
        *("train", "--scenario", "mix", "--ues", "4", "--updates", "3", "--warm-start-steps", "12"),
        *("--roles", roles, "--objective", objective, "--out", str(out)),
    )
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def following(objective: str, folder: Path) -> Any:
    out = folder / f"following-{objective}"
    stackmac(
        *("train-followers", "--scenario", "mix", "--ues", "4", "--updates", "3", "--imitation-updates", "2"),
        *("--from", "policy/bundles/paper", "--objective", objective, "--out", str(out)),
    )
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def measured() -> dict[str, Any]:
    """All figures, by a name that says which."""
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(PARALLEL_RUNS) as pool:
        folder = Path(name)
        runs = {f"evaluate {scenario}": (evaluation, scenario, ues) for scenario, ues in EVALUATIONS.items()}
        runs |= {f"train {objective}": (training, objective, "leader") for objective in OBJECTIVES}
        runs |= {"train follower": (training, "regression", "follower")}
        runs |= {"train both": (training, "counterfactual", "leader,follower")}
        runs |= {f"train-followers {objective}": (following, objective) for objective in OBJECTIVES}
        pending = {what: pool.submit(call, *arguments, folder) for what, (call, *arguments) in runs.items()}
        return {what: figures_in(future.result()) for what, future in pending.items()}


def differences(before: Any, after: Any, where: str) -> Iterator[str]:
    """One line for each place where the two differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from differences(before.get(key), after.get(key), f"{where}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, pair in enumerate(zip(before, after)):
            yield from differences(*pair, f"{where}[{place}]")
    elif before != after:
        yield f"{where}: {before!r} -> {after!r}"


def main() -> int:
    if len(sys.argv) != 3 or sys.argv[1] not in ("record", "check"):
        print(__doc__, file=sys.stderr)
        return 2
    kept = Path(sys.argv[2])
    after = measured()
    if sys.argv[1] == "record":
        kept.write_text(json.dumps(after, indent=1, sort_keys=True))
        return 0
    found = list(differences(figures_in(json.loads(kept.read_text())), after, ""))
    print("\n".join(found) or f"{len(after)} runs: the same to the last digit")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
