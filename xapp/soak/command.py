"""The command line of `stackmac soak`."""

from __future__ import annotations

import typer
from rich.console import Console

from training.command_line.options import command
from training.command_line.result_file import check_json_path, write_json
from training.command_line.values import one_of
from training.progress_bar import ProgressBar
from xapp.lab.processes import stop_on_sigterm
from xapp.soak.faults import chosen_faults
from xapp.soak.options import PARTS, SoakOptions
from xapp.soak.platform_faults import redis_server_program
from xapp.soak.soak import Soak

soak_app = typer.Typer(add_completion=False, rich_markup_mode=None)
STEPS = 100


@command(soak_app, "soak", SoakOptions)
def soak(options: SoakOptions) -> int:
    """The lab under random faults, with a ledger of what came of them; status 1 when anything came of them at all."""
    stop_on_sigterm()
    check_json_path(options.json_file)
    one_of("--control", options.control, ("dcm", "rc"))
    if options.sabotage:
        one_of("--sabotage", options.sabotage, PARTS)
    chosen = chosen_faults(options.faults)
    redis_server_program()
    with ProgressBar("soak", STEPS, "{what}") as bar:
        result = Soak(options, chosen, lambda share, what: bar.show(int(share * STEPS), what=what)).run()
    if options.json_file:
        write_json(options.json_file, result.to_json())
    result.show(Console(stderr=options.json_file == "-"))
    return 0 if result.is_clean else 1
