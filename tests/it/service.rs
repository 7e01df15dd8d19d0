//! The whole engine: the real binary over real sockets and files, against the simulator.

mod backup;
mod bad_input;
mod command_line;
mod demo;
mod faults;
mod first_light;
mod kill_points;
mod notify;
mod outbox;
mod pairing_code;
mod postgres;
mod pressure;
mod proxies;
mod races;
mod resources;
mod rotation;
mod safety;
mod sending;
mod settings;
mod shutdown;
mod truth;
