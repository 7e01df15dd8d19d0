//! The proxy of the service. Whoever has set a part of one did not mean to connect directly.

use holdfast_core::proxy::{Fields, Invalid, Proxy};

use super::reader::Reader;
use super::table;

pub(super) fn proxy(r: &mut Reader<'_>) -> Option<Proxy> {
    let port = r.number::<u16>(table::PROXY_PORT);
    let protocol = r.choice(table::PROXY_PROTOCOL);
    let (username, password) = (r.text(table::PROXY_USERNAME), r.text(table::PROXY_PASSWORD));
    let Some(host) = r.optional(table::PROXY_HOST) else {
        if !username.is_empty() || !password.is_empty() {
            r.error(
                "PROXY_HOST",
                "cfg-proxy-incomplete",
                "there are credentials of a proxy, but no proxy",
                "set PROXY_HOST, or remove PROXY_USERNAME and PROXY_PASSWORD to connect directly",
            );
        }
        return None;
    };
    let port = port.to_string();
    let fields = Fields { host: &host, port: &port, protocol, username: &username, password: &password };
    match Proxy::parse(fields) {
        Ok(proxy) => Some(proxy),
        Err(why) => {
            let variable = match why {
                Invalid::NoUser | Invalid::Colon => "PROXY_USERNAME",
                Invalid::SocksCredentials => "PROXY_PASSWORD",
                Invalid::NoHost
                | Invalid::Host
                | Invalid::Port
                | Invalid::Https
                | Invalid::Protocol
                | Invalid::Text => "PROXY_HOST",
            };
            r.error(variable, "cfg-proxy", &why.to_string(), "correct it, or unset PROXY_HOST to connect directly");
            None
        }
    }
}
