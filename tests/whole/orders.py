"""What documented commands stand for, in which order they are run, and what each has to answer.

A document names verbs alone (`syncd pause`), writes INTEGRATION where a name belongs, and numbers of its own (`syncd dlq show
4182`). What is run instead stands here; a word in capitals is looked up in the world (world.py) at that moment.
"""

from __future__ import annotations

import re

SEVERAL = {
    "bash|zsh|fish": ("bash", "zsh", "fish"),
    "{reset}": ("reset", "release"),
    "INTEGRATION {first}": ("INTEGRATION release",),
    "INTEGRATION {integration}": ("INTEGRATION reset",),
    "credential {verb} {integration} {name}": ("credential set INTEGRATION NAME", "credential rotate INTEGRATION NAME"),
    "webhook {command} {integration}": ("webhook register INTEGRATION", "webhook repair INTEGRATION"),
}
"""A part that is more than one thing, or any of them."""

PEOPLE = 'syncd push{} crm/people --kind upsert --data \'{{"email_addresses": "{}@example.com"}}\''
CODE = 'syncd push acme/reservations --kind key_code --id RESERVATION --data \'{{"key_code": "{}"}}\''
FILLS = {
    "adapters": "adapters acme",
    "backfill": "backfill acme/reservations --since 30d",
    "breaker NAME hold": "breaker acme hold --reason TEXT",
    "completion": "completion bash",
    "contract": "contract boatyard",
    "contract INTEGRATION": "contract boatyard",
    "contract INTEGRATION --spec FILE": "contract boatyard --spec boats.json",
    "contract INTEGRATION --wait 900": "contract boatyard --wait 900",
    "credential rotate": "credential rotate acme client_secret",
    "credential rotate INTEGRATION": "credential rotate crm",
    "credential rotate INTEGRATION < new.txt": "credential rotate crm",
    "credential rotate INTEGRATION NAME": "credential rotate acme client_secret",
    "credential set": "credential set acme client_secret",
    "credential set --reload": "credential set acme client_secret --reload",
    "credential set INTEGRATION NAME": "credential set acme client_secret",
    "credential set INTEGRATION NAME --reload": "credential set acme client_secret --reload",
    "credential test": "credential test acme",
    "dashboards": "dashboards overview",
    "dlq discard": "dlq discard LETTER",
    "dlq purge": "dlq purge --older-than 30d",
    "dlq replay": "dlq replay LETTER",
    "dlq replay --cancel": "dlq replay LETTER LETTER2 --cancel",
    "dlq show": "dlq show LETTER",
    "drift": "drift acme/listings",
    "dryrun": "dryrun acme/listings",
    "dryrun --save": "dryrun boatyard/boats --save --force",
    "dryrun INTEGRATION/RESOURCE --save": "dryrun boatyard/boats --save --force",
    "dryrun acme_main/things --values": "dryrun boatyard/boats --values",
    "dryrun boatyard/boats --limit 5 --save": "dryrun boatyard/boats --limit 5 --save --force",
    "evidence": "evidence acme",
    "log-level": "log-level acme debug",
    "memory --last": "memory --last",
    "memory --trace": "memory --trace 1s",
    "new driver": "new driver quay",
    "new driver NAME": "new driver quay",
    "pause": "pause acme",
    "pause --for": "pause acme --for 2h",
    "push": PEOPLE.format("", "bo")[6:],
    "push send": PEOPLE.format(" send", "cy")[6:],
    "push show": "push show crm PUSH",
    "push INTEGRATION/RESOURCE --kind KIND": CODE.format("4711")[6:],
    "push INTEGRATION/RESOURCE --kind KIND --data JSON": CODE.format("4711")[6:],
    "reconcile": "reconcile boatyard/boats",
    "reconcile --confirm": "reconcile boatyard/boats --confirm",
    "reconcile INTEGRATION/RESOURCE --confirm": "reconcile boatyard/boats --confirm",
    "records export": "records export acme/listings",
    "records export INTEGRATION/hosts": "records export stay/hosts",
    "records show": "records show acme/listings LISTING",
    "renormalize": "renormalize acme/listings",
    "resume": "resume acme",
    "runbook NAME": "runbook auth-failed",
    "schema accept": "schema accept acme/listings",
    "schema show": "schema show acme",
    "schema show --fields": "schema show acme --fields",
    "sim acme": "sim stripe",
    "sync": "sync acme/listings",
    "sync --id": "sync acme/listings --id LISTING",
    "sync plant/teams --id ID": "sync plant/teams --id TEAM",
    "verify": "verify plant",
    "verify INTEGRATION": "verify plant",
    "verify INTEGRATION --yes": "verify plant",
    "webhook": "webhook --help",
    "webhook deliveries INTEGRATION --state": "webhook deliveries acme --state waiting",
    "webhook list": "webhook list acme",
    "webhook register": "webhook register acme",
    "webhook repair": "webhook repair acme",
    "webhook replay": "webhook replay acme DELIVERY",
    "webhook send": "webhook send acme reservation.updated",
    "webhook show": "webhook show acme DELIVERY",
}
"""A verb that is only named, with what it cannot do without; and what does not stand for the usual."""

