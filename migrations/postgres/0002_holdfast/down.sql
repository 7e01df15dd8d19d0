DROP TABLE IF EXISTS holdfast_meta;
DROP TABLE IF EXISTS holdfast_archive;
DROP TABLE IF EXISTS holdfast_outbox;
DROP TABLE IF EXISTS holdfast_accepted;
DROP TABLE IF EXISTS holdfast_session_value;
DROP TABLE IF EXISTS holdfast_session;
