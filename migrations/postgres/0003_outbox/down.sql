DROP INDEX holdfast_outbox_dead_name;
DROP INDEX holdfast_outbox_dead_seq;
DROP INDEX holdfast_outbox_pending;
CREATE INDEX holdfast_outbox_pending ON holdfast_outbox (sink, instance_id, seq) WHERE state = 'pending';
ALTER TABLE holdfast_outbox DROP COLUMN waiting_ms;
ALTER TABLE holdfast_outbox DROP COLUMN tries;
