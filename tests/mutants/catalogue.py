"""Planted bugs of the job engine, each of which the tests must find.

A mutant is a few replacements of text and no patch file: it says what is broken in a line, it still applies when code
around it moves, and where it does not (the text is gone, or there twice) that is a failure and not a guess.
"""

from dataclasses import dataclass
from pathlib import Path

TRANSITION = "jobs/transition.py"
EXECUTE = "store/execute.py"
MEMORY = "store/memory_rows.py"
SQLITE = "store/sqlite*.py"
POSTGRES = "store/postgres/*.py"

CORE, ON_SQLITE, ON_POSTGRES, RACING = "core", "sqlite", "postgres", "races"


@dataclass(frozen=True, slots=True)
class Edit:
    """`old` occurs exactly once in the files that match `paths`, below the gateway's package."""

    paths: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug. `part` names the tests that must find it."""

    name: str
    part: str
    edits: tuple[Edit, ...]


def _core(name: str, *edits: Edit) -> Mutant:
    return Mutant(name, CORE, edits)


def _sqlite(name: str, old: str, new: str) -> Mutant:
    return Mutant(f"SQLite: {name}", ON_SQLITE, (Edit(SQLITE, old, new),))


def _postgres(name: str, old: str, new: str, part: str = ON_POSTGRES) -> Mutant:
    return Mutant(f"PostgreSQL: {name}", part, (Edit(POSTGRES, old, new),))


MUTANTS = (
    _core(
        "no fence: any token writes to a running job",
        Edit(
            TRANSITION,
            "return job.state is JobState.IN_PROGRESS and job.answers_to(token)",
            "return job.state is JobState.IN_PROGRESS",
        ),
    ),
    _core(
        "a cancelled job can be finished",
        Edit(
            TRANSITION,
            "    if _holds(job, event.token):\n        if event.failed",
            "    if _holds(job, event.token) or job.state is JobState.CANCELLED:\n        if event.failed",
        ),
    ),
    _core(
        "takes ignore the time to live",
        Edit(TRANSITION, "job.run_at > now or job.deadline <= now:", "job.run_at > now:"),
        Edit(MEMORY, "if job.run_at <= now < job.deadline]", "if job.run_at <= now]"),
    ),
    _core(
        "a second take is the same attempt",
        Edit(TRANSITION, "attempt=job.attempt + 1,", "attempt=max(job.attempt, 1),"),
    ),
    _core(
        "leases of one take share their token's nonce",
        Edit(EXECUTE, "nonce = (op.nonce + len(leases)) % NONCES", "nonce = op.nonce % NONCES"),
    ),
    _core(
        "a retry keeps the attempts that were used",
        Edit(TRANSITION, "_requeue(job, used=0, run_at=0),", "_requeue(job, used=job.used, run_at=0),"),
    ),
    _core(
        "a retry keeps its old deadline",
        Edit(TRANSITION, "            deadline=now + job.ttl_ms,\n", ""),
    ),
    _core(
        "the tally forgets returns to the queue",
        Edit("jobs/tally.py", "if before is JobState.IN_PROGRESS and", "if before is JobState.FAILED and"),
    ),
    _core(
        "a hole in the chunks is accepted",
        Edit(TRANSITION, "event.seq > job.chunks + 1:", "event.seq > job.chunks + 2:"),
    ),
    _core(
        "idempotency ignores who asks",
        Edit(EXECUTE, "rows.key(op.endpoint, key.principal, key.key)", 'rows.key(op.endpoint, "", key.key)'),
        Edit(EXECUTE, "rows.put_key(op.endpoint, key.principal, key.key,", 'rows.put_key(op.endpoint, "", key.key,'),
    ),
    _core(
        "an idempotency key never expires",
        Edit(EXECUTE, "entry is None or entry.expires_at <= now:", "entry is None:"),
    ),
    _core(
        "a purge takes what came later",
        Edit(MEMORY, "[job for job in jobs if job.seq <= up_to][:limit]", "jobs[:limit]"),
    ),
    _core(
        "a lost worker is not charged",
        Edit(
            TRANSITION,
            "_requeue(job, used=job.used, run_at=run_at), stop=True, lost=True)",
            "_requeue(job, used=job.used - 1, run_at=run_at), stop=True, lost=True)",
        ),
    ),
    _core(
        "a graceful release is charged",
        Edit(
            TRANSITION,
            "return Transition(job, _requeue(job, used=job.used - 1, run_at=0))\n",
            "return Transition(job, _requeue(job, used=job.used, run_at=0))\n",
        ),
    ),
    _core(
        "no result closes the breaker",
        Edit(EXECUTE, "elif done.delivered and rows.breaker(job.endpoint).losses:", "elif False:"),
    ),
    _core(
        "the breaker counts losses instead of jobs",
        Edit(
            "jobs/breaker.py",
            "if loss.job != job and loss.at > now - WINDOW_MS]",
            "if loss.at > now - WINDOW_MS]",
        ),
    ),
    _core(
        "takes ignore the breaker",
        Edit(EXECUTE, "if not breaker.is_open(rows.breaker(op.endpoint), now):", "if now:"),
    ),
    _core(
        "a webhook goes out when an error is only repeated",
        Edit(
            EXECUTE,
            "if done.ended and job.webhook is WebhookState.PENDING:",
            "if done.requeued or (done.ended and job.webhook is WebhookState.PENDING):",
        ),
    ),
    _core(
        "a job that no worker ended has no webhook",
        Edit(
            EXECUTE,
            "if done.ended and job.webhook is WebhookState.PENDING:",
            "if done.delivered and job.webhook is WebhookState.PENDING:",
        ),
    ),
    _core(
        "a slow dispatcher settles what another one has",
        Edit(
            EXECUTE,
            "return webhook if (webhook.gen, webhook.nonce) == (op.gen, op.nonce) else None",
            "return webhook if webhook.gen == op.gen else None",
        ),
    ),
    _core(
        "a job is forgotten before its webhook is settled",
        Edit("jobs/record.py", "if self.webhook in (WebhookState.PENDING, WebhookState.DEAD) and", "if False and"),
    ),
    _core(
        "after an outage running jobs are not held",
        Edit(TRANSITION, "if running and now < event.hold_until and", "if running and now < 0 and"),
    ),
    _core(
        "after an outage what is taken then is held too",
        Edit(TRANSITION, "and (job.taken_at or 0) < event.back_at:", "and event.back_at:"),
    ),
    _core(
        "every sweep is taken for the end of an outage",
        Edit(EXECUTE, "max(mark.swept_at, op.seen_at) > op.away_ms", "max(mark.swept_at, op.seen_at) >= 0"),
    ),
    _core(
        "priorities do not age",
        Edit(
            "jobs/record.py", "return self.queued_at - self.pri * AGING_MS", "return self.queued_at - self.pri * 2**48"
        ),
    ),
    _core(
        "a repeated result replaces the output",
        Edit(EXECUTE, "and outcome.change.ended and outcome.change.after", "and outcome.change.after"),
    ),
    _core(
        "a group that fails leaves half of itself in memory",
        Edit("store/memory.py", "rows = self._rows.copy()", "rows = self._rows"),
    ),
    _sqlite(
        "a purge takes what came later",
        "'IN_QUEUE' AND seq <= ? ORDER BY place",
        "'IN_QUEUE' AND ? > 0 ORDER BY place",
    ),
    _sqlite(
        "takes go by number instead of place",
        "deadline > ? ORDER BY place, seq LIMIT",
        "deadline > ? ORDER BY seq LIMIT",
    ),
    _sqlite(
        "idempotency ignores who asks",
        "WHERE endpoint = ? AND principal = ? AND key = ?",
        "WHERE endpoint = ? AND ? > '' AND key = ?",
    ),
    _sqlite(
        "counts of a failed group stay",
        '"""The transaction never was."""\n        self._begin()',
        '"""The transaction never was."""',
    ),
    _sqlite(
        "chunks of a lost attempt stay",
        "if change.before.chunks and not job.chunks:",
        "if change.before.chunks < 0:",
    ),
    _sqlite(
        "running jobs are remembered after their end",
        "            self._running.pop(id, None)\n",
        "",
    ),
    _sqlite(
        "files of forgotten jobs stay",
        "            self._dropped.append(blob.name)\n",
        "",
    ),
    _sqlite(
        "a group's takes do not see what is cancelled between them",
        "                del self._heads[job.endpoint]\n                return\n",
        "                return\n",
    ),
    _sqlite(
        "a group's takes do not see who comes first",
        "            del self._heads[job.endpoint]\n        elif",
        "            pass\n        elif",
    ),
    _sqlite(
        "what changes twice in a group is written in part",
        "(earlier[0] if earlier else before, after)",
        "(before, after)",
    ),
    _sqlite(
        "reads of a group do not see its changes",
        "        self._pending.write()\n        return super().jobs(",
        "        return super().jobs(",
    ),
    _postgres(
        "scans do not see what the group did before",
        "    def _scan(self, statement: str, *values: Any) -> list[Job]:\n        self.flush()\n",
        "    def _scan(self, statement: str, *values: Any) -> list[Job]:\n",
    ),
    _postgres(
        "takes believe that they know the whole queue",
        "            if place > self.horizon:\n                return\n",
        "",
    ),
    _postgres(
        "a retry shows the result that its own group brought",
        "    def _reopen(self, entry: Entry, job: Job) -> None:\n        self._pending.drop_result(job.id)\n",
        "    def _reopen(self, entry: Entry, job: Job) -> None:\n",
    ),
    _postgres(
        "keys forget how a forgotten job ended",
        ".settled[job.id] = job.state",
        ".settled.get(job.id)",
    ),
    _postgres(
        "sweeps take the oldest job instead of the most overdue",
        "due_at <= %s ORDER BY due_at, seq LIMIT",
        "due_at <= %s ORDER BY seq LIMIT",
    ),
    _postgres(
        "a page may end where the look ends and lead nowhere",
        "LIMIT 2 OFFSET {SCAN_MAX - 1}",
        "LIMIT 2 OFFSET {SCAN_MAX}",
    ),
    _postgres(
        "jobs are read without being locked",
        'LOCK_JOBS = f"{JOBS} WHERE id = ANY(%s::text[]) ORDER BY id FOR UPDATE"',
        'LOCK_JOBS = f"{JOBS} WHERE id = ANY(%s::text[]) ORDER BY id"',
        RACING,
    ),
    _postgres(
        "two gateways take the same job",
        "ORDER BY place, seq LIMIT %s FOR UPDATE SKIP LOCKED",
        "ORDER BY place, seq LIMIT %s",
        RACING,
    ),
    _postgres(
        "breakers are locked in the order in which they are found",
        """ = ANY(%s::text[]) ORDER BY endpoint COLLATE "C" FOR UPDATE'""",
        """ = ANY(%s::text[]) FOR UPDATE'""",
        RACING,
    ),
    _postgres(
        "breakers are locked as people sort them",
        """ORDER BY endpoint COLLATE "C" FOR UPDATE""",
        """ORDER BY lower(endpoint) FOR UPDATE""",
        RACING,
    ),
    _postgres(
        "breakers are locked one by one, as takes come to them",
        "self.lock_breakers()",
        "self._transaction.fetch(sql.LOCK_BREAKERS, [endpoint])",
        RACING,
    ),
)


def plant(mutant: Mutant, package: Path) -> dict[Path, str]:
    """The files of the gateway's package that the bug changes, and their new text.

    Raises `ValueError` when a place is not there, or is not the only one.
    """
    changed: dict[Path, str] = {}
    for edit in mutant.edits:
        texts = {file: changed.get(file) or file.read_text() for file in package.glob(edit.paths)}
        places = [file for file, text in texts.items() for _ in range(text.count(edit.old))]
        if len(places) != 1:
            raise ValueError(f"{edit.paths} holds this {len(places)} times instead of once, adapt it: {edit.old!r}")
        (file,) = places
        changed[file] = texts[file].replace(edit.old, edit.new)
    return changed
