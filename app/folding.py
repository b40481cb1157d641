"""What is folded, and from where: a group and its log, as the settings have them."""

from collections.abc import Collection, Sequence

from app.settings import Settings
from app.subscriptions import steps_of
from projections.clock import ShopClock
from projections.read_model import Step
from projections.refold import Group, Source


def source_of(settings: Settings) -> Source:
    """The log, as a group's workers read it."""
    return Source(
        settings.servers.kafka,
        settings.prefix,
        settings.dedupe_window,
        settings.commit_records,
        ShopClock(settings.timezone),
    )


def group_of(settings: Settings, name: str, tables: Collection[str] = ()) -> Group:
    """A group, where its read models stand; or as much of it as keeps these tables."""
    steps = steps_of(name)
    if tables:
        steps = [step for step in steps if step.model.name in _built_on(steps, tables)]
    return Group(settings.servers.postgres, settings.schema_name, name, steps)


def _built_on(steps: Sequence[Step], tables: Collection[str]) -> Collection[str]:
    """Tables, and those that they are fed by."""
    found = set(tables)
    for step in reversed(steps):
        if step.model.name in found and step.of:
            found.add(step.of)
    return found


def topics_in(group: Group) -> Sequence[str]:
    """The topics that a group, or a part of one, reads."""
    return sorted({topic for step in group.steps for topic in step.topics})
