//! How WhatsApp is reached, and what the phone shows.

use super::{Variable, choice, form, minutes_or_false, number, text};

variables! {
    WHATSAPP:
    WHATSAPP_WEBSOCKET_URL = form("`wss://HOST/PATH`, `ws://HOST:PORT/PATH`")
        .means("Where to dial. Unset: WhatsApp's own address. `ws://` is for loopback only; a build with the feature `simulator` dials nothing but loopback");
    WHATSAPP_WEB_VERSION = form("three numbers")
        .means("The web client version to claim, such as `2.3000.1029`. Unset: looked up at WhatsApp at most once a day; if that fails, the one that is built in");
    PROXY_HOST = form("a name or an address")
        .means("The proxy of every instance that has none of its own. [Proxies](operating.md#proxies)");
    PROXY_PORT = number("80", 1, 65_535)
        .means("Its port");
    PROXY_PROTOCOL = choice(&["http", "socks", "socks5", "socks5h"])
        .means("HTTP `CONNECT`, or SOCKS5; the last three are the same: the proxy resolves WhatsApp's name");
    PROXY_USERNAME = text().secret()
        .means("Its user. Credentials without `PROXY_HOST` are an error (`cfg-proxy-incomplete`): nobody has them who means to connect directly");
    PROXY_PASSWORD = text().secret()
        .means("Its password, never logged. SOCKS5 needs both or neither; what cannot be used is an error (`cfg-proxy`)");
    CONFIG_SESSION_PHONE_CLIENT = text().or("Evolution API")
        .recommended("the name under which people find this device on their phone")
        .means("The device name in the phone's list, set when a number is paired");
    CONFIG_SESSION_PHONE_NAME = text().or("Chrome")
        .recommended("`Chrome`")
        .means("The browser in that list: `Chrome`, `Firefox`, `Edge`, `Opera`, `Safari`; anything else is shown as Chrome");
    QRCODE_LIMIT = number("30", 1, 1000)
        .recommended("as many codes as somebody takes to scan one; `5` is enough where a person sits in front of it")
        .means("How many QR codes are shown after somebody asked; then the instance closes until somebody asks again");
    DEL_INSTANCE = minutes_or_false(525_600)
        .recommended("`false`: whatever else is said of it, it deletes instances, and makes no connection quicker")
        .means("So many minutes after its creation an instance is **deleted** that was never paired, unless somebody is pairing it then ([operating.md](operating.md#instances-that-nobody-pairs)). 0, `false`, and with a warning any other text, `true` included, delete nothing");
}
