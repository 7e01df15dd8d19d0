-- Requests to send that carry an idempotency key. A row is there before its message leaves.
CREATE TABLE holdfast_send (
  instance_id TEXT NOT NULL REFERENCES "Instance" ("id") ON UPDATE CASCADE ON DELETE CASCADE,
  key TEXT NOT NULL,
  fingerprint BLOB NOT NULL,
  message_id TEXT NOT NULL,
  -- Whether the message may have left: from the beginning of a request until it is known that it has not.
  may_have_left BOOLEAN NOT NULL DEFAULT TRUE,
  -- The answer, once it is final: HTTP status and JSON.
  status INTEGER,
  answer TEXT,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (instance_id, key)
) WITHOUT ROWID;
CREATE INDEX holdfast_send_age ON holdfast_send (created_at);
