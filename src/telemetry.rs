//! Logs: one subscriber for the whole process, on standard error ([`log`]). Figures: [`figures`], in the format of Prometheus. A
//! terminal also gets a [`bar`].

pub mod bar;
pub mod figures;
pub mod log;
mod redaction;
