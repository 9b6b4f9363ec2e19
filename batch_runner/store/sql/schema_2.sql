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
