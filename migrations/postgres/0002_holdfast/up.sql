-- What an instance is to the engine: the operator's wish, the session's revision, and who may write it.
CREATE TABLE holdfast_session (
  instance_id text NOT NULL PRIMARY KEY REFERENCES "Instance" ("id") ON UPDATE CASCADE ON DELETE CASCADE,
  desired text NOT NULL DEFAULT 'stopped' CHECK (desired IN ('connected', 'stopped')),
  paired boolean NOT NULL DEFAULT false,
  revision bigint NOT NULL DEFAULT 0,
  epoch bigint NOT NULL DEFAULT 0,
  -- No node: nobody may write.
  lease_node text,
  -- Unix milliseconds; empty where the lock on the data directory makes other owners impossible.
  lease_expires_at bigint,
  last_online_at bigint
);

-- The Signal state and whatever else belongs to a login, each value encrypted. Keys are compared by their bytes, because ranges of them
-- are read by their prefix.
CREATE TABLE holdfast_session_value (
  instance_id text NOT NULL REFERENCES "Instance" ("id") ON UPDATE CASCADE ON DELETE CASCADE,
  category text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  value bytea NOT NULL,
  -- Unix seconds.
  expires_at bigint,
  PRIMARY KEY (instance_id, category, key)
);

-- The messages that were handed over: a redelivery is recognised by its row.
CREATE TABLE holdfast_accepted (
  instance_id text NOT NULL REFERENCES "Instance" ("id") ON UPDATE CASCADE ON DELETE CASCADE,
  chat text NOT NULL,
  sender text NOT NULL,
  message_id text NOT NULL,
  accepted_at bigint NOT NULL,
  PRIMARY KEY (instance_id, chat, sender, message_id)
);
CREATE INDEX holdfast_accepted_age ON holdfast_accepted (accepted_at);

-- Events on their way to the sinks. No reference to the instance: its last events are delivered after it is gone.
CREATE TABLE holdfast_outbox (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  event_id text NOT NULL,
  instance_id text NOT NULL,
  instance_name text NOT NULL,
  token text,
  owner_jid text,
  sink text NOT NULL,
  event text NOT NULL,
  data text NOT NULL,
  at_ms bigint NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  due_ms bigint NOT NULL,
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'dead')),
  why text,
  -- When it was given up.
  dead_ms bigint,
  -- The target at the time of the event, for when the instance is gone.
  url text NOT NULL,
  headers text,
  by_events boolean NOT NULL
);
CREATE INDEX holdfast_outbox_pending ON holdfast_outbox (sink, instance_id, seq) WHERE state = 'pending';
CREATE INDEX holdfast_outbox_dead ON holdfast_outbox (dead_ms) WHERE state = 'dead';

-- Sessions that ended, and credentials that were replaced: still encrypted, pruned after a while.
CREATE TABLE holdfast_archive (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  instance_id text NOT NULL REFERENCES "Instance" ("id") ON UPDATE CASCADE ON DELETE CASCADE,
  archived_at bigint NOT NULL,
  reason text NOT NULL,
  -- 'creds' (the text of Session.creds) or the category of a value.
  category text NOT NULL,
  key text NOT NULL,
  value bytea NOT NULL
);
CREATE INDEX holdfast_archive_instance ON holdfast_archive (instance_id);
CREATE INDEX holdfast_archive_age ON holdfast_archive (archived_at);

-- Facts about the database itself.
CREATE TABLE holdfast_meta (
  key text NOT NULL PRIMARY KEY,
  value bytea NOT NULL
);
