-- Every try that was made; "attempts" are those of them that count against the limit.
ALTER TABLE holdfast_outbox ADD COLUMN tries integer NOT NULL DEFAULT 0;
-- Since when it waits: since it happened, or since it was taken back from the dead letters.
ALTER TABLE holdfast_outbox ADD COLUMN waiting_ms bigint NOT NULL DEFAULT 0;
UPDATE holdfast_outbox SET tries = attempts, waiting_ms = at_ms;

-- The oldest row of each instance, and how many there are, is told by the index alone: payloads may be large.
DROP INDEX holdfast_outbox_pending;
CREATE INDEX holdfast_outbox_pending ON holdfast_outbox (sink, instance_id, seq) INCLUDE (due_ms, tries, waiting_ms) WHERE state = 'pending';
CREATE INDEX holdfast_outbox_dead_seq ON holdfast_outbox (seq) WHERE state = 'dead';
CREATE INDEX holdfast_outbox_dead_name ON holdfast_outbox (instance_name, instance_id, seq) WHERE state = 'dead';
