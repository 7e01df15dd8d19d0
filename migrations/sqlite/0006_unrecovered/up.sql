-- Messages that came without a readable content: asked for again, or given up. Never silently.
CREATE TABLE holdfast_unrecovered (
  instance_id TEXT NOT NULL REFERENCES "Instance" ("id") ON UPDATE CASCADE ON DELETE CASCADE,
  chat TEXT NOT NULL,
  sender TEXT NOT NULL,
  message_id TEXT NOT NULL,
  why TEXT NOT NULL CHECK (why IN ('undecryptable', 'content-gone', 'never-handed-over')),
  -- Unix milliseconds.
  since_ms BIGINT NOT NULL,
  -- How often it came without its content.
  times INTEGER NOT NULL,
  given_up_ms BIGINT,
  PRIMARY KEY (instance_id, chat, sender, message_id)
) WITHOUT ROWID;
CREATE INDEX holdfast_unrecovered_age ON holdfast_unrecovered (since_ms);
