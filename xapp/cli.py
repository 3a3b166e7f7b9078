"""`stackmac COMMAND ...`: each command is imported only when it is asked for, so `--help` and `e2` start at once."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typer.exceptions import TyperException

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("xapp.lab.demo:demo_app", "The whole loop in two acts: the paper's game, and a RIC's pace."),
    "lab": ("xapp.lab.command:lab_app", "RIC, gNB and xApp on loopback, with a live table and comparisons."),
    "soak": ("xapp.soak.command:soak_app", "The lab under random faults, and a ledger of what came of them."),
    "run": ("xapp.run.command:run_app", "The xApp itself."),
    "doctor": ("xapp.doctor.command:doctor_app", "What is wrong with a deployment, and what to do about it."),
    "ric": ("xapp.lab.ric.command:ric_app", "Stand-ins for the near-RT RIC platform."),
    "gnb": ("xapp.lab.gnb.gnb:gnb_app", "A simulated E2 node."),
    "explain": ("xapp.explain.command:explain_app", "Why a UE got what it got in a decision."),
    "guard": ("xapp.kpi_guard.command:guard_app", "What the KPI guard has found, and an operator's word against it."),
    "guard-lab": (
        "xapp.lab.guard_command:guard_lab_app",
        "How soon the KPI guard finds a harmful leader, and what its hold-outs cost, in the simulator.",
    ),
    "replay": ("xapp.record.command:replay_app", "A recording once more: the same control bytes, or the first other."),
    "intent": ("xapp.a1.command:intent_app", "Operators' policies: check, see what they come to, put in force."),
    "e2": ("xapp.e2.command:e2_app", "Decode and encode E2 messages."),
    "warm-start": ("training.learning.command:training_app", "Train a bundle by imitation of a named teacher."),
    "train": (
        "training.learning.command:train_app",
        "Train leader and followers against each other: warm start, then rounds.",
    ),
    "train-followers": ("training.follower_run.command:followers_app", "Train followers under a frozen leader."),
    "scenarios": ("training.simulator.command:scenarios_app", "The simulator's worlds, with their numbers and hashes."),
    "tune": ("training.baselines.command:tune_app", "How eagerly UEs should contend, for every row of a comparison."),
    "evaluate": ("training.evaluation.command:evaluate_app", "A bundle against every baseline, in the same worlds."),
    "results": (
        "training.experiments.figure_command:results_app",
        "Results put together, figures made again from what is kept.",
    ),
    "exploit": ("training.exploit.command:exploit_app", "What one UE gains by playing for itself against the others."),
    "experiment": ("training.experiments.command:experiment_app", "The paper's figures and open questions, each anew."),
    "bench": ("xapp.bench.command:bench_app", "Speed of the decision path; `bench training`: of training."),
}
"""name -> (module:typer app, one line of help)."""
BENCH_TRAINING = "training.bench:bench_app"
"""`bench training`: the bench of the decision path knows nothing of training."""

USAGE_STATUS = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. One line on stderr and 2 for a user's mistake, 130 after Ctrl-C."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help", "help"):
        print(_command_list())
        return 0 if args else USAGE_STATUS
    if args[0] == "--version":
        from importlib.metadata import version

        print(f"stackmac {version('stackmac')}")
        return 0
    name, rest = args[0], args[1:]
    if name not in COMMANDS:
        return _mistake(f"stackmac: no command {name!r}; expected one of {', '.join(COMMANDS)}")
    return _run(name, rest)


def _run(name: str, args: list[str]) -> int:
    import typer
    import typer.main
    from typer.exceptions import TyperException

    from policy.errors import INTERRUPTED, StackmacError, how_to_add, missing_package
    from xapp.monitoring.process import nothing_collected

    place, _ = COMMANDS[name]
    if name == "bench" and args[:1] == ["training"]:
        name, args, place = "bench training", args[1:], BENCH_TRAINING
    module, attribute = place.split(":")
    try:
        with nothing_collected(all_stays=name == "run"):
            command = typer.main.get_command(getattr(importlib.import_module(module), attribute))
        status = command.main(args=args, prog_name=f"stackmac {name}", standalone_mode=False)
    except TyperException as error:
        return _mistake(f"stackmac {name}: {_explained(error)}")
    except StackmacError as error:
        _mistake(f"stackmac {name}: {error}")
        return error.exit_status
    except ModuleNotFoundError as error:
        package = missing_package(error)
        if not package:
            raise
        return _mistake(f"stackmac {name}: {how_to_add(package)}")
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone: say nothing more
        return 1
    return status if isinstance(status, int) else 0


def _explained(error: TyperException) -> str:
    """Typer's message, and what it leaves out: the value that it speaks of, and its whole range."""
    from pydantic import ValidationError

    from training.command_line.values import MAX_SHOWN

    message: str = error.format_message().replace("Value error, ", "")
    group = getattr(getattr(error, "ctx", None), "command", None)
    if (known := getattr(group, "commands", None)) and message.startswith(("Missing command", "No such command")):
        return f"{message.removesuffix('.')}, expected one of {', '.join(known)}; --help says what each does"
    cause = error.__cause__
    if not isinstance(cause, ValidationError):
        return message
    value, reason = str(cause.errors()[0]["input"]), cause.errors()[0]["msg"]
    shown = value if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}..."
    param = getattr(error, "param", None)
    low, high = getattr(param, "min", None), getattr(param, "max", None)
    if low is not None and high is not None:
        reason += f" (range {low} to {high})"
    return message.replace(cause.errors()[0]["msg"], reason.replace("Input", repr(shown), 1))


def _mistake(line: str) -> int:
    print(" ".join(line.split()), file=sys.stderr)
    return USAGE_STATUS


def _command_list() -> str:
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items())
    return f"Usage: stackmac COMMAND [OPTIONS]      stackmac COMMAND --help      stackmac --version\n\n{rows}\n"


def entry() -> None:
    """The console script."""
    if sys.argv[1:2] == ["run"]:
        # Before anything else is imported: a pod may be told to stop in its first second. Nothing has begun that would
        # have to be given back; the xApp takes these signals over before anything does.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os._exit(0))
    sys.exit(main())


if __name__ == "__main__":
    entry()
