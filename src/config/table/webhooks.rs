//! Deliveries to webhooks.

use super::{Variable, days, flag, fraction, hours, list, millis, number, seconds, statuses, text};

variables! {
    WEBHOOKS:
    WEBHOOK_REQUEST_TIMEOUT_MS = millis("30000", 100, 600_000)
        .means("How long one try may take, in milliseconds");
    WEBHOOK_RETRY_MAX_ATTEMPTS = number("10", 1, 1000)
        .means("Attempts in total; then the delivery is a dead letter. Tries while the target as a whole is down are none");
    WEBHOOK_RETRY_INITIAL_DELAY_SECONDS = seconds("5", 1, 3600)
        .means("The wait after the first failure, and the shortest of all");
    WEBHOOK_RETRY_MAX_DELAY_SECONDS = seconds("300", 1, 86_400)
        .means("The longest wait, before the jitter");
    WEBHOOK_RETRY_USE_EXPONENTIAL_BACKOFF = flag(true)
        .means("Whether the wait doubles");
    WEBHOOK_RETRY_JITTER_FACTOR = fraction("0.2")
        .means("How far a wait is shifted either way, as a share of it");
    WEBHOOK_RETRY_NON_RETRYABLE_STATUS_CODES = statuses("400,401,403,404,422")
        .means("HTTP statuses after which there is no other try");
    WEBHOOK_RETRY_MAX_AGE_HOURS = hours("72", 1, 720)
        .means("What has waited longer when a try fails because the target as a whole is down is a dead letter, whatever its attempts");
    WEBHOOK_ALLOWED_NETWORKS = list("")
        .means("Where webhooks may go besides public addresses: addresses and networks like `10.1.0.0/16` with commas between them, `private` (private networks and this host), or `*`. [More](operating.md#addresses-that-are-not-called)");
    WEBHOOK_HMAC_KEY = text().secret()
        .means("Signs all deliveries, unless a webhook has a header `hmac_key`: [api.md](api.md#signatures). `whsec_` and base64, or any other text");
    DEAD_LETTER_RETENTION_DAYS = days("30", 1, 3650)
        .means("How long dead letters are kept");
}
