"""All kinds of jobs there are, in one table."""

from collections.abc import Mapping, Sequence

from app.erasure.asked import ERASURE_JOB
from app.jobs.as_of import AS_OF
from app.jobs.imports import IMPORT
from app.jobs.job import Kind
from app.jobs.records import SALES_RECORDS
from app.jobs.train import TRAIN

_ALL: Sequence[Kind] = (AS_OF, SALES_RECORDS, IMPORT, TRAIN, ERASURE_JOB)

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}
