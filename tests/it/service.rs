//! The whole engine: the real binary over real sockets and files, against the simulator.

mod command_line;
mod faults;
mod first_light;
mod safety;
mod shutdown;
