//! Which addresses a webhook may reach.

use std::net::IpAddr;

use holdfast_core::network::{Class, Networks, class};

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn every_address_has_its_class() {
    let table = [
        (
            Class::Public,
            "1.1.1.1 8.8.8.8 93.184.216.34 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 192.169.0.1 223.255.255.255",
        ),
        (Class::Public, "2606:4700::1111 2a00:1450:4001::1 2001:4860:4860::8888 2001:200::1"),
        (Class::Loopback, "127.0.0.1 127.1.2.3 127.255.255.255 ::1"),
        (Class::Private, "10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 fc00::1 fd12:3456::1"),
        (Class::LinkLocal, "169.254.0.1 169.254.170.2 fe80::1 febf::1"),
        (Class::Metadata, "169.254.169.254 100.100.100.200 192.0.0.192 fd00:ec2::254"),
        (Class::Carrier, "100.64.0.1 100.127.255.255"),
        (
            Class::Special,
            "0.0.0.0 0.1.2.3 192.0.0.1 192.0.2.1 192.88.99.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1",
        ),
        (Class::Special, "224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255"),
        (Class::Special, ":: ff02::1 fec0::1 2001::1 2001:db8::1 3fff::1 100::1 64:ff9b:1::a00:1 4000::1 5f00::1"),
        // Those that stand for one of version 4: mapped, compatible, NAT64, 6to4.
        (Class::Loopback, "::ffff:127.0.0.1 ::127.0.0.1 64:ff9b::127.0.0.1 2002:7f00:1::"),
        (Class::Private, "::ffff:10.0.0.1 ::ffff:c0a8:101 64:ff9b::a00:1 2002:a00:1::1"),
        (Class::Metadata, "::ffff:169.254.169.254 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe::"),
        (Class::Public, "::ffff:1.1.1.1 64:ff9b::101:101 2002:101:101::"),
    ];
    for (expected, addresses) in table {
        for text in addresses.split(' ') {
            assert_eq!(class(address(text)), expected, "{text}");
        }
    }
}

#[test]
fn a_list_adds_to_the_public_addresses_and_nothing_else() {
    let table: &[(&str, &str, &str)] = &[
        ("", "1.1.1.1 2606:4700::1111", "127.0.0.1 ::1 10.0.0.1 169.254.169.254 100.64.0.1 0.0.0.0 fd00::1 224.0.0.1"),
        (
            "private",
            "127.0.0.1 ::1 10.9.9.9 192.168.1.1 fd00::1 ::ffff:10.0.0.1",
            "169.254.169.254 fd00:ec2::254 169.254.1.1 100.64.0.1 0.0.0.0",
        ),
        ("*", "127.0.0.1 169.254.169.254 0.0.0.0 ff02::1 fe80::1", ""),
        ("10.1.0.0/16", "10.1.255.1 ::ffff:10.1.0.1 1.1.1.1", "10.2.0.1 10.0.255.255 127.0.0.1"),
        ("172.17.0.5", "172.17.0.5", "172.17.0.4 172.17.0.6"),
        ("fd00:1::/32", "fd00:1::7", "fd00:2::7"),
        ("169.254.169.254", "169.254.169.254", "169.254.169.253"),
        ("0.0.0.0/0", "10.0.0.1 169.254.169.254", "::1 fd00::1"),
        ("::/0", "::1 fd00::1 fd00:ec2::254", "10.0.0.1 127.0.0.1"),
        ("10.0.0.0/8 192.168.0.0/16", "10.0.0.1 192.168.3.3", "172.16.0.1"),
    ];
    for (list, allowed, refused) in table {
        let networks = Networks::parse(list.split_whitespace()).unwrap();
        for text in allowed.split_whitespace() {
            assert_eq!(networks.permit(address(text)), Ok(()), "{list:?} and {text}");
        }
        for text in refused.split_whitespace() {
            assert_eq!(networks.permit(address(text)), Err(class(address(text))), "{list:?} and {text}");
        }
    }
    assert_eq!(Networks::all().permit(address("127.0.0.1")), Ok(()));
}

#[test]
fn an_entry_that_is_none_is_named() {
    for wrong in [
        "public",
        "10.0.0.0/33",
        "fd00::/129",
        "10.0.0/8",
        "localhost",
        "10.0.0.1/",
        "/8",
        "10.0.0.0/-1",
        "PRIVATE",
        "**",
    ] {
        assert_eq!(Networks::parse(["private", wrong]), Err(wrong), "{wrong}");
    }
}
