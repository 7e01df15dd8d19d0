use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use holdfast_sim::{Options, Simulator};
use rustix::process::Signal;

use crate::harness::engine::Home;
use crate::harness::eventually::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_hears_of_the_start_of_life_and_of_the_end() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let name = format!("holdfast-{}-notify", std::process::id());
    let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let home = Home::new(sim.ws_url()).set("NOTIFY_SOCKET", &format!("@{name}")).set("WATCHDOG_USEC", "400000");
    let engine = home.start().await;
    let mut heard = Heard::on(manager);
    heard.until("READY=1");
    heard.until("STATUS=0 of 0 instances open, 0 connecting, 0 closed");
    heard.until("WATCHDOG=1");
    engine.pair(&sim, "shop", "5511999990001", None).await;
    heard.until("STATUS=1 of 1 instances open, 0 connecting, 0 closed");
    heard.until("WATCHDOG=1");
    engine.signal(Signal::TERM);
    let end = heard.until("STOPPING=1");
    assert!(end.contains("EXTEND_TIMEOUT_USEC=33000000"), "{end}");
    assert_eq!(engine.end().await, Some(0));
    assert_eq!(heard.count("READY=1"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_service_manager_that_can_be_reached_the_engine_runs_all_the_same() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url()).set("NOTIFY_SOCKET", "/nowhere/at/all");
    let engine = home.start().await;
    engine.signal(Signal::TERM);
    assert_eq!(engine.end().await, Some(0));
    assert_eq!(home.log().matches("The service manager cannot be told anything").count(), 1);
}

struct Heard {
    socket: UnixDatagram,
    all: Vec<String>,
}

impl Heard {
    fn on(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { socket, all: Vec::new() }
    }

    /// Reads on until a message begins like this, and returns it.
    fn until(&mut self, what: &str) -> String {
        let mut buffer = [0; 1024];
        loop {
            let read = tokio::task::block_in_place(|| self.socket.recv(&mut buffer));
            let length =
                read.unwrap_or_else(|error| panic!("waited in vain for {what:?} after {:?}: {error}", self.all));
            let message = String::from_utf8(buffer[..length].to_vec()).expect("a text");
            self.all.push(message.clone());
            if message.starts_with(what) {
                return message;
            }
        }
    }

    fn count(&self, what: &str) -> usize {
        self.all.iter().filter(|message| message.starts_with(what)).count()
    }
}
