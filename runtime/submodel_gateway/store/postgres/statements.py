"""The statements. Each is short, goes by an index, and names no schema: the session's search path does.

An `OFFSET 0` keeps a subquery from becoming one side of a join, of which the server may read all.

`%s` and `%b` are the driver's places for values; `%b` sends the binary form, which spares payloads an escape.
"""

from submodel_gateway.store.base import AHEAD_MAX, LATE_MAX, SCAN_MAX, USUAL_MAX
from submodel_gateway.store.postgres.columns import (
    COUNT_FIELDS,
    JOB_CHANGING,
    JOB_COLUMNS,
    JOB_WRITTEN,
    WEBHOOK_FIELDS,
    job_type,
)


def _list(names: tuple[str, ...], table: str = "") -> str:
    return ", ".join(f"{table}.{name}" if table else name for name in names)


def _records(columns: dict[str, str], name: str = "r") -> str:
    return f"json_to_recordset(%s::json) AS {name}({', '.join(f'{each} {kind}' for each, kind in columns.items())})"


_JOB_ROW = _records({name: job_type(name) for name in JOB_WRITTEN})
_JOB_UPDATE = _records({name: job_type(name) for name in ("id", *JOB_CHANGING)})
_KEY_ROW = {"endpoint": "text", "principal": "text", "key": "text"}
_ENTRY_ROW = {**_KEY_ROW, "job": "text", "body_hash": "text", "expires_at": "bigint", "state": "text"}
_WEBHOOK_ROW = {name: "text" if name in ("id", "endpoint", "answer") else "bigint" for name in WEBHOOK_FIELDS}
_COUNT_ROW = {"endpoint": "text", **dict.fromkeys(COUNT_FIELDS, "bigint")}

JOBS = f"SELECT {_list(JOB_COLUMNS)} FROM job"
PAYLOAD_INLINE_MAX = 65_536
"""Larger payloads are fetched one by one, for those jobs only that are handed out."""

# The transaction's frame.

BEGIN = "BEGIN"
RELAX = "SET LOCAL synchronous_commit = off"
COMMIT = "COMMIT"

REGISTER = "INSERT INTO gateway DEFAULT VALUES RETURNING id, group_no"
RETURN = "UPDATE gateway SET seen_at = clock_timestamp() WHERE id = %s RETURNING id, group_no"
_LOSSES = "EXISTS (SELECT FROM breaker WHERE losses <> '[]')"
# The mark that other gateways set their clocks by. Its wall time is that of its `now`: by the time at which it arrives
# here, its gateway would seem to be behind, and all together would fall back further with each mark that they follow.
SIGN = f"""
UPDATE gateway SET group_no = %s, now_ms = greatest(now_ms, %s),
    wall_at = coalesce(to_timestamp(%s::double precision / 1000), clock_timestamp())
WHERE id = %s RETURNING {_LOSSES}
"""
# Whoever collided queues up here before anything else, so that of those who do only one is under way at a time.
TURNSTILE = "SELECT 1 FROM gateway WHERE id = 0 FOR UPDATE"
SIGN_LATE = f"UPDATE gateway SET group_no = %s WHERE id = %s RETURNING {_LOSSES}"

OWN_COUNTS = f"SELECT endpoint, {_list(COUNT_FIELDS)} FROM tally WHERE gateway = %s"

# What a group looks at; rows that it may change are locked.

# Everybody locks in order of ids: two groups that want the same rows wait, but not for each other.
LOCK_JOBS = f"{JOBS} WHERE id = ANY(%s::text[]) ORDER BY id FOR UPDATE"
_GONE = _records({"endpoint": "text", "worker": "text"}, "gone")
_PURGED = _records({"endpoint": "text", "up_to": "bigint", "most": "bigint", "running": "boolean"}, "purged")
LOCK_MANY = f"""
{JOBS} WHERE id = ANY(ARRAY(
    SELECT unnest(%s::text[])
    UNION ALL
    SELECT held.id FROM {_GONE} CROSS JOIN LATERAL (
        SELECT id FROM job
        WHERE job.endpoint = gone.endpoint AND job.worker = gone.worker AND state = 'IN_PROGRESS' OFFSET 0
    ) AS held
    UNION ALL
    SELECT queued.id FROM {_PURGED} CROSS JOIN LATERAL (
        SELECT id FROM job
        WHERE job.endpoint = purged.endpoint AND state = 'IN_QUEUE' AND seq <= purged.up_to
        ORDER BY place, seq LIMIT purged.most
    ) AS queued
    UNION ALL
    SELECT started.id FROM {_PURGED} CROSS JOIN LATERAL (
        SELECT id FROM job
        WHERE purged.running AND job.endpoint = purged.endpoint AND state = 'IN_PROGRESS' AND seq <= purged.up_to
        ORDER BY seq LIMIT purged.most
    ) AS started
)) ORDER BY id FOR UPDATE
"""

