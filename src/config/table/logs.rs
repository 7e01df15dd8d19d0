//! What is logged, and how.

use super::{Variable, choice, choices, flag, form};

variables! {
    LOGS:
    LOG_LEVEL = choices(&["ERROR", "WARN", "DEBUG", "INFO", "LOG", "VERBOSE", "DARK", "WEBHOOKS", "WEBSOCKET"]).or("ERROR,WARN,INFO,LOG")
        .recommended("the default; with `DEBUG` while something is looked for")
        .means("Which of our own lines are logged, as Evolution names them. `INFO` and `LOG` are the same, `VERBOSE` and `DARK` are the finest. `WEBHOOKS` adds every attempt of a delivery; `WEBSOCKET` is taken and adds nothing, for there is no Socket.IO here. Of the libraries only what is wrong is logged: their warnings with `WARN`, their errors with `ERROR`");
    LOG_BAILEYS = choice(&["off", "fatal", "error", "warn", "info", "debug", "trace"])
        .means("From which level on the lines of the WhatsApp library are logged. Off unless set: it writes names of people into them. Their phone numbers are hashed");
    LOG_FORMAT = choice(&["text", "json"])
        .means("One line for each entry, on standard error");
    LOG_COLOR = flag(false)
        .means("Colours, in `text` only");
    RUST_LOG = form("[directives](https://docs.rs/tracing-subscriber/latest/tracing_subscriber/filter/struct.EnvFilter.html)")
        .means("Says all of what is logged, in the place of `LOG_LEVEL` and `LOG_BAILEYS`, for whoever looks for something special: `warn,holdfast=debug`");
}
