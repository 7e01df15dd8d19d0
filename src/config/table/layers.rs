//! Copies of sessions beside the database.

use super::{Variable, flag, form, number, seconds, text};

variables! {
    LAYERS:
    CACHE_REDIS_ENABLED = flag(false)
        .means("Whether there is a Redis. It is never a source of truth, and nothing waits for it: [operating.md](operating.md#copies-of-sessions)");
    CACHE_REDIS_URI = form("`redis://USER:PASSWORD@HOST:PORT/DATABASE`, or `rediss://` for TLS").secret()
        .means("Where it is");
    CACHE_REDIS_CA_FILE = form("a file")
        .means("The certificate authorities that `rediss://` trusts, in PEM, instead of the public ones");
    CACHE_REDIS_PREFIX_KEY = text().or("evolution-cache")
        .means("What the names of its keys begin with. Installations that share a Redis need one each");
    CACHE_REDIS_TTL = seconds("604800", 60, 31_536_000)
        .means("How long a copy is kept whose instance gives no sign of life; while it lives, its copy does not grow old");
    CACHE_REDIS_SAVE_INSTANCES = flag(false)
        .means("Whether each session is copied there, within seconds of its change. The database keeps it in any case")
        .recommended("with a copy in Redis a fleet starts without a read of the database for each instance, and survives the loss of the database");
    PROVIDER_DIR = form("a directory")
        .means("Keeps a copy of each session as a file there, best on another disk: what is left when the database is lost");
    PROVIDER_ENABLED = flag(false)
        .means("Whether those copies go to an HTTP session provider of Evolution's kind instead");
    PROVIDER_HOST = form("the address or name of a host")
        .means("Where that is. It is spoken to over HTTP, with `AUTHENTICATION_API_KEY`: keep it in a private network");
    PROVIDER_PORT = number("5656", 1, 65_535)
        .means("Its port");
    PROVIDER_PREFIX = text().or("evolution")
        .means("The group of this installation's sessions there");
    PROVIDER_SNAPSHOT_SECONDS = seconds("60", 1, 86_400)
        .means("How often what has changed is copied there; also after a pairing and at the end");
}
