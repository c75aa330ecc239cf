"""`syncd doctor`: the founding checklists held against this installation, line by line.

Facts are gathered once (`gathering.py` and what it calls), then judged by pure functions (`probes_*.py`), each of which has
one home and may stand behind several lines. What is asked, in which order and words: `attio.py`, `maintainx.py`,
`everyone.py`, `machine.py`; put together in `examining.py`.
"""

from syncd.doctor.examining import examined, in_scope
from syncd.doctor.facts import Facts
from syncd.doctor.model import Answer, Checklist, Result, Verdict

__all__ = ["Answer", "Checklist", "Facts", "Result", "Verdict", "examined", "in_scope"]
