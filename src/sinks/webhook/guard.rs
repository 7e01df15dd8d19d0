//! Which addresses are called. A name is judged by the addresses that it means at the moment of the call, so that a name that changes
//! its mind between a check and a connection gains nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use holdfast_core::network::{Class, Networks};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

use crate::ports::address;

/// An address that is not called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is a {class} address, which WEBHOOK_ALLOWED_NETWORKS does not allow")]
pub(super) struct Refused {
    address: IpAddr,
    class: Class,
}

/// Resolves names into addresses that may be called.
pub(super) struct Guard {
    networks: Arc<Networks>,
}

impl Guard {
    pub(super) fn new(networks: Networks) -> Self {
        Self { networks: Arc::new(networks) }
    }

    /// Judges an address that is written out: the connector never asks a resolver for it.
    pub(super) fn check(&self, url: &Url) -> Result<(), Refused> {
        address::literal(url).map_or(Ok(()), |address| judge(&self.networks, address))
    }
}

fn judge(networks: &Networks, address: IpAddr) -> Result<(), Refused> {
    networks.permit(address).map_err(|class| Refused { address, class })
}

/// Keeps the addresses that may be called, if there is one.
fn choose(networks: &Networks, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Refused> {
    let (mut chosen, mut refused) = (Vec::new(), None);
    for address in found {
        match judge(networks, address.ip()) {
            Ok(()) => chosen.push(address),
            Err(why) => refused = Some(why),
        }
    }
    match refused {
        Some(why) if chosen.is_empty() => Err(why),
        Some(_) | None => Ok(chosen),
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let networks = Arc::clone(&self.networks);
        Box::pin(async move {
            let found = lookup_host((name.as_str(), 0)).await?;
            let chosen = choose(&networks, found)?;
            Ok(Box::new(chosen.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use super::{Guard, Name, Networks, Refused, Resolve as _, Url, choose};

    fn addresses(text: &str) -> Vec<std::net::SocketAddr> {
        text.split_whitespace().map(|one| std::net::SocketAddr::new(one.parse().unwrap(), 0)).collect()
    }

    #[test]
    fn of_several_addresses_only_those_are_called_that_may_be() {
        let none = Networks::default();
        let mixed = addresses("10.0.0.1 1.1.1.1 ::1 2606:4700::1111");
        assert_eq!(choose(&none, mixed.into_iter()).unwrap(), addresses("1.1.1.1 2606:4700::1111"));
        let why = choose(&none, addresses("10.0.0.1").into_iter()).unwrap_err().to_string();
        assert_eq!(why, "10.0.0.1 is a private address, which WEBHOOK_ALLOWED_NETWORKS does not allow");
        assert!(choose(&none, std::iter::empty()).unwrap().is_empty());
    }

    #[test]
    fn written_addresses_are_judged_in_every_spelling() {
        let guard = Guard::new(Networks::default());
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://0/",
            "http://localhost/",
            "http://169.254.169.254/latest/meta-data",
            "http://[fd00:ec2::254]/",
            "http://user:pw@10.0.0.1:8080/",
            "http://224.0.0.1/",
        ] {
            assert!(guard.check(&Url::parse(url).unwrap()).is_err(), "{url}");
        }
        for url in ["http://1.1.1.1/", "https://example.com/", "http://[2606:4700::1111]/"] {
            assert!(guard.check(&Url::parse(url).unwrap()).is_ok(), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_is_judged_by_what_it_means_at_the_moment_of_the_call() {
        let resolve = async |networks: &[&str]| {
            let guard = Guard::new(Networks::parse(networks.iter().copied()).unwrap());
            guard.resolve(Name::from_str("localhost").unwrap()).await.map(Iterator::count)
        };
        let why = resolve(&[]).await.unwrap_err();
        assert!(why.downcast_ref::<Refused>().is_some(), "{why}");
        assert!(resolve(&["private"]).await.unwrap() > 0);
    }
}
