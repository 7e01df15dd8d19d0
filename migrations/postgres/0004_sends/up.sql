-- Requests to send that carry an idempotency key. A row is there before its message leaves.
CREATE TABLE holdfast_send (
  instance_id text NOT NULL REFERENCES "Instance" ("id") ON UPDATE CASCADE ON DELETE CASCADE,
  key text NOT NULL,
  fingerprint bytea NOT NULL,
  message_id text NOT NULL,
  -- Whether the message may have left: from the beginning of a request until it is known that it has not.
  may_have_left boolean NOT NULL DEFAULT true,
  -- The answer, once it is final: HTTP status and JSON.
  status integer,
  answer text,
  created_at bigint NOT NULL,
  PRIMARY KEY (instance_id, key)
);
CREATE INDEX holdfast_send_age ON holdfast_send (created_at);
