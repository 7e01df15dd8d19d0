//! Where everything is kept, and who it belongs to.

use super::{Variable, days, flag, form, number, seconds, text};

variables! {
    STORE:
    DATABASE_PROVIDER = form("`sqlite`, `postgresql`, `psql_bouncer`").or("sqlite")
        .means("Unset, the address decides. `psql_bouncer` means `postgresql`: the engine keeps its own pool, and goes to `DATABASE_CONNECTION_URI`. MySQL is refused");
    DATABASE_CONNECTION_URI = form("`sqlite://PATH`, `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`").or("sqlite://./data/holdfast.db").secret()
        .means("The file of the embedded database (the default is in `DATA_DIR`), or the address of a server as Prisma writes it: [PostgreSQL](operating.md#postgresql)");
    DATABASE_CONNECTION_CLIENT_NAME = text().or("evolution")
        .critical("a name of its own for each installation that shares a database, such as `evolution_production`")
        .means("Whose rows of the table `Instance` are ours; other rows are left alone");
    DATABASE_SAVE_DATA_INSTANCE = flag(true)
        .critical("`true`, which is what always happens here")
        .means("Not honoured: sessions are always saved. `false` gets a warning");
    DATABASE_POOL_SIZE = number("10", 2, 500)
        .means("Connections to PostgreSQL at the same time, one of them for leases alone; `connection_limit` in the address may say less");
    DATABASE_CONNECT_TIMEOUT_SECONDS = seconds("5", 1, 60)
        .means("How long connecting to PostgreSQL may take");
    DATABASE_STATEMENT_TIMEOUT_SECONDS = seconds("10", 1, 300)
        .means("How long PostgreSQL may take for a statement, and how long it is waited for a connection");
    SESSION_ENCRYPTION_KEY = form("32 bytes").secret()
        .means("The key of everything secret in the database: 64 hex digits, or base64. Unset: made once, kept in `DATA_DIR/session-key`.");
    SESSION_ENCRYPTION_KEY_OLD = form("32 bytes").secret()
        .means("The key before that one, as long as a rotation is under way: [operating.md](operating.md#the-session-key)");
    ACCEPTED_RETENTION_DAYS = days("90", 31, 3650)
        .means("How long the ids of accepted messages are kept, by which a redelivery is recognised. WhatsApp delivers again what is up to about 30 days old, so less is refused");
    STORE_GRACE_SECONDS = seconds("5", 1, 60)
        .means("How long an operation of the store may fail or hang before the link that needs it is sealed and closed");
}