WORDS = (
    (r"^(breaker|credential \w+|dlq list|doctor|plan|push list|status|sync|verify|webhook \w+) NAME", r"\1 acme"),
    (r"^dlq (show|replay|discard) (NUMBER|4182\b)", r"dlq \1 LETTER"),
    (r"4183", "LETTER2"),
    (r"(--cause) (\.\.\.|3fa9|'booking 401')", r"\1 CAUSE"),
    (r"^dlq show 3fa9", "dlq show CAUSE"),
    (r"'booking 401'", "'acme 422'"),
    (r"^(webhook replay \S+) (17|4711)\b", r"\1 DELIVERY"),
    (r"4712$", "DELIVERY2"),
    (r"^(push show \S+) (\d+|ID)$", r"\1 PUSH"),
    (r"^(webhook show \S+) (evt_1|ID)$", r"\1 DELIVERY"),
    (r"\b64af0c(2b)?\b|(?<=/RESOURCE )ID|(?<=--id )ID", "LISTING"),
    (r"66aa10000000000000000b01", "RESERVATION"),
    (r"\bTYPE\b", "reservation.updated"),
    (r"--ack ID", "--ack 'attio-2.*'"),
    (r"\bTEXT\b|\"\.\.\.\"", '"somebody asked"'),
    (r"\bCODE\b", "auth-failed"),
    (r"(?<=--trace )\d+s", "1s"),
    (r"(?:INTEGRATION|ACME)/RESOURCE", "acme/listings"),
    (r"INTEGRATION", "acme"),
    (r"\bFILE\b|/etc/syncd/(syncd\.)?key", "KEYFILE"),
    (r" [<>] ?\S+$", ""),
)  # fmt: skip

YES = re.compile(r"backfill .*--since|bundle|dlq (?:replay|discard|purge)|webhook (?:replay .*--since|send)|verify")
"""They ask where a person sits; here nobody does."""

ALONE = re.compile(
    r"alerts(?! test)|check(?! --)|completion|dashboards|man|new|runbook|schema(?: (?:driver|partner|syncd))?$|plan .*--files"
)
"""What needs neither daemon nor database."""

ELSEWHERE = {
    r"run(?: --config DIR)?$": ("tests/whole/daemon.py", '("syncd", "run", "--config"'),
    r"run --embedded": ("tests/cli/test_run.py", '"--embedded"'),
    r"demo": ("tests/whole/test_demo.py", '"demo"'),
    r"top": ("tests/whole/test_top.py", '"top"'),
    r"credential login": ("tests/whole/test_login.py", '("credential", "login", integration'),
}
"""What has a test of its own, since it lasts, wants a terminal or a browser: the file, and how it begins there."""

LASTS = re.compile(r"status .*--watch|sim \w+")
"""Goes on until Ctrl-C; a simulator at a free port."""

STEPS = (
    r"webhook register|push (?!list|show)",
    r"webhook send",
    r"renormalize",
    r"memory --trace",
    r"dlq (?:list|show)|push (?:list|show)",
    r"",
    r"dlq replay .*--cancel",
    r"reload",
    r"pause",
    r"resume",
    r"breaker \S+ hold",
    r"breaker \S+ (?:release|reset)",
    r"reconcile(?!.*--confirm)",
    r"reconcile .*--confirm",
    r"dlq replay(?!.*--cancel)",
    r"dlq discard",
    r"dlq purge",
    r"credential (?:set|rotate)(?!.*--finish)",
    r"credential rotate .*--finish",
    r"key rotate(?! --(?:check|forget|everywhere))",
    r"key rotate",
    r"key rotate --forget-old",
)
"""In this order, the last that fits counts; within the empty one, the questions, several at once."""
QUESTIONS = STEPS.index("")