NEW_JOBS = f"""
SELECT s.id, nextval('job_seq') FROM {_records({"id": "text", **_KEY_ROW}, "s")}
WHERE NOT EXISTS (SELECT FROM job WHERE job.id = s.id OFFSET 0) AND NOT EXISTS (
    SELECT FROM idempotency AS i
    WHERE i.endpoint = s.endpoint AND i.principal = s.principal AND i.key = s.key AND i.expires_at > %s OFFSET 0
)
"""
NEXT_SEQ = "SELECT nextval('job_seq')"

_READY = """
SELECT * FROM job WHERE endpoint = %s AND state = 'IN_QUEUE' AND run_at <= %s AND deadline > %s
ORDER BY place, seq LIMIT %s FOR UPDATE SKIP LOCKED
"""
READY = f"""
WITH ready AS MATERIALIZED ({_READY})
SELECT {_list(JOB_COLUMNS, "ready")}, payload.extra, payload.blob, payload.blob_bytes, payload.webhook,
    CASE WHEN octet_length(payload.input) <= {PAYLOAD_INLINE_MAX} THEN payload.input END
FROM ready LEFT JOIN LATERAL (SELECT * FROM payload WHERE payload.id = ready.id OFFSET 0) AS payload ON true
ORDER BY ready.place, ready.seq
"""
PAYLOAD = "SELECT extra, blob, blob_bytes, webhook, input FROM payload WHERE id = %s"

HELD = f"{JOBS} WHERE endpoint = %s AND worker = %s AND state = 'IN_PROGRESS' FOR UPDATE"
DUE = f"{JOBS} WHERE due_at <= %s ORDER BY due_at, seq LIMIT %s FOR UPDATE SKIP LOCKED"
QUEUED = f"{JOBS} WHERE endpoint = %s AND state = 'IN_QUEUE' AND seq <= %s ORDER BY place, seq LIMIT %s FOR UPDATE"
RUNNING = f"{JOBS} WHERE endpoint = %s AND state = 'IN_PROGRESS' AND seq <= %s ORDER BY seq LIMIT %s FOR UPDATE"
ANY_RUNNING = "SELECT 1 FROM job WHERE endpoint = %s AND state = 'IN_PROGRESS' LIMIT 1"

KEYS = f"""
SELECT i.endpoint, i.principal, i.key, i.job, i.body_hash, i.expires_at, i.state
FROM {_records(_KEY_ROW)} JOIN idempotency AS i USING (endpoint, principal, key)
"""
WEBHOOKS = f"SELECT {_list(WEBHOOK_FIELDS)} FROM webhook WHERE id = ANY(%s::text[]) ORDER BY id FOR UPDATE"
_DUE_WEBHOOKS = "SELECT * FROM webhook WHERE next_at <= %s ORDER BY next_at, id LIMIT %s FOR UPDATE SKIP LOCKED"
DUE_WEBHOOKS = f"""
WITH due AS MATERIALIZED ({_DUE_WEBHOOKS})
SELECT {_list(WEBHOOK_FIELDS, "due")}, payload.webhook FROM due
LEFT JOIN LATERAL (SELECT webhook FROM payload WHERE payload.id = due.id OFFSET 0) AS payload ON true
"""
BREAKERS = "SELECT endpoint, losses, version FROM breaker WHERE endpoint = ANY(%s::text[])"
LOCK_BREAKERS = 'SELECT 1 FROM breaker WHERE endpoint = ANY(%s::text[]) ORDER BY endpoint COLLATE "C" FOR UPDATE'
MARK = "SELECT swept_at, hold_until FROM sweep WHERE id = 0 FOR UPDATE"

# What a group writes, all rows of a kind at once.

