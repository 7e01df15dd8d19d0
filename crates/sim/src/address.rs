//! Who is who: phone numbers, devices, and the hidden identity (LID) that belongs to each number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use wacore_binary::{Jid, Server};
use wacore_libsignal::protocol::ProtocolAddress;

/// Digits of a phone number: the shortest and the longest that the simulator accepts.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 5..=15;

/// A phone number in international form, digits only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Phone(String);

impl Phone {
    /// Accepts a number with or without `+`, spaces, dots, dashes and brackets.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String =
            text.chars().filter(|letter| !matches!(letter, '+' | ' ' | '.' | '-' | '(' | ')')).collect();
        (PHONE_DIGITS.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .then_some(Self(digits))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The user part of this number's hidden identity, which is always the same for the same number.
    #[must_use]
    pub fn lid(&self) -> String {
        let digest = Sha256::digest(self.0.as_bytes());
        let number = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        format!("1{:014}", number % 100_000_000_000_000)
    }

    /// The person's JID.
    #[must_use]
    pub fn jid(&self) -> Jid {
        Jid::pn(self.as_str())
    }

    /// The person's hidden JID.
    #[must_use]
    pub fn lid_jid(&self) -> Jid {
        Jid::lid(self.lid())
    }
}

impl fmt::Display for Phone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One device of a person; number 0 is the phone itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Whose device.
    pub phone: Phone,
    /// Which device.
    pub device: u16,
}

impl Address {
    /// Names a device.
    #[must_use]
    pub fn new(phone: Phone, device: u16) -> Self {
        Self { phone, device }
    }

    /// The device's JID.
    #[must_use]
    pub fn jid(&self) -> Jid {
        Jid::pn_device(self.phone.as_str(), self.device)
    }

    /// The device's hidden JID.
    #[must_use]
    pub fn lid_jid(&self) -> Jid {
        Jid::lid_device(self.phone.lid(), self.device)
    }

    /// The name under which Signal sessions with this device are kept.
    #[must_use]
    pub fn signal(&self) -> ProtocolAddress {
        ProtocolAddress::new(self.phone.as_str(), u32::from(self.device).into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.jid(), formatter)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("'{text}' is no JID of a device");
        let jid = Jid::from_str(text).ok().ok_or_else(wrong)?;
        if jid.server != Server::Pn {
            return Err(wrong());
        }
        Ok(Self::new(Phone::parse(&jid.user).ok_or_else(wrong)?, jid.device))
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl PartialSchema for Address {
    fn schema() -> RefOr<Schema> {
        String::schema()
    }
}

impl ToSchema for Address {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_survives_being_written_and_read() {
        for text in ["5511999990001@s.whatsapp.net", "5511999990001:7@s.whatsapp.net"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert!("5511999990001@g.us".parse::<Address>().is_err());
    }

    #[test]
    fn numbers_are_accepted_as_people_write_them() {
        assert_eq!(Phone::parse("+55 (11) 99999-0001").unwrap().as_str(), "5511999990001");
        for wrong in ["", "1234", "12345678901234567", "55x", "５５５５５５"] {
            assert_eq!(Phone::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_hidden_identity_is_stable_and_unlike_the_number() {
        let phone = Phone::parse("5511999990001").unwrap();
        assert_eq!(phone.lid(), phone.lid());
        assert_eq!(phone.lid().len(), 15);
        assert_ne!(phone.lid(), Phone::parse("5511999990002").unwrap().lid());
    }
}