EXITS = {
    r"doctor(?! --ack)": (1,),  # this installation speaks http, and runs without a unit
    r"drift|contract|plan": (0,),
}  # fmt: skip

SAYS = {
    "sim": "base_url|stripe",
    "bundle": "MANIFEST",
    "adapters": "in force: v1",
    "alerts": r"- alert: SyncdDown|route:|\"schema\": \"syncd.alerts",
    "alerts test": "delivered|answered 2",
    "backfill": "acme/reservations|no backfill yet",
    "breaker": "closed|held|released|not open",
    "changes": "started",
    "check": "7 integrations",
    "completion": "_syncd_completion",
    "contract": "as its driver relies on",
    "credential list": "guesty_secret",
    "credential test": "authenticated",
    "credential set": "replaced",
    "credential rotate": "is in force|let in|finish|only #",
    "dashboards": '"uid": "syncd-',
    "dlq list": "syncd dlq show",
    "dlq show": "answered 422",
    "dlq replay": r"done|replay \d+ cancelled, \d+ letters? left",
    "dlq discard": "discarded",
    "dlq purge": "removed",
    "doctor": "to mend|acknowledged|verdict",
    "drift": "no drift",
    "dryrun": "nothing was written",
    "evidence": "acme",
    "healthcheck": "answered 200",
    "key rotate": "sealed with|opens|nothing to forget",
    "log-level": "until",
    "man": r"\.TH SYNCD",
    "memory": "resident|grown|traced|ended",
    "migrate": r"is current|\"pending\": \[\]",
    "new": "-m pytest",
    "pause": "paused until",
    "plan": "fits|speaks against it",
    "push": "waiting|done|already",
    "push list": "done|no pushes",
    "push show": "state +done",
    "reconcile": "wished for|confirmed",
    "records show": "written by",
    "records export": "exported",
    "reload": "configuration|asked for",
    "renormalize": "done",
    "resume": "resumed",
    "runbook": r"Meaning\.|auth-failed +The",
    "schema": r"\$schema|fields in|nothing new|accepted",
    "status": "healthy",
    "sync": "done|taken",
    "verify": "is verified",
    "webhook": "Commands",
    "webhook deliveries": "reservation.updated|no deliveries",
    "webhook list": "sound",
    "webhook register": "made a subscription|nothing to do",
    "webhook repair": "nothing to do|made a",
    "webhook replay": "once more|no finished",
    "webhook send": "verified",
    "webhook show": "rightly signed",
    "webhook types": "known",
    "--version": "syncd, version|0\\.",
}
"""By verb, what stands in an answer."""

WRONG = re.compile(r"Traceback|\bNo such\b|[Uu]sage:|^error:|Invalid value|unexpected", re.MULTILINE)


def runs(command: str) -> list[str]:
    """What is run for a command as it is said, without `syncd`; nothing where it has a test of its own."""
    for part, several in SEVERAL.items():
        if part in command:
            return [one for each in several for one in runs(command.replace(part, each))]
    words, bar, pipe = command.removeprefix("syncd ").partition(" | ")
    words = FILLS.get(words, words)
    if elsewhere(words):
        return []
    for pattern, word in WORDS:
        words = re.sub(pattern, word, words)
    words = FILLS.get(words, words)
    return [(words + " --yes" if YES.match(words) and "--yes" not in words else words) + bar + pipe]


def elsewhere(words: str) -> str:
    """The pattern of ELSEWHERE that fits; empty where none does."""
    return next((pattern for pattern in ELSEWHERE if re.match(rf"(?:{pattern})\b", words)), "")


def step(words: str) -> int:
    return max((at for at, pattern in enumerate(STEPS) if pattern and re.match(pattern, words)), default=QUESTIONS)


def judged(words: str, code: int, output: str) -> str:
    """What is wrong with an answer; empty where nothing is."""
    wanted = next((codes for pattern, codes in EXITS.items() if re.match(pattern, words)), (0,))
    if code not in wanted:
        return f"exit {code}"
    if words.endswith("--help"):
        return ""
    if found := WRONG.search(output):
        return f"says {found[0]!r}"
    first, _, rest = words.partition(" ")
    said = SAYS.get(f"{first} {rest.split(' ')[0]}", SAYS.get(first))
    if said is None:
        return "nobody says in SAYS what it answers"
    return "" if re.search(said, output) else f"does not say {said!r}"
