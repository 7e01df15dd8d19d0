//! Which addresses a webhook may reach. Whoever sets a webhook chooses where this host connects to, and this host may stand where
//! nobody else can.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Reachable by everybody on the internet.
    Public,
    /// This host.
    Loopback,
    /// A network of one owner: RFC 1918, and unique local addresses.
    Private,
    /// The same cable, where clouds keep what a machine should know of itself.
    LinkLocal,
    /// A service of a cloud that hands out credentials to whoever asks.
    Metadata,
    /// Between a carrier and its customers (100.64.0.0/10).
    Carrier,
    /// No address of one host, or one that nobody has.
    Special,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::Metadata => "cloud metadata",
            Self::Carrier => "carrier-grade NAT",
            Self::Special => "special",
        })
    }
}

/// Tells what an address is. One of version 6 that stands for one of version 4 is what that one is.
pub fn class(address: IpAddr) -> Class {
    match plain(address) {
        IpAddr::V4(address) => class_v4(address),
        IpAddr::V6(address) => class_v6(address),
    }
}

fn class_v4(address: Ipv4Addr) -> Class {
    let [a, b, c, d] = address.octets();
    match (a, b, c, d) {
        (169, 254, 169, 254) | (100, 100, 100, 200) | (192, 0, 0, 192) => Class::Metadata,
        (127, ..) => Class::Loopback,
        (10, ..) | (172, 16..=31, ..) | (192, 168, ..) => Class::Private,
        (169, 254, ..) => Class::LinkLocal,
        (100, 64..=127, ..) => Class::Carrier,
        // "This network", multicast, reserved and broadcast.
        (0 | 224..=255, ..) => Class::Special,
        // Protocol assignments, anycast relays, benchmarks, and examples.
        (192, 0, 0 | 2, _) => Class::Special,
        (192, 88, 99, _) => Class::Special,
        (198, 18 | 19, ..) => Class::Special,
        (198, 51, 100, _) => Class::Special,
        (203, 0, 113, _) => Class::Special,
        _ => Class::Public,
    }
}

fn class_v6(address: Ipv6Addr) -> Class {
    let [first, second, ..] = address.segments();
    match (first, second) {
        _ if address == Ipv6Addr::LOCALHOST => Class::Loopback,
        _ if address == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254) => Class::Metadata,
        (0xfc00..=0xfdff, _) => Class::Private,
        (0xfe80..=0xfebf, _) => Class::LinkLocal,
        // Protocol assignments, Teredo and benchmarks (2001::/23), and examples.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => Class::Special,
        (0x2000..=0x3fff, _) => Class::Public,
        // Only 2000::/3 is handed out to hosts.
        _ => Class::Special,
    }
}

/// Returns the address of version 4 that one of version 6 stands for: mapped, compatible, NAT64 and 6to4.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let inner = |high: u16, low: u16| {
        let ([one, two], [three, four]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(one, two, three, four))
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inner(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 || low > 1 => inner(high, low),
        [0x2002, high, low, ..] => inner(high, low),
        _ => address,
    }
}

/// The addresses that may be reached besides public ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    all: bool,
    private: bool,
    listed: Vec<Network>,
}

/// A network, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Networks {
    /// Every address.
    pub fn all() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Reads a list: `*`, `private` (private networks and this host), networks like `10.1.0.0/16`, and addresses.
    ///
    /// # Errors
    /// The entry that is none of these.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let mut networks = Self::default();
        for entry in entries {
            match entry {
                "*" => networks.all = true,
                "private" => networks.private = true,
                other => networks.listed.push(Network::parse(other).ok_or(other)?),
            }
        }
        Ok(networks)
    }

    /// Tells whether this list names an address; unlike [`Networks::permit`], which lets every public one pass.
    pub fn lists(&self, address: IpAddr) -> bool {
        let own = self.private && matches!(class(address), Class::Loopback | Class::Private);
        let listed = |one: &Network| one.contains(address) || one.contains(plain(address));
        self.all || own || self.listed.iter().any(listed)
    }

    /// Lets an address pass, or tells what it is.
    ///
    /// # Errors
    /// Its class, if neither the internet at large nor this list has it.
    pub fn permit(&self, address: IpAddr) -> Result<(), Class> {
        let class = class(address);
        if class == Class::Public || self.lists(address) { Ok(()) } else { Err(class) }
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Some(longest), |prefix| prefix.parse().ok().filter(|prefix| *prefix <= longest))?;
        Some(Self { address, prefix })
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix);
                network.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix);
                network.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}
