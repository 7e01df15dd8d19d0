//! The whole engine: the real binary over real sockets and files, against the simulator.

mod backup;
mod bad_input;
mod command_line;
mod crashes;
mod demo;
mod faults;
mod first_light;
mod kept;
mod kill_points;
mod notify;
mod outbox;
mod pairing_code;
mod panics;
mod pressure;
mod proxies;
mod races;
mod redialling;
mod relinking;
mod resources;
mod rotation;
mod safety;
mod sending;
mod settings;
mod shutdown;
mod truth;
mod unscanned;
