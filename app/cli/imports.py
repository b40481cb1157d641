"""`tillstream import`: somebody's own table of sales, with whatever columns."""

import asyncio
import shutil
import sys
from collections.abc import Mapping as Map
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from app.cli.terminal import Failed, cli, talk
from app.settings import Settings

if TYPE_CHECKING:
    from app.imports.carry_out import Progress
    from app.imports.prepare import Prepared
    from app.imports.reading import Fault

_SHOWN_FAULTS = 20
_SHOWN_ROWS = 5
_TABLES = (".csv", ".tsv", ".txt", ".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")


@cli.command("import")
def import_(
    files: Annotated[
        list[Path], typer.Argument(exists=True, help="files that belong together, or a folder")
    ],
    shop: Annotated[
        str | None, typer.Option(help="the shop that it goes into; one of its own, by its name")
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", help="COLUMN=TARGET or COLUMN=TARGET:FORMAT, again and again"),
    ] = None,
    status: Annotated[
        list[str] | None, typer.Option("--status", help="WORD=sale|pending|cancelled|returned|none")
    ] = None,
    currency: Annotated[str | None, typer.Option(help="where no column tells it")] = None,
    decimal: Annotated[str | None, typer.Option(help=". or ,")] = None,
    timezone: Annotated[str | None, typer.Option(help="of its times")] = None,
    encoding: Annotated[str | None, typer.Option(help="such as cp1252")] = None,
    preview: Annotated[bool, typer.Option("--preview", help="show what would be read")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Import a CSV or Excel file of sales, whatever its columns. The same again adds nothing."""
    told = {
        "columns": _pairs(map_ or [], "--map"),
        "statuses": _pairs(status or [], "--status"),
        "currency": currency,
        "decimal": decimal,
        "timezone": timezone,
        "encoding": encoding,
    }
    paths = [found for path in files for found in _files(path)]
    named = files[0].name if len(files) == 1 else files[0].parent.name or files[0].name
    ok = asyncio.run(_import(Settings(), paths, named, shop, told, preview=preview, yes=yes))
    raise typer.Exit(0 if ok else 1)


def _pairs(told: Sequence[str], option: str) -> dict[str, str]:
    pairs = [one.rpartition("=") for one in told]
    if wrong := [one for one, pair in zip(told, pairs, strict=True) if not pair[0]]:
        raise Failed(f"{option} {wrong[0]!r}: expected NAME=WORD")
    return {name.strip(): word.strip() for name, _, word in pairs}


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = [
        one for one in sorted(path.iterdir())
        if one.is_file() and one.name.lower().removesuffix(".gz").endswith(_TABLES)
    ]  # fmt: skip
    if not found:
        raise Failed(f"there is no table in {path}: {', '.join(_TABLES)} are read, also as .gz")
    return found


async def _import(
    settings: Settings,
    paths: Sequence[Path],
    name: str,
    shop: str | None,
    told: Map[str, Any],
    *,
    preview: bool,
    yes: bool,
) -> bool:
    """Whether all went well. Raises Failed."""
    from app.imports.carry_out import Failed as ImportFailed
    from app.imports.carry_out import Stopped, Work, folder_of
    from app.imports.mapping import Correction
    from app.imports.store import Store, new_id, shop_named
    from projections.postgres import AWAY, connect, migrate

    dsn, schema = settings.servers.postgres, settings.schema_name
    into = shop or shop_named("main", name)
    owner = shop.rpartition(".")[0] or shop if shop else "main"
    import_id = new_id()
    folder = folder_of(settings, import_id)
    bars = _bars()
    try:
        await migrate(dsn, schema)
        pool = await connect(dsn, schema, size=3)
    except AWAY as error:
        raise Failed(f"Postgres does not answer: {error!r}") from error
    store = Store(pool)
    try:
        with bars:
            tasks: dict[str, Any] = {}

            def show(stage: str, progress: "Progress") -> None:
                for other in tasks.values():
                    bars.update(other, total=progress.rows or None)
                if stage not in tasks:
                    tasks[stage] = bars.add_task(stage, total=None)
                done = progress.added + progress.known + progress.differing
                bars.update(tasks[stage], completed=progress.rows if stage == "reading" else done)

            folder.mkdir(parents=True, mode=0o700)
            stored = []
            for number, path in enumerate(paths):
                await asyncio.to_thread(shutil.copyfile, path, folder / f"file-{number}")
                stored.append(
                    {"name": path.name, "stored": f"file-{number}", "bytes": path.stat().st_size}
                )
            correction = {key: value for key, value in told.items() if value}
            said = {"preview": True, "correction": correction}
            await store.create(import_id, owner, into, name, stored, said)
            work = Work(settings, store, import_id, show)
            await work.look()
        found = work.found
        assert found is not None
        _show(found, into)
        blocking = [one for one in found.asked if one.blocking]
        if correction.get("columns") or correction.get("statuses"):
            await store.remember(owner, found.header, Correction(**correction))
        if preview or blocking:
            await store.delete(import_id)
            shutil.rmtree(folder, ignore_errors=True)
            if blocking and not preview:
                raise Failed("say what is asked above, with --map COLUMN=TARGET and the like")
            return not blocking
        if not yes and sys.stdin.isatty() and not typer.confirm("Import it so?", default=True):
            await store.delete(import_id)
            shutil.rmtree(folder, ignore_errors=True)
            return False
        await store.turn(import_id, "queued", before=("draft",))
        with bars:
            progress = await work.run()
        _account(progress, into, import_id)
        _rejected(await store.rejections(import_id, _SHOWN_FAULTS), progress.rejected)
        _next_steps(into)
    except ImportFailed as failed:
        raise Failed(str(failed)) from failed
    except Stopped:
        await work.let_go()
        raise Failed("it was cancelled") from None
    except asyncio.CancelledError:
        await store.turn(import_id, "cancelled")
        await work.let_go()
        talk.print("[yellow]interrupted[/]: run it again; that is harmless, and does the rest")
        raise
    finally:
        await pool.close()
    return True


def _bars() -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description:<8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=talk,
    )


# What a person sees.


def _show(found: "Prepared", into: str) -> None:
    table = Table("column", "is", "sure", "because", box=None, header_style="dim")
    for one in found.mapping.columns:
        form = f" ({one.format})" if one.format else ""
        sure = f"{one.confidence:.0%}" if one.target else ""
        style = "" if one.target else "dim"
        table.add_row(
            escape(one.name), f"{one.target}{form}", sure, escape(one.reason), style=style
        )
    talk.print(table)
    for asked in found.asked:
        mark = "[red]?[/]" if asked.blocking else "[yellow]![/]"
        options = f" ({', '.join(asked.options)})" if asked.options else ""
        talk.print(f"{mark} {escape(asked.field)}: {escape(asked.reason)}{options}", soft_wrap=True)
    rows = [dict(row) for row in found.preview[:_SHOWN_ROWS]]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if rows:
        shown = Table(*columns, box=None, header_style="dim", title=f"into the shop {escape(into)}")
        for column in shown.columns:
            column.no_wrap = True
        for row in rows:
            shown.add_row(*(escape(str(row.get(name, ""))) for name in columns))
        talk.print(shown)


def _account(progress: "Progress", into: str, import_id: str) -> None:
    table = Table("rows", "what became of them", box=None, header_style="dim")
    table.columns[0].justify = "right"
    told = [
        (progress.added, "added"),
        (progress.known, "known already: they add nothing"),
        (
            progress.differing,
            "of orders that are there already, and say otherwise: left as they are",
        ),
        *((count, f"set aside: {reason}") for reason, count in progress.set_aside.items()),
        (progress.rejected, "rejected"),
    ]
    for count, words in told:
        if count or words == "added":
            table.add_row(f"{count:,}", escape(words))
    table.add_row(f"{progress.rows:,}", "read", style="bold")
    talk.print(table)
    talk.print(f"[green]✓[/] {progress.events:,} events into the shop {escape(into)} ({import_id})")


def _rejected(faults: Sequence["Fault"], rejected: int) -> None:
    if not faults:
        return
    table = Table("line", "column", "value", "why", box=None, header_style="dim")
    for one in faults:
        table.add_row(str(one.line or ""), *map(escape, one[1:]))
    talk.print(table)
    if rejected > len(faults):
        talk.print(f"… and more: {rejected:,} rows in all")


def _next_steps(into: str) -> None:
    from app.target import running_api

    try:
        api = running_api(Settings())
    except Exception:
        api = "http://127.0.0.1:8700"
    talk.print(f"Next: curl '{api}/v1/metrics/net?shop={into}&grain=month'", soft_wrap=True)
    talk.print(f"      curl '{api}/v1/reports/best_selling?shop={into}'", soft_wrap=True)
