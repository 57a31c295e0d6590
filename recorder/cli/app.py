"""The list of commands, and the options that stand before a command.

A command's module is imported when the command runs, so `tapedeck --help` and shell completion answer at once.
"""

import importlib
from pathlib import Path
from typing import Annotated, Any, NamedTuple, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

import recorder
from recorder.cli import quiet_interrupt
from recorder.errors import ConfigError, StoreUnavailable


class Command(NamedTuple):
    """The module of a command, and its line in the list of commands."""

    module: str  # in recorder.cli; its function `register` adds the command
    summary: str


COMMANDS = {
    "up": Command("appliance", "Start the appliance and wait until it records."),
    "down": Command("appliance", "Stop the appliance."),
    "restart": Command("appliance", "Restart the appliance, or some of its programs."),
    "handover": Command("handover", "Replace recorders by new processes without a gap."),
    "status": Command("appliance", "Show every program; exit code 0 only when healthy."),
    "alerts": Command("alerting.alerts", "Show alerts, test the channels, acknowledge, silence."),
    "doctor": Command("doctor", "Check whether this machine can run the appliance."),
    "logs": Command("appliance", "Follow the logs."),
    "psql": Command("appliance", "Open psql in the recording database."),
    "record": Command("record", "Record in the foreground, without a database."),
    "venues": Command("streams.venues", "List the venues, what they offer and what is recorded."),
    "symbols": Command("streams.symbols", "List what a venue trades."),
    "markets": Command("polls.markets", "List the prediction markets that are polled."),
    "whales": Command("polls.whales", "List the large trades of prediction markets."),
    "test": Command("streams.test", "Connect to a venue and time its first data."),
    "probe": Command("streams.probe", "Ask venues what their protocol pages leave uncertain."),
    "subscribe": Command("streams.subscriptions", "Record more symbols while the appliance runs."),
    "unsubscribe": Command("streams.subscriptions", "Record fewer symbols while the appliance runs."),
    "subscriptions": Command("streams.subscriptions", "List the subscriptions in the database."),
    "poll": Command("polls.poll", "List the jobs of the poller, or run one now."),
    "keep": Command("keeping.keep", "List the jobs of the keeper, or run one now."),
    "gaps": Command("polls.gaps", "List the gaps: open, healed, and why one cannot be."),
    "heal": Command("polls.heal", "Fill gaps of trades from the history of their venue."),
    "backfill": Command("polls.backfill", "Read past trades or candles of a venue."),
    "verify": Command("verify", "Prove that nothing is lost or stored twice."),
    "certify": Command("certificates.command", "Certify hours of streams, or check certificates."),
    "replay": Command("replay", "Decode the journal again and compare with the database."),
    "decode": Command("decode.command", "Decode a file of raw frames."),
    "backup": Command("keeping.backups", "Take a verified backup of Postgres now."),
    "backups": Command("keeping.backups", "List the backups, or prove that one can be restored."),
    "restore": Command("keeping.backups", "Put a backup in place of the embedded Postgres."),
    "users": Command("users", "Manage who may log in to the pages and the API."),
    "settings": Command("settings", "Print every setting and where it comes from."),
    "migrate": Command("database", "Bring the database schema up to date."),
    "roles": Command("database", "Print the roles that your own Postgres needs."),
    "upgrade": Command("deploy.upgrade", "Restart the programs whose code or settings changed."),
    "selftest": Command("deploy.selftest", "Prove that this installation works on this machine."),
    "simulate": Command("simulate", "Serve the simulated venues, or inject a fault into one."),
}

_SYNONYMS = {"run": "up", "start": "up", "stop": "down", "exchanges": "venues", "log": "logs"} | {
    name: f"tapedeck-analysis {name}" for name in ("bars", "export", "features", "train")
}
_WARNS = frozenset({"up", "doctor", "record", "settings", "migrate", "upgrade"})  # the commands a person begins with


class _Commands(TyperGroup):
    """The group of all commands, which imports a command only when it is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, command in COMMANDS.items():
            self.add_command(TyperCommand(name=name, help=command.summary), name)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of the list."""
        return list(COMMANDS)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands for the help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in COMMANDS.items()])

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; only its summary while the shell completes names."""
        if cmd_name in COMMANDS and not ctx.resilient_parsing:
            return load(cmd_name)
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name, the command itself, and its arguments."""
        if args[0] in _SYNONYMS:
            ctx.fail(f"No such command '{args[0]}'. Did you mean '{_SYNONYMS[args[0]]}'?")
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if ctx.resilient_parsing and name in COMMANDS else command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a database that is down is said in the same sentence by every command."""
        try:
            return super().invoke(ctx)
        except StoreUnavailable as error:
            if ctx.obj is None:
                raise
            from recorder.cli.common import unreachable

            raise ConfigError(unreachable(ctx.obj.settings(), error)) from error


def load(name: str) -> Any:
    """Import a command."""
    group = typer.Typer(rich_markup_mode=None)
    group.callback()(lambda: None)  # a single command would not make a group
    with quiet_interrupt():
        module = importlib.import_module(f"recorder.cli.{COMMANDS[name].module}")
    module.register(group)
    return cast(TyperGroup, get_command(group)).commands[name]


app = typer.Typer(
    cls=_Commands,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # markup would eat the stars of patterns such as '*-USD'
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Record markets: every message of a venue's feed, into Postgres, exactly once.\n\n"
    "`tapedeck up` starts it, `tapedeck status` shows it, `tapedeck verify` proves it, `tapedeck down` stops it.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tapedeck {recorder.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    config: Annotated[
        str | None,
        typer.Option("--config", "-c", metavar="PATH", help="Settings: a TOML file, or a profile (demo, live)."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Log everything; show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> int:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        return 2
    if config is not None and not config.strip():
        raise ConfigError("--config is empty; name a TOML file or a profile (demo, live)")
    with quiet_interrupt():
        from recorder.cli.common import Context
    context.obj = Context(
        Path(config) if config is not None else None, debug, warns=context.invoked_subcommand in _WARNS
    )
    return 0


@app.command("help", hidden=True)
def _help(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="[COMMAND]...", help="Command to explain.")] = None,
) -> int:
    """Show the help of a command."""
    parent = context.parent
    assert parent is not None
    return cast(int, app([*(words or []), "--help"], prog_name=parent.info_name, standalone_mode=False) or 0)


@app.command("version", hidden=True)
def _version() -> None:
    """Print the version."""
    _print_version(wanted=True)
