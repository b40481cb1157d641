"""`tillstream rebuild learners`, or recommenders: the models that learn, anew from the log."""

import asyncio
from typing import TYPE_CHECKING

from app.cli.terminal import Failed, talk
from app.settings import Settings
from app.subscriptions import learners_of

if TYPE_CHECKING:
    from app.learner.rebuild import Tell


def rebuild_learners(settings: Settings, group: str, tell: "Tell", *, if_any: bool = False) -> None:
    """Rebuilds the models of a group and says how it went; where nothing was learned yet this
    fails, unless it is to be `if_any`. Raises Failed, OSError, KafkaError, PostgresError."""
    from app.learner.rebuild import NotTold, Running, forget
    from app.learner.rebuild import rebuild as run
    from app.own_key import own_key
    from ml_online.models import LearningFailed, Models
    from projections.postgres import migrate
    from streams.batch import LogChanged
    from streams.readback import ReadBackFailed

    models = Models(learners_of(group))

    async def rebuild() -> None:
        await migrate(settings.servers.postgres, settings.schema_name)
        try:
            key = own_key(settings.snapshot_key, settings.home / "snapshot.key")
            done = await run(settings, group, models, key, tell)
        except LogChanged as changed:
            await forget(settings, group)
            talk.print(
                f"[yellow]![/] {changed}: the learner begins at its beginning", soft_wrap=True
            )
            return
        rate = done.records / done.seconds
        talk.print(
            f"[green]✓[/] {group}: {done.records:,} events in {done.seconds:.1f} s "
            f"({rate:,.0f}/s); the learner waited {done.locked_seconds * 1000:,.0f} ms"
        )
        if done.before is None:
            talk.print(f"  digest {done.digest[:16]}; no learner was there to compare it with")
        elif done.before == done.digest:
            talk.print(f"  the same models as before, digest {done.digest[:16]}")
        else:
            talk.print(f"  other models: digest {done.digest[:16]}, was {done.before[:16]}")

    try:
        asyncio.run(rebuild())
    except NotTold as error:
        if not if_any:
            raise Failed(str(error)) from error
    except (Running, LearningFailed, ReadBackFailed) as error:
        raise Failed(str(error)) from error