INSERT_JOBS = f"INSERT INTO job ({_list(JOB_WRITTEN)}) SELECT {_list(JOB_WRITTEN)} FROM {_JOB_ROW}"
UPDATE_JOBS = f"""
UPDATE job SET {", ".join(f"{name} = r.{name}" for name in JOB_CHANGING)} FROM {_JOB_UPDATE} WHERE job.id = r.id
"""
UPDATE_STREAMED = """
UPDATE job SET chunks = r.chunks, chunk_bytes = r.chunk_bytes
FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS r (id, chunks, chunk_bytes) WHERE job.id = r.id
"""
INSERT_PAYLOADS = """
INSERT INTO payload (id, input, blob, blob_bytes, extra, webhook)
SELECT * FROM unnest(%s::text[], %b::bytea[], %s::text[], %s::bigint[], %b::bytea[], %s::text[])
"""
PUT_RESULTS = """
INSERT INTO result (id, output, blob, blob_bytes, error)
SELECT * FROM unnest(%s::text[], %b::bytea[], %s::text[], %s::bigint[], %b::bytea[])
ON CONFLICT (id) DO UPDATE
SET output = excluded.output, blob = excluded.blob, blob_bytes = excluded.blob_bytes, error = excluded.error
"""
PUT_PROGRESS = """
INSERT INTO progress (id, attempt, value) SELECT * FROM unnest(%s::text[], %s::bigint[], %b::bytea[])
ON CONFLICT (id) DO UPDATE SET attempt = excluded.attempt, value = excluded.value
"""
APPEND_CHUNKS = """
INSERT INTO chunk (id, attempt, seq, item) SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %b::bytea[])
"""
DROP_CHUNKS = "DELETE FROM chunk WHERE id = ANY(%s::text[])"
DROP_RESULTS = """
WITH gone AS (DELETE FROM result WHERE id = ANY(%s::text[]) RETURNING blob)
DELETE FROM blob_part WHERE name = ANY(ARRAY(SELECT blob FROM gone WHERE blob IS NOT NULL))
"""
DROP_PAYLOADS = """
WITH gone AS (DELETE FROM payload WHERE id = ANY(%s::text[]) RETURNING blob)
DELETE FROM blob_part WHERE name = ANY(ARRAY(SELECT blob FROM gone WHERE blob IS NOT NULL))
"""
DROP_BLOBS = "DELETE FROM blob_part WHERE name = ANY(%s::text[])"
DROP_PROGRESS = "DELETE FROM progress WHERE id = ANY(%s::text[])"
DROP_WEBHOOKS = "DELETE FROM webhook WHERE id = ANY(%s::text[])"
DROP_JOBS = "DELETE FROM job WHERE id = ANY(%s::text[])"

EXPIRE_KEYS = """
DELETE FROM idempotency WHERE (endpoint, principal, key) IN (
    SELECT endpoint, principal, key FROM idempotency WHERE expires_at <= %s ORDER BY expires_at LIMIT %s
    FOR UPDATE SKIP LOCKED
)
"""
DROP_ENDPOINTS_KEYS = """
DELETE FROM idempotency WHERE (endpoint, principal, key) IN (
    SELECT endpoint, principal, key FROM idempotency WHERE endpoint = %s LIMIT %s FOR UPDATE SKIP LOCKED
) RETURNING principal, key
"""
DROP_KEYS = f"""
DELETE FROM idempotency AS i USING {_records({**_KEY_ROW, "job": "text"})}
WHERE i.endpoint = r.endpoint AND i.principal = r.principal AND i.key = r.key AND i.job = r.job
"""
INSERT_KEYS = f"INSERT INTO idempotency ({_list(tuple(_ENTRY_ROW))}) SELECT * FROM {_records(_ENTRY_ROW)}"
SETTLE_KEYS = f"""
UPDATE idempotency AS i SET state = r.state FROM {_records({"job": "text", "state": "text"})} WHERE i.job = r.job
"""

