//! The service and its HTTP interface.

use super::{Variable, color, flag, form, list, number, seconds, text};

variables! {
    SERVICE:
    DATA_DIR = form("a directory").or("./data")
        .means("Database, keys and lock; created if it is missing. What is in it: [operating.md](operating.md#the-data-directory)");
    NODE_ID = text()
        .means("The name of this process in the sessions that it owns. Unset: made once, kept in `DATA_DIR`");
    NODE_URL = form("`http://HOST:PORT`, `https://HOST/PATH`")
        .means("Where the other processes on the same PostgreSQL database reach this one, which hand requests for its instances on to it: [operating.md](operating.md#node-to-node). Unset: they cannot, and with PostgreSQL there is a warning; a process that is alone there does not need it");
    LEASE_TTL_SECONDS = seconds("60", 3, 3_600)
        .means("How long this process owns its instances without a renewal, where several share a PostgreSQL database: so late does another one take over after a crash. The same for all of them: [operating.md](operating.md#several-processes)");
    LEASE_RENEW_SECONDS = seconds("15", 1, 1_200)
        .means("How often it renews them; a third of `LEASE_TTL_SECONDS` at most (`cfg-leases`)");
    SERVER_HOST = form("an address or name").or("0.0.0.0")
        .means("Where HTTP listens. `127.0.0.1` keeps it to this machine");
    SERVER_PORT = number("8080", 0, 65_535)
        .means("0 takes a free port");
    SERVER_URL = form("a URL")
        .means("`server_url` in events. Nothing is called there");
    CORS_ORIGIN = list("*")
        .means("Pages that may call, with commas between them");
    CORS_METHODS = list("POST,GET,PUT,DELETE")
        .means("Methods that those pages may use");
    CORS_CREDENTIALS = flag(false)
        .means("Whether those pages may send cookies");
    AUTHENTICATION_API_KEY = text().secret()
        .means("The global key. Unset: made once, kept in `DATA_DIR/api-key`, shown that once");
    AUTHENTICATION_EXPOSE_IN_FETCH_INSTANCES = flag(false)
        .means("Whether events carry the instance's token as `apikey`. (The name is Evolution's)");
    QRCODE_COLOR = color("#198754")
        .means("The dark colour of QR pictures");
    NOTIFY_SOCKET = form("set by systemd")
        .means("Where the service manager is told how the process is: [operating.md](operating.md#stop)");
    WATCHDOG_USEC = form("set by systemd")
        .means("How often the manager wants to hear that it is alive, in microseconds");
    WATCHDOG_PID = form("set by systemd")
        .means("The process that this is meant for");
    SHUTDOWN_TIMEOUT_SECONDS = seconds("30", 3, 600)
        .means("After this time a shutdown is forced. Its phases are given five sixths of it");
    STOP_GRACE_SECONDS = seconds("", 1, 3_600)
        .means("How long what runs the service waits between asking it to stop and killing it: `terminationGracePeriodSeconds`, `stop_grace_period`, `docker stop -t`. It is compared with `SHUTDOWN_TIMEOUT_SECONDS`, and changes nothing else. Unset: 30 is supposed in Kubernetes, and 10 where `DOCKER_ENV=true`");
    PROMETHEUS_METRICS = flag(false)
        .means("Whether there is `GET /metrics`: [operating.md](operating.md#metrics). Without one of the next: open to everybody who reaches the service, and a warning");
    METRICS_AUTH_REQUIRED = flag(false)
        .means("Whether `/metrics` asks for a login (HTTP Basic). Without user and password nobody passes: 500, and a warning");
    METRICS_USER = text()
        .means("That user");
    METRICS_PASSWORD = text().secret()
        .means("That password");
    METRICS_ALLOWED_IPS = list("")
        .means("Where `/metrics` may be read from: addresses and networks like `10.1.0.0/16` with commas between them, `private`, or `*`. It is the address of the connection that counts; no header is believed");
}
