-- What an instance is to the engine: the operator's wish, the session's revision, and who may write it.
CREATE TABLE holdfast_session (
  instance_id TEXT NOT NULL PRIMARY KEY REFERENCES "Instance" ("id") ON UPDATE CASCADE ON DELETE CASCADE,
  desired TEXT NOT NULL DEFAULT 'stopped' CHECK (desired IN ('connected', 'stopped')),
  paired BOOLEAN NOT NULL DEFAULT FALSE,
  revision BIGINT NOT NULL DEFAULT 0,
  epoch BIGINT NOT NULL DEFAULT 0,
  -- No node: nobody may write.
  lease_node TEXT,
  -- Unix milliseconds; empty where the lock on the data directory makes other owners impossible.
  lease_expires_at BIGINT,
  last_online_at BIGINT
);

-- The Signal state and whatever else belongs to a login, each value encrypted.
CREATE TABLE holdfast_session_value (
  instance_id TEXT NOT NULL REFERENCES "Instance" ("id") ON UPDATE CASCADE ON DELETE CASCADE,
  category TEXT NOT NULL,
  key TEXT NOT NULL,
  value BLOB NOT NULL,
  -- Unix seconds.
  expires_at BIGINT,
  PRIMARY KEY (instance_id, category, key)
) WITHOUT ROWID;

-- The messages that were handed over: a redelivery is recognised by its row.
CREATE TABLE holdfast_accepted (
  instance_id TEXT NOT NULL REFERENCES "Instance" ("id") ON UPDATE CASCADE ON DELETE CASCADE,
  chat TEXT NOT NULL,
  sender TEXT NOT NULL,
  message_id TEXT NOT NULL,
  accepted_at BIGINT NOT NULL,
  PRIMARY KEY (instance_id, chat, sender, message_id)
) WITHOUT ROWID;
CREATE INDEX holdfast_accepted_age ON holdfast_accepted (accepted_at);

-- Events on their way to the sinks. No reference to the instance: its last events are delivered after it is gone.
CREATE TABLE holdfast_outbox (
  seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  event_id TEXT NOT NULL,
  instance_id TEXT NOT NULL,
  instance_name TEXT NOT NULL,
  token TEXT,
  owner_jid TEXT,
  sink TEXT NOT NULL,
  event TEXT NOT NULL,
  data TEXT NOT NULL,
  at_ms BIGINT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  due_ms BIGINT NOT NULL,
  state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'dead')),
  why TEXT,
  -- When it was given up.
  dead_ms BIGINT,
  -- The target at the time of the event, for when the instance is gone.
  url TEXT NOT NULL,
  headers TEXT,
  by_events BOOLEAN NOT NULL
);
CREATE INDEX holdfast_outbox_pending ON holdfast_outbox (sink, instance_id, seq) WHERE state = 'pending';
CREATE INDEX holdfast_outbox_dead ON holdfast_outbox (dead_ms) WHERE state = 'dead';

-- Sessions that ended, and credentials that were replaced: still encrypted, pruned after a while.
CREATE TABLE holdfast_archive (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  instance_id TEXT NOT NULL REFERENCES "Instance" ("id") ON UPDATE CASCADE ON DELETE CASCADE,
  archived_at BIGINT NOT NULL,
  reason TEXT NOT NULL,
  -- 'creds' (the text of Session.creds) or the category of a value.
  category TEXT NOT NULL,
  key TEXT NOT NULL,
  value BLOB NOT NULL
);
CREATE INDEX holdfast_archive_instance ON holdfast_archive (instance_id);
CREATE INDEX holdfast_archive_age ON holdfast_archive (archived_at);

-- Facts about the database itself.
CREATE TABLE holdfast_meta (
  key TEXT NOT NULL PRIMARY KEY,
  value BLOB NOT NULL
);