PUT_WEBHOOKS = f"""
INSERT INTO webhook ({_list(WEBHOOK_FIELDS)}) SELECT {_list(WEBHOOK_FIELDS)} FROM {_records(_WEBHOOK_ROW)}
ON CONFLICT (id) DO UPDATE
SET gen = excluded.gen, tries = excluded.tries, nonce = excluded.nonce, next_at = excluded.next_at,
    answer = excluded.answer
"""
DROP_BREAKER = "DELETE FROM breaker WHERE endpoint = %s AND version = %s"
INSERT_BREAKER = "INSERT INTO breaker (endpoint, losses, version) VALUES (%s, %s, %s)"
PUT_MARK = "UPDATE sweep SET swept_at = %s, hold_until = %s WHERE id = 0"
PUT_ENDPOINT = """
INSERT INTO endpoint (id, registration) VALUES (%s, %b)
ON CONFLICT (id) DO UPDATE SET registration = excluded.registration
"""
DROP_ENDPOINT = "DELETE FROM endpoint WHERE id = %s"
DROP_ENDPOINTS_BREAKER = "DELETE FROM breaker WHERE endpoint = %s"
DROP_ENDPOINTS_LAST_KEYS = "DELETE FROM idempotency WHERE endpoint = %s"
ADD_COUNTS = f"""
INSERT INTO tally AS t (endpoint, gateway, group_no, {_list(COUNT_FIELDS)})
SELECT r.endpoint, %s::bigint, %s::bigint, {_list(COUNT_FIELDS, "r")} FROM {_records(_COUNT_ROW)}
ON CONFLICT (endpoint, gateway) DO UPDATE
SET group_no = excluded.group_no, {", ".join(f"{name} = t.{name} + excluded.{name}" for name in COUNT_FIELDS)}
"""

# What the service reads.

READ_JOBS = f"{JOBS} WHERE id = ANY(%s::text[])"
# With what they belong to: a record that was read before must not show what came after it.
RESULTS = """
SELECT id, gen, output, blob, blob_bytes, error FROM result JOIN job USING (id) WHERE id = ANY(%s::text[])
"""
READ_PROGRESS = """
SELECT id, attempt, value FROM progress JOIN job USING (id, attempt)
WHERE id = ANY(%s::text[]) AND state = 'IN_PROGRESS'
"""
CHUNKS = "SELECT item FROM chunk WHERE id = %s AND attempt = %s AND seq > %s ORDER BY seq LIMIT %s"
SOME_CHUNKS = 64
SOME_CHUNKS_BYTES = 65_536
"""What is read of a stream together with others: its next few items, and of these no more bytes; the rest are NULL."""
CHUNKS_OF_MANY = f"""
SELECT asked.place, CASE WHEN next.bytes <= {SOME_CHUNKS_BYTES} THEN next.item END
FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) WITH ORDINALITY AS asked (id, attempt, after, place)
CROSS JOIN LATERAL (
    SELECT seq, item, sum(octet_length(item)) OVER (ORDER BY seq) AS bytes FROM (
        SELECT seq, item FROM chunk
        WHERE chunk.id = asked.id AND chunk.attempt = asked.attempt AND seq > asked.after
        ORDER BY seq LIMIT {SOME_CHUNKS}
    ) AS few
) AS next
ORDER BY asked.place, next.seq
"""
SEQ_MAX = 2**63 - 1
_PAGE = "WHERE endpoint = %s AND seq < %s ORDER BY seq DESC"
NEWEST = f"""
SELECT {_list(JOB_COLUMNS)} FROM (SELECT * FROM job {_PAGE} LIMIT {SCAN_MAX}) AS seen
WHERE state = ANY(%s::text[]) ORDER BY seq DESC LIMIT %s
"""
NEWEST_EDGE = f"SELECT seq FROM job {_PAGE} LIMIT 2 OFFSET {SCAN_MAX - 1}"
READ_HELD = f"{JOBS} WHERE endpoint = %s AND worker = %s AND state = 'IN_PROGRESS' ORDER BY seq"
HOLDERS = "SELECT worker, count(*) FROM job WHERE endpoint = %s AND state = 'IN_PROGRESS' GROUP BY worker"
AHEAD = f"""
SELECT count(*) FROM (
    SELECT 1 FROM job WHERE endpoint = %s AND state = 'IN_QUEUE' AND (place, seq) < (%s, %s) LIMIT {AHEAD_MAX}
) AS before
"""
# As a range, the state fits no index but that of low priorities: another one would be read through for a few of them.
_LOW = "job.endpoint = asked.endpoint AND low_priority AND state BETWEEN '{0}' AND '{0}'"
_WAITS = "state = 'IN_QUEUE' AND NOT low_priority"
# Nothing is at or before NULL, and a queue whose oldest job is in time has no late ones to count.
BACKLOGS = f"""
SELECT oldest.at, CASE WHEN oldest.at <= asked.late_at THEN (
    SELECT count(*) FROM (
        SELECT 1 FROM job
        WHERE job.endpoint = asked.endpoint AND {_WAITS} AND queued_at <= asked.late_at LIMIT {LATE_MAX}
    ) AS late
) ELSE 0 END,
CASE WHEN EXISTS (SELECT 1 FROM job WHERE {_LOW.format("IN_QUEUE")}) THEN (
    SELECT count(*) FROM (
        SELECT 1 FROM job WHERE job.endpoint = asked.endpoint AND {_WAITS} LIMIT {USUAL_MAX}
    ) AS usual
) END,
(
    SELECT count(*) FROM (
        SELECT 1 FROM job WHERE {_LOW.format("IN_PROGRESS")} LIMIT {LATE_MAX}
    ) AS running_low
)
FROM unnest(%s::text[], %s::bigint[]) WITH ORDINALITY AS asked (endpoint, late_at, place)
CROSS JOIN LATERAL (
    SELECT min(queued_at) AS at FROM job WHERE job.endpoint = asked.endpoint AND {_WAITS}
) AS oldest
ORDER BY asked.place
"""
ENDPOINTS = "SELECT id, registration FROM endpoint"
NEXT_DUE = """
SELECT least(
    (SELECT min(due_at) FROM job),
    (SELECT min(run_at) FROM job WHERE state = 'IN_QUEUE' AND run_at > 0 AND run_at > %s),
    (SELECT min(expires_at) FROM idempotency)
)
"""
NEXT_WEBHOOK = "SELECT min(next_at) FROM webhook WHERE next_at IS NOT NULL"
READ_WEBHOOK = f"SELECT {_list(WEBHOOK_FIELDS)} FROM webhook WHERE id = %s AND endpoint = %s"
LAST_SEQ = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM job_seq"
_MS = "(extract(epoch FROM {}) * 1000)::bigint"
# A mark of the future is one of before the database's clock was set back: the last one of a gateway that is gone would
# stand before those of all others for as long as that.
TIME = f"""
SELECT {_MS.format("clock_timestamp()")}, coalesce(mark.now_ms, (SELECT max(now_ms) FROM gateway)),
    {_MS.format("mark.wall_at")}
FROM (SELECT 1) AS always
LEFT JOIN (
    SELECT now_ms, wall_at FROM gateway WHERE now_ms > 0 AND wall_at <= clock_timestamp() ORDER BY wall_at DESC LIMIT 1
) AS mark ON true
"""

