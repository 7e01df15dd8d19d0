-- Messages that came without a readable content: asked for again, or given up. Never silently.
CREATE TABLE holdfast_unrecovered (
  instance_id text NOT NULL REFERENCES "Instance" ("id") ON UPDATE CASCADE ON DELETE CASCADE,
  chat text NOT NULL,
  sender text NOT NULL,
  message_id text NOT NULL,
  why text NOT NULL CHECK (why IN ('undecryptable', 'content-gone', 'never-handed-over')),
  -- Unix milliseconds.
  since_ms bigint NOT NULL,
  -- How often it came without its content.
  times integer NOT NULL,
  given_up_ms bigint,
  PRIMARY KEY (instance_id, chat, sender, message_id)
);
CREATE INDEX holdfast_unrecovered_age ON holdfast_unrecovered (since_ms);
