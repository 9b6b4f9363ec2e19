PRAGMA application_id = 1112700209;
PRAGMA user_version = 1;
CREATE TABLE batches (
    batch_id      INTEGER PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    realm         TEXT NOT NULL,              -- real, local (a test server) or sandbox
    manifest      TEXT NOT NULL
) STRICT;
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
    error_message TEXT,
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
    finished_at      REAL,
    UNIQUE (item_key, number)
) STRICT;
CREATE INDEX attempts_by_state ON attempts (state);
CREATE TABLE files (
    attempt_id INTEGER NOT NULL REFERENCES attempts,
    ordinal    INTEGER NOT NULL,
    path       TEXT NOT NULL,
    bytes      INTEGER NOT NULL,
    sha256     TEXT NOT NULL,
    count      INTEGER NOT NULL,              -- how many files the task made in all
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
) STRICT;
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
) STRICT;
CREATE TABLE request_stamps (
    stamp_id INTEGER PRIMARY KEY,
    scope    TEXT NOT NULL,                   -- whose limit the request counts against
    epoch    TEXT NOT NULL,                   -- which clock loop_s belongs to
    loop_s   REAL NOT NULL,
    wall_s   REAL NOT NULL
) STRICT;
