-- state.db, schema 2: every product, results that later items take, models in the ledger.

ALTER TABLE items ADD COLUMN model TEXT NOT NULL DEFAULT '';      -- empty until a manifest of schema 1 is loaded anew
ALTER TABLE items ADD COLUMN slots INTEGER NOT NULL DEFAULT 1;    -- of the account's slots, while its task lives

ALTER TABLE items ADD COLUMN waits INTEGER NOT NULL DEFAULT 0;    -- sources that have not succeeded yet

ALTER TABLE attempts ADD COLUMN made TEXT;                        -- JSON object of ids that later items may name

CREATE TABLE sources (
    item_key  INTEGER NOT NULL REFERENCES items,
    source_id TEXT NOT NULL,                  -- the item, of the same batch, whose result this one takes
    PRIMARY KEY (item_key, source_id)
) STRICT;

CREATE INDEX sources_by_source ON sources (source_id);

-- Double entry: what an entry moves from one account of its pack to another; a balance is the sum of its moves.
CREATE TABLE moves (
    seq     INTEGER NOT NULL REFERENCES entries,
    number  INTEGER NOT NULL,                 -- from 1 within the entry
    source  TEXT NOT NULL CHECK (source IN ('available', 'held', 'consumed')),
    target  TEXT NOT NULL CHECK (target IN ('available', 'held', 'consumed') AND target <> source),
    credits TEXT NOT NULL,                    -- 0 or more
    PRIMARY KEY (seq, number)
) STRICT, WITHOUT ROWID;

ALTER TABLE entries ADD COLUMN epoch TEXT NOT NULL DEFAULT '';    -- which clock uptime_s belongs to; empty: none
ALTER TABLE entries ADD COLUMN uptime_s REAL NOT NULL DEFAULT 0;  -- on a clock that no change of the wall time moves

CREATE INDEX charges_by_time ON entries (pack, at) WHERE entry = 'charge';
CREATE INDEX charges_by_uptime ON entries (pack, epoch, uptime_s) WHERE entry = 'charge';
CREATE INDEX attempts_by_hold ON attempts (pack) WHERE held <> '0';

ALTER TABLE attempts ADD COLUMN charge_source TEXT;               -- server or estimate: whose figure charged is; null: unknown

ALTER TABLE batches ADD COLUMN was_lost INTEGER NOT NULL DEFAULT 0; -- 1: a lost store knew it, and calls that nobody else knows

-- A checksum of the row, so that damage is told; see soundness.py.
ALTER TABLE batches ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;
ALTER TABLE items ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sources ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;
ALTER TABLE files ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;
ALTER TABLE entries ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;
ALTER TABLE request_stamps ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;
