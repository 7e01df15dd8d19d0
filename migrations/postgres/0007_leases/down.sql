ALTER TABLE holdfast_outbox DROP COLUMN client_name;
ALTER TABLE holdfast_outbox DROP COLUMN deleted_by;
ALTER TABLE holdfast_session RENAME COLUMN lease_ended_at TO lease_expires_at;
DROP TABLE holdfast_node;
