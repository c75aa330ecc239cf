"""Everything that touches PostgreSQL, a file a table, and nothing else. The only floor that sees asyncpg.

Statements are set-based: a page is one statement, whatever it holds. `schema/` has the migrations, `embedded` a private
server for those who have none.
"""

from syncd.store.backfills import Backfill
from syncd.store.burying import NewDeadLetter
from syncd.store.changes import CHANGES, Change
from syncd.store.checkpoints import Stand
from syncd.store.controls import BREAKER_HOLD, BREAKER_RESET, CONFIRM_DELETIONS, MAINTENANCE, PAUSE, Control
from syncd.store.credentials import CredentialNote
from syncd.store.database import KeyUsedError
from syncd.store.dead_letters import DeadLetter, Selection, Trouble
from syncd.store.guard import Guard, Sweep
from syncd.store.leases import Lease
from syncd.store.media import Medium
from syncd.store.migrate import Migration, SchemaStatus
from syncd.store.outbox import OUTBOX, NewPush
from syncd.store.outbox_turns import PushRow
from syncd.store.perils import BACKFILL, PULL, Peril
from syncd.store.permits import asking
from syncd.store.prune import Retention
from syncd.store.records import Records, StoredRecord
from syncd.store.rejects import KILLED, StoredReject
from syncd.store.renormalization_rows import Batch, Renormalization, Reread, StoredRaw
from syncd.store.replays import REPLAYS, Group, Replay, Standing
from syncd.store.rows import Acknowledge, Known, NewTask, PageResult, PageWrite, PartShown, Reject, Row
from syncd.store.runs import Run
from syncd.store.schemas import SchemaWrite, StoredSchema
from syncd.store.sealing import KeyRing, SealError, new_key_line
from syncd.store.store import Store, reached
from syncd.store.suspicion import POISON, SUSPECT
from syncd.store.task_turns import Task
from syncd.store.tasks import WISHES
from syncd.store.trials import Trial, Tried
from syncd.store.validators import Validator
from syncd.store.views import view_name

__all__ = [
    "BACKFILL",
    "BREAKER_HOLD",
    "BREAKER_RESET",
    "CHANGES",
    "CONFIRM_DELETIONS",
    "KILLED",
    "MAINTENANCE",
    "OUTBOX",
    "PAUSE",
    "POISON",
    "PULL",
    "REPLAYS",
    "SUSPECT",
    "WISHES",
    "Acknowledge",
    "Backfill",
    "Batch",
    "Change",
    "Control",
    "CredentialNote",
    "DeadLetter",
    "Group",
    "Guard",
    "KeyRing",
    "KeyUsedError",
    "Known",
    "Lease",
    "Medium",
    "Migration",
    "NewDeadLetter",
    "NewPush",
    "NewTask",
    "PageResult",
    "PageWrite",
    "PartShown",
    "Peril",
    "PushRow",
    "Records",
    "Reject",
    "Renormalization",
    "Replay",
    "Reread",
    "Retention",
    "Row",
    "Run",
    "SchemaStatus",
    "SchemaWrite",
    "SealError",
    "Selection",
    "Stand",
    "Standing",
    "Store",
    "StoredRaw",
    "StoredRecord",
    "StoredReject",
    "StoredSchema",
    "Sweep",
    "Task",
    "Trial",
    "Tried",
    "Trouble",
    "Validator",
    "asking",
    "new_key_line",
    "reached",
    "view_name",
]
