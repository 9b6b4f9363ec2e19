PRAGMA application_id = 1112700209;
PRAGMA user_version = 2;
CREATE TABLE batches (
    batch_id      INTEGER PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    realm         TEXT NOT NULL,              -- real, local (a test server) or sandbox
    manifest      TEXT NOT NULL
, was_lost INTEGER NOT NULL DEFAULT 0, seal INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE items (
    item_key      INTEGER PRIMARY KEY,
    batch_id      INTEGER NOT NULL REFERENCES batches,
    item_id       TEXT NOT NULL,
    digest        TEXT NOT NULL,              -- the item's part of its external ids
    line          INTEGER NOT NULL,
    in_manifest   INTEGER NOT NULL DEFAULT 1, -- 0: the line was removed; a live attempt is still followed
    kind          TEXT NOT NULL,
    priority      INTEGER NOT NULL,
    body          TEXT NOT NULL,
    fingerprint   TEXT NOT NULL,
    pack          TEXT NOT NULL,
    credits       TEXT NOT NULL,
    looked        INTEGER NOT NULL DEFAULT 0, -- 1: the account was searched for earlier tasks of this item
    status        TEXT NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'active', 'succeeded', 'failed')),
    reason        TEXT,
    error_code    INTEGER,
    error_message TEXT, model TEXT NOT NULL DEFAULT '', slots INTEGER NOT NULL DEFAULT 1, waits INTEGER NOT NULL DEFAULT 0, seal INTEGER NOT NULL DEFAULT 0,
    UNIQUE (batch_id, item_id)
) STRICT;
CREATE INDEX items_by_turn ON items (batch_id, status, priority DESC, line);
CREATE INDEX items_by_price ON items (batch_id, status, looked, in_manifest, pack, credits);
CREATE INDEX items_by_digest ON items (batch_id, digest);
CREATE TABLE attempts (
    attempt_id       INTEGER PRIMARY KEY,
    item_key         INTEGER NOT NULL REFERENCES items,
    number           INTEGER NOT NULL,
    external_task_id TEXT NOT NULL UNIQUE,
    fingerprint      TEXT NOT NULL,
    state            TEXT NOT NULL,
    task_id          TEXT,
    pack             TEXT NOT NULL,
    estimate         TEXT NOT NULL,
    held             TEXT NOT NULL,           -- the open hold; '0' once settled
    charged          TEXT,                    -- what the settlement took; null while open
    sends            INTEGER NOT NULL DEFAULT 0,
    submitted_at     REAL,
    finished_at      REAL, made TEXT, charge_source TEXT, seal INTEGER NOT NULL DEFAULT 0,
    UNIQUE (item_key, number)
) STRICT;
CREATE INDEX attempts_by_state ON attempts (state);
CREATE TABLE files (
    attempt_id INTEGER NOT NULL REFERENCES attempts,
    ordinal    INTEGER NOT NULL,
    path       TEXT NOT NULL,
    bytes      INTEGER NOT NULL,
    sha256     TEXT NOT NULL,
    count      INTEGER NOT NULL, seal INTEGER NOT NULL DEFAULT 0,              -- how many files the task made in all
    PRIMARY KEY (attempt_id, ordinal)
) STRICT;
CREATE TABLE entries (
    seq        INTEGER PRIMARY KEY,
    batch_id   INTEGER NOT NULL REFERENCES batches,
    at         REAL NOT NULL,
    entry      TEXT NOT NULL CHECK (entry IN ('hold', 'charge', 'release')),
    pack       TEXT NOT NULL,
    credits    TEXT NOT NULL,
    attempt_id INTEGER NOT NULL REFERENCES attempts,
    task_id    TEXT,
    consumed   TEXT NOT NULL,                 -- the pack's balances after the entry
    held       TEXT NOT NULL,
    budget     TEXT
, epoch TEXT NOT NULL DEFAULT '', uptime_s REAL NOT NULL DEFAULT 0, seal INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE INDEX entries_by_batch ON entries (batch_id, pack, seq);
CREATE TABLE runs (
    run_id      INTEGER PRIMARY KEY,
    batch_id    INTEGER NOT NULL REFERENCES batches,
    manifest    TEXT NOT NULL,
    budget      TEXT NOT NULL,                -- JSON object: pack -> credits
    exit_code   INTEGER NOT NULL,
    requests    TEXT NOT NULL,                -- JSON object of the counters
    started_at  REAL NOT NULL,
    finished_at REAL NOT NULL,
    wall_s      REAL NOT NULL
, seal INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE request_stamps (
    stamp_id INTEGER PRIMARY KEY,
    scope    TEXT NOT NULL,                   -- whose limit the request counts against
    epoch    TEXT NOT NULL,                   -- which clock loop_s belongs to
    loop_s   REAL NOT NULL,
    wall_s   REAL NOT NULL
, seal INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE sources (
    item_key  INTEGER NOT NULL REFERENCES items,
    source_id TEXT NOT NULL, seal INTEGER NOT NULL DEFAULT 0,                  -- the item, of the same batch, whose result this one takes
    PRIMARY KEY (item_key, source_id)
) STRICT;
CREATE INDEX sources_by_source ON sources (source_id);
CREATE TABLE moves (
    seq     INTEGER NOT NULL REFERENCES entries,
    number  INTEGER NOT NULL,                 -- from 1 within the entry
    source  TEXT NOT NULL CHECK (source IN ('available', 'held', 'consumed')),
    target  TEXT NOT NULL CHECK (target IN ('available', 'held', 'consumed') AND target <> source),
    credits TEXT NOT NULL,                    -- 0 or more
    PRIMARY KEY (seq, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX charges_by_time ON entries (pack, at) WHERE entry = 'charge';
CREATE INDEX charges_by_uptime ON entries (pack, epoch, uptime_s) WHERE entry = 'charge';
CREATE INDEX attempts_by_hold ON attempts (pack) WHERE held <> '0';
