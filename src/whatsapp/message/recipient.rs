//! Whom a client means by `number`, by Evolution's rules.

/// Who is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::whatsapp) enum Recipient {
    /// A person, by phone number or LID, whose existence is asked for first.
    Person(String),
    /// A group, a broadcast list or a channel.
    Other(String),
}

impl Recipient {
    pub(in crate::whatsapp) fn jid(&self) -> &str {
        match self {
            Self::Person(jid) | Self::Other(jid) => jid,
        }
    }
}

/// Reads a number or JID; `None` if it names nobody.
pub(in crate::whatsapp) fn recipient(number: &str) -> Option<Recipient> {
    let number = without_device(number.trim());
    if ["@g.us", "@broadcast", "@newsletter"].iter().any(|server| number.ends_with(server)) {
        return Some(Recipient::Other(number)).filter(|one| named(one.jid()));
    }
    if ["@s.whatsapp.net", "@lid"].iter().any(|server| number.ends_with(server)) {
        return Some(Recipient::Person(number)).filter(|one| named(one.jid()));
    }
    let number = number.split('@').next().unwrap_or_default();
    let bare: String =
        number.chars().filter(|letter| !letter.is_whitespace() && !matches!(letter, '+' | '(' | ')')).collect();
    let digits: String = bare.chars().filter(char::is_ascii_digit).collect();
    if digits.is_empty() {
        return None;
    }
    if bare.contains('-') && bare.len() >= 24 {
        let group: String = bare.chars().filter(|letter| letter.is_ascii_digit() || *letter == '-').collect();
        return Some(Recipient::Other(format!("{group}@g.us")));
    }
    if digits.len() > 17 {
        return Some(Recipient::Other(format!("{digits}@g.us")));
    }
    Some(Recipient::Person(format!("{}@s.whatsapp.net", brazil(mexico_or_argentina(digits)))))
}

fn named(jid: &str) -> bool {
    !jid.starts_with('@') && jid.matches('@').count() == 1 && !jid.contains(char::is_whitespace)
}

/// Drops `:device`, wherever it stands.
fn without_device(number: &str) -> String {
    let Some((before, after)) = number.split_once(':') else { return number.to_owned() };
    let rest = after.trim_start_matches(|letter: char| letter.is_ascii_digit());
    if rest.len() == after.len() { number.to_owned() } else { format!("{before}{rest}") }
}

/// Mexico and Argentina: the digit after the country code is dialled for mobile phones, and is no part of the account.
fn mexico_or_argentina(digits: String) -> String {
    if digits.len() == 13 && (digits.starts_with("52") || digits.starts_with("54")) {
        format!("{}{}", &digits[..2], &digits[3..])
    } else {
        digits
    }
}

/// Brazil: outside the first area codes, accounts of mobile phones lack the 9 that was put before their number.
fn brazil(digits: String) -> String {
    if digits.len() != 13 || !digits.starts_with("55") {
        return digits;
    }
    let area: u32 = digits[2..4].parse().unwrap_or(0);
    let first: u32 = digits[5..6].parse().unwrap_or(0);
    if first < 7 || area < 31 { digits } else { format!("{}{}", &digits[..4], &digits[5..]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_jids_by_the_rules_of_the_contract() {
        for (number, jid) in [
            ("4915112345678", "4915112345678@s.whatsapp.net"),
            ("+49 (151) 12345678", "4915112345678@s.whatsapp.net"),
            ("5511999999999", "5511999999999@s.whatsapp.net"),
            ("5531988887777", "553188887777@s.whatsapp.net"),
            ("5531968887777", "5531968887777@s.whatsapp.net"),
            ("5521988887777", "5521988887777@s.whatsapp.net"),
            ("553188887777", "553188887777@s.whatsapp.net"),
            ("5215512345678", "525512345678@s.whatsapp.net"),
            ("525512345678", "525512345678@s.whatsapp.net"),
            ("5491112345678", "541112345678@s.whatsapp.net"),
            ("5511999999999:12@s.whatsapp.net", "5511999999999@s.whatsapp.net"),
            ("5531988887777@s.whatsapp.net", "5531988887777@s.whatsapp.net"),
            ("5511999999999@c.us", "5511999999999@s.whatsapp.net"),
            ("111222333@lid", "111222333@lid"),
        ] {
            assert_eq!(recipient(number), Some(Recipient::Person(jid.to_owned())), "{number}");
        }
        for (number, jid) in [
            ("120363012345678901@g.us", "120363012345678901@g.us"),
            ("120363012345678901", "120363012345678901@g.us"),
            ("5511999999999-1400000000", "5511999999999-1400000000@g.us"),
            ("status@broadcast", "status@broadcast"),
            ("123@newsletter", "123@newsletter"),
        ] {
            assert_eq!(recipient(number), Some(Recipient::Other(jid.to_owned())), "{number}");
        }
        for number in ["", "  ", "abc", "@g.us", "a b@s.whatsapp.net", "1@2@s.whatsapp.net"] {
            assert_eq!(recipient(number), None, "{number:?}");
        }
    }
}
