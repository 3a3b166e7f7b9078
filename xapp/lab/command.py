"""The command line of `stackmac lab`."""

from __future__ import annotations

import typer
from rich.console import Console

from policy.errors import UserMistake
from training.command_line.options import command
from training.command_line.result_file import check_json_path, write_json
from training.command_line.values import goes_with, some_names_in
from xapp.lab.gnb.behaviour import BEHAVIOURS
from xapp.lab.gnb.options import CONTROLS, check_control, check_followers
from xapp.lab.harmful_leaders import plug_in_of
from xapp.lab.lab import run_lab
from xapp.lab.options import MARGIN_SEED, LabOptions
from xapp.lab.policy_files import check_files
from xapp.lab.processes import stop_on_sigterm
from xapp.record.part_files import check_place

lab_app = typer.Typer(add_completion=False, rich_markup_mode=None)


@command(lab_app, "lab", LabOptions)
def lab(options: LabOptions) -> int:
    """RIC, gNB and xApp as three processes on loopback: a live table, a summary, comparisons over the same world."""
    console = Console(stderr=options.json_file == "-")
    stop_on_sigterm()
    check_json_path(options.json_file)
    check_place("--record", options.record)
    check_names(options)
    check_files(options.policy)
    summary = run_lab(options, console)
    if options.json_file:
        write_json(options.json_file, summary)
    return 130 if summary["interrupted"] else 0


def check_names(options: LabOptions) -> None:
    """Refuse unknown leaders, scenarios and comparisons before anything is started (UserMistake)."""
    from policy.registry import BUNDLED, check_leader
    from training.simulator.scenario import make_scenario
    from xapp.lab.comparison import NO_XAPP

    if options.scenario:
        make_scenario(options.scenario)
    check_leader(plug_in_of(options.leader or BUNDLED))
    for name in options.compared:
        if name not in NO_XAPP:
            check_leader(plug_in_of(name), beside=NO_XAPP)
    for name, value, known in (
        ("--followers", options.followers, ("rule", "learned")),
        ("--e2-transport", options.e2_transport, ("auto", "sctp", "tcp")),
        ("--control", options.control, ("", *CONTROLS)),
        ("--observe", options.observe, ("", "full", "kpm_srsran", "kpm_oai")),
        ("--routes", options.routes, ("rtmgr", "file")),
        ("--rmr", options.rmr, ("auto", "si95", "librmr")),
        ("--behave", options.behave, tuple(BEHAVIOURS)),
    ):
        if value not in known:
            raise UserMistake(f"{name} is {value!r}, expected one of {', '.join(filter(None, known))}")
    check_control(options.behave, options.control)
    if options.compare and not options.compared:
        some_names_in("--compare", options.compare)
    goes_with("--world-seed", options.world_seed, MARGIN_SEED, "--worlds", options.worlds)
    if options.worlds and not options.compared:
        raise UserMistake(f"--worlds {options.worlds} without --compare: there is nobody to compare the leader with")
    check_followers(options.followers)
    if options.compared and not options.ues:
        raise UserMistake(f"--compare {options.compare} with --ues 0: there is nobody to compare")
    if (options.control in ("ccc", "rc") or options.behave) and options.k:
        raise UserMistake(
            f"--k {options.k} with --control {options.control or 'rc'}: it acts at a RIC's pace, K follows the period"
        )
