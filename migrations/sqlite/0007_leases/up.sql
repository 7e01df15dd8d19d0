-- The processes that share this database. An instance belongs to the node that "lease_node" of its session names, for as long as that node's
-- row here has not expired.
CREATE TABLE holdfast_node (
  client_name TEXT NOT NULL,
  name TEXT NOT NULL,
  -- The data directory whose lock it holds, and the process.
  home TEXT NOT NULL,
  incarnation TEXT NOT NULL,
  url TEXT,
  version TEXT NOT NULL,
  -- Unix milliseconds by the clock of the database, all of them. A node that has left, or was never heard of, expires at 0.
  joined_ms BIGINT NOT NULL,
  seen_ms BIGINT NOT NULL,
  expires_ms BIGINT NOT NULL,
  draining BOOLEAN NOT NULL,
  PRIMARY KEY (client_name, name)
);

-- It was never an expiry. Since when nobody owns the session, by the same clock; empty if it has an owner, or never had one.
ALTER TABLE holdfast_session RENAME COLUMN lease_expires_at TO lease_ended_at;

-- Who deleted the instance, and whose it was: the last events of one that is gone are delivered by one node.
ALTER TABLE holdfast_outbox ADD COLUMN deleted_by TEXT;
ALTER TABLE holdfast_outbox ADD COLUMN client_name TEXT;