# What gateways learn of each other, and housekeeping.

OTHERS = f"""
SELECT g.id, t.endpoint, t.group_no, {_list(COUNT_FIELDS, "t")}
FROM gateway AS g
LEFT JOIN unnest(%s::bigint[], %s::bigint[]) AS seen(gateway, group_no) ON seen.gateway = g.id
LEFT JOIN tally AS t ON t.gateway = g.id AND (seen.group_no IS NULL OR t.group_no > seen.group_no)
WHERE g.id <> %s
"""
NOTIFY = "SELECT pg_notify(%s, %s)"
# What gateways tell each other. Rows of gateways that are silent for long are void; gateways repeat theirs often.

_WORD_ROW = {"endpoint": "text", "document": "text"}
_VERSION = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
TELL = f"""
INSERT INTO word AS w (endpoint, teller, version, document, told_at)
SELECT endpoint, %s, {_VERSION}, convert_to(document, 'UTF8'), clock_timestamp() FROM {_records(_WORD_ROW)}
ON CONFLICT (endpoint, teller) DO UPDATE SET
    version = CASE w.document WHEN excluded.document THEN w.version ELSE greatest(excluded.version, w.version + 1) END,
    document = excluded.document, told_at = excluded.told_at
"""
UNTELL = "DELETE FROM word WHERE teller = %s AND endpoint = ANY(%s::text[])"
FORGET_WORDS = "DELETE FROM word WHERE endpoint = %s"
DROP_OLD_WORDS = "DELETE FROM word WHERE teller <> 0 AND told_at < clock_timestamp() - interval '1 hour'"
WORD_SECONDS = 15
WORDS = f"""
SELECT endpoint, teller, version FROM word
WHERE teller = 0 OR (teller <> %s AND told_at > clock_timestamp() - interval '{WORD_SECONDS} seconds')
"""
READ_WORDS = """
SELECT endpoint, teller, version, document FROM word JOIN unnest(%s::text[], %s::bigint[]) AS asked(endpoint, teller)
USING (endpoint, teller)
"""
# The operator's word waits for the disk, although the connection it goes by does not.
_DURABLE = "WITH durable AS (SELECT set_config('synchronous_commit', 'on', true))"
ORDER_FIRST = f"""
{_DURABLE} INSERT INTO word (endpoint, teller, version, document) SELECT %s, 0, {_VERSION}, %b FROM durable
ON CONFLICT (endpoint, teller) DO NOTHING RETURNING version
"""
ORDER_NEXT = f"""
{_DURABLE} UPDATE word SET version = greatest({_VERSION}, version + 1), document = %b, told_at = clock_timestamp()
FROM durable WHERE endpoint = %s AND teller = 0 AND version = %s RETURNING version
"""
READER = "SELECT attempt, place FROM reader WHERE job = %s"
READ_ON = """
INSERT INTO reader AS r (job, attempt, place) VALUES (%s, %s, %s)
ON CONFLICT (job) DO UPDATE SET attempt = excluded.attempt, place = excluded.place, read_at = excluded.read_at
WHERE (r.attempt, r.place) <= (excluded.attempt, %s) RETURNING 1
"""
DROP_OLD_READERS = "DELETE FROM reader WHERE read_at < clock_timestamp() - interval '1 hour'"
DIGESTS = "SELECT id, md5(registration) FROM endpoint"
READ_REGISTRATION = "SELECT registration FROM endpoint WHERE id = %s"
READ_RUNNING = f"{JOBS} WHERE endpoint = %s AND state = 'IN_PROGRESS'"

