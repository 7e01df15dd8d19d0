//! Connecting, health, redialling and restarts.

use super::{Variable, fraction, millis, number, seconds};

variables! {
    CONNECTIONS:
    CONNECT_TIMEOUT_SECONDS = seconds("20", 1, 300)
        .means("From the dial to the accepted login, or to the first code of a pairing");
    LOGIN_TIMEOUT_SECONDS = seconds("60", 1, 600)
        .means("From the dial until the instance is online");
    HEALTH_CHECK_INTERVAL_SECONDS = seconds("30", 1, 3600)
        .means("How old the last proof of life may be before WhatsApp is pinged");
    HEALTH_PING_TIMEOUT_SECONDS = seconds("10", 1, 300)
        .means("How long the answer may take. Not below the interval: a warning");
    RECONNECT_BASE_MS = millis("1000", 10, 60_000)
        .means("The ceiling of the first wait before a redial, in milliseconds; it doubles with each failure. Above the longest wait: an error");
    RECONNECT_MAX_SECONDS = seconds("300", 1, 3600)
        .means("The ceiling of every wait. There is no limit of attempts");
    RECONNECT_STABLE_SECONDS = seconds("30", 1, 3600)
        .means("How long a connection must last before earlier failures are forgotten");
    DIAL_CONCURRENCY = number("16", 1, 1000)
        .means("How many dials are in flight at once. An eighth of them is kept for what an operator asks for");
    DIAL_RATE_PER_SECOND = number("20", 1, 1000)
        .means("How many dials begin in a second, at boot and always; what an operator asks for goes first");
    OUTAGE_SHARE = fraction("0.5")
        .means("The share of the instances that has to fail for network reasons for the host to count as cut off: [operating.md](operating.md#an-outage-of-the-host)");
    OUTAGE_MIN = number("5", 1, 100_000)
        .means("How many have to fail at least");
    OUTAGE_WINDOW_SECONDS = seconds("10", 1, 300)
        .means("Within which time they have to");
    SEND_RATE_PER_MINUTE = number("0", 0, 100_000)
        .means("How many messages each instance may send in a minute, evenly in the long run; what a quiet minute leaves may go at once. Beyond it: 429 with `Retry-After`, and nothing is sent. 0: no limit");
    RESTART_INTENSITY = number("5", 1, 1000)
        .means("How many crashes of one instance within the window are followed by a restart; one more parks it");
    RESTART_WINDOW_SECONDS = seconds("60", 1, 86_400)
        .means("That window");
}