# Each gateway shares a lock for as long as the connection lasts on which it listens: who is gone is not counted,
# nothing has to be written or to expire, and no clocks are compared.
PRESENCE = 0x5B_30DE2
ENTER = "SELECT pg_advisory_lock_shared(%s)"
PRESENT = """
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted AND classid = 0 AND objid = %s::bigint AND objsubid = 1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
STAY = """
UPDATE gateway SET seen_at = clock_timestamp() WHERE id = %s AND seen_at < clock_timestamp() - interval '10 minutes'
"""
# The counts of gateways that are gone become those of row 0. A transaction of theirs that still runs holds their row.
FOLD = f"""
WITH dead AS (
    DELETE FROM gateway
    WHERE id IN (
        SELECT id FROM gateway
        WHERE id <> 0 AND id <> %s AND seen_at < clock_timestamp() - interval '1 hour'
            AND (wall_at IS NULL OR wall_at < clock_timestamp() - interval '1 hour') FOR UPDATE SKIP LOCKED
    )
    RETURNING id, now_ms, wall_at
), fold AS (
    UPDATE gateway AS g
    SET group_no = g.group_no + 1, now_ms = greatest(g.now_ms, last.now_ms),
        wall_at = greatest(g.wall_at, last.wall_at)
    FROM (SELECT max(now_ms) AS now_ms, max(wall_at) AS wall_at FROM dead HAVING count(*) > 0) AS last
    WHERE g.id = 0 RETURNING g.group_no
), counts AS (
    DELETE FROM tally WHERE gateway IN (SELECT id FROM dead) RETURNING *
)
INSERT INTO tally AS t (endpoint, gateway, group_no, {_list(COUNT_FIELDS)})
SELECT endpoint, 0, (SELECT group_no FROM fold), {", ".join(f"sum({name})" for name in COUNT_FIELDS)}
FROM counts GROUP BY endpoint
ON CONFLICT (endpoint, gateway) DO UPDATE
SET group_no = excluded.group_no, {", ".join(f"{name} = t.{name} + excluded.{name}" for name in COUNT_FIELDS)}
"""

PUT_PART = "INSERT INTO blob_part (name, part, data) VALUES (%s, %s, %b)"
PARTS = "SELECT data FROM blob_part WHERE name = %s AND part >= %s AND part < %s ORDER BY part"
_UNUSED = """
NOT EXISTS (SELECT FROM payload WHERE payload.blob = blob_part.name)
AND NOT EXISTS (SELECT FROM result WHERE result.blob = blob_part.name)
"""
DISCARD = f"DELETE FROM blob_part WHERE name = %s AND {_UNUSED}"
# Its age begins anew with the transaction that refers to it. So who looks for orphans passes over it, whatever has
# become of clocks since it was written; and a row that is not found any more has been taken for one.
KEEP = "UPDATE blob_part SET wall_at = clock_timestamp() WHERE name = %s AND part = 0 RETURNING 1"
DROP_ORPHANS = f"""
DELETE FROM blob_part WHERE name IN (
    SELECT name FROM blob_part WHERE part = 0 AND wall_at < clock_timestamp() - %s * interval '1 second' AND {_UNUSED}
    ORDER BY wall_at LIMIT 100 FOR UPDATE SKIP LOCKED
)
"""
