//! Protocol messages as JSON in the form that clients know from protobufJS: camelCase keys, no absent fields, enum numbers, bytes
//! as objects with an entry for each index, 64-bit integers as `{low, high, unsigned}`.

use serde::Serialize;
use serde::ser::{self, Error as _, Impossible};
use serde_json::{Map, Value, json};

use super::enum_number;

/// Converts a message; `None` if it cannot be, which no generated type causes.
pub(super) fn value(message: &impl Serialize) -> Option<Value> {
    let out = message.serialize(Writer { owner: "" }).ok()?;
    (!matches!(out, Out::Absent | Out::Empty)).then(|| out.into_value())
}

/// Converts a message into its fields, in the order of the definition.
pub(super) fn fields(message: &impl Serialize) -> Vec<(String, Value)> {
    match message.serialize(Writer { owner: "" }) {
        Ok(Out::Fields(fields)) => fields,
        Ok(_) | Err(_) => Vec::new(),
    }
}

/// What became of a value.
enum Out {
    /// It was not set.
    Absent,
    /// A list without elements: repeated fields are left out, bytes are not.
    Empty,
    Byte(u8),
    /// A choice of several, which stands under its own name.
    Choice(String, Value),
    Fields(Vec<(String, Value)>),
    Plain(Value),
}

impl Out {
    fn into_value(self) -> Value {
        match self {
            Self::Absent => Value::Null,
            Self::Empty => json!([]),
            Self::Byte(byte) => json!(byte),
            Self::Choice(name, value) => Value::Object(Map::from_iter([(name, value)])),
            Self::Fields(fields) => Value::Object(fields.into_iter().collect()),
            Self::Plain(value) => value,
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failure(String);

impl ser::Error for Failure {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

#[derive(Clone, Copy)]
struct Writer {
    /// The message whose field is written.
    owner: &'static str,
}

fn long(low: u32, high: u32, unsigned: bool) -> Out {
    Out::Plain(json!({ "low": low.cast_signed(), "high": high.cast_signed(), "unsigned": unsigned }))
}

/// Turns a name of the generated code back into the one of the definition.
fn camel(name: &str) -> String {
    // Runs of capitals cannot be told from the generated name.
    match name {
        "favicon_mms_metadata" => return "faviconMMSMetadata".to_owned(),
        "message_c2s_timestamp" | "message_c2_s_timestamp" => return "messageC2STimestamp".to_owned(),
        _ => {}
    }
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut name, part| {
        let mut letters = part.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
        name
    })
}

fn lower_first(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

impl ser::Serializer for Writer {
    type Ok = Out;
    type Error = Failure;
    type SerializeSeq = List;
    type SerializeTuple = List;
    type SerializeTupleStruct = Impossible<Out, Failure>;
    type SerializeTupleVariant = Impossible<Out, Failure>;
    type SerializeMap = Entries;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Impossible<Out, Failure>;

    fn serialize_bool(self, v: bool) -> Result<Out, Failure> {
        Ok(Out::Plain(json!(v)))
    }
    fn serialize_i8(self, v: i8) -> Result<Out, Failure> {
        Ok(Out::Plain(json!(v)))
    }
    fn serialize_i16(self, v: i16) -> Result<Out, Failure> {
        Ok(Out::Plain(json!(v)))
    }
    fn serialize_i32(self, v: i32) -> Result<Out, Failure> {
        Ok(Out::Plain(json!(v)))
    }
    fn serialize_i64(self, v: i64) -> Result<Out, Failure> {
        Ok(long(v as u32, (v >> 32) as u32, false))
    }
    fn serialize_u8(self, v: u8) -> Result<Out, Failure> {
        Ok(Out::Byte(v))
    }
    fn serialize_u16(self, v: u16) -> Result<Out, Failure> {
        Ok(Out::Plain(json!(v)))
    }
    fn serialize_u32(self, v: u32) -> Result<Out, Failure> {
        Ok(Out::Plain(json!(v)))
    }
    fn serialize_u64(self, v: u64) -> Result<Out, Failure> {
        Ok(long(v as u32, (v >> 32) as u32, true))
    }
    fn serialize_f32(self, v: f32) -> Result<Out, Failure> {
        Ok(Out::Plain(json!(v)))
    }
    fn serialize_f64(self, v: f64) -> Result<Out, Failure> {
        Ok(Out::Plain(json!(v)))
    }
    fn serialize_char(self, v: char) -> Result<Out, Failure> {
        Ok(Out::Plain(json!(v)))
    }
    fn serialize_str(self, v: &str) -> Result<Out, Failure> {
        Ok(Out::Plain(json!(v)))
    }
    fn serialize_bytes(self, v: &[u8]) -> Result<Out, Failure> {
        Ok(Out::Plain(indexed(v)))
    }
    fn serialize_none(self) -> Result<Out, Failure> {
        Ok(Out::Absent)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Out, Failure> {
        let out = value.serialize(self)?;
        Ok(if matches!(out, Out::Empty) { Out::Plain(json!({})) } else { out })
    }
    fn serialize_unit(self) -> Result<Out, Failure> {
        Ok(Out::Absent)
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<Out, Failure> {
        Ok(Out::Absent)
    }
    fn serialize_unit_variant(self, name: &'static str, position: u32, _: &'static str) -> Result<Out, Failure> {
        Ok(Out::Plain(json!(enum_number::number(self.owner, name, position))))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Out, Failure> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Out, Failure> {
        Ok(Out::Choice(lower_first(variant), value.serialize(self)?.into_value()))
    }
    fn serialize_seq(self, len: Option<usize>) -> Result<List, Failure> {
        Ok(List { writer: self, elements: Vec::with_capacity(len.unwrap_or(0)) })
    }
    fn serialize_tuple(self, len: usize) -> Result<List, Failure> {
        self.serialize_seq(Some(len))
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Failure> {
        Err(Failure::custom("no message holds a tuple"))
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Failure> {
        Err(Failure::custom("no message holds a tuple"))
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Entries, Failure> {
        Ok(Entries { writer: self, key: String::new(), entries: Map::new() })
    }
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Fields, Failure> {
        Ok(Fields { writer: Self { owner: name }, fields: Vec::with_capacity(len.min(8)) })
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Failure> {
        Err(Failure::custom("no choice has fields of its own"))
    }
}

fn indexed(bytes: &[u8]) -> Value {
    Value::Object(bytes.iter().enumerate().map(|(index, byte)| (index.to_string(), json!(byte))).collect())
}

struct List {
    writer: Writer,
    elements: Vec<Out>,
}

impl ser::SerializeSeq for List {
    type Ok = Out;
    type Error = Failure;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        self.elements.push(value.serialize(self.writer)?);
        Ok(())
    }

    fn end(self) -> Result<Out, Failure> {
        if self.elements.is_empty() {
            return Ok(Out::Empty);
        }
        let bytes: Option<Vec<u8>> =
            self.elements.iter().map(|one| if let Out::Byte(byte) = one { Some(*byte) } else { None }).collect();
        Ok(Out::Plain(match bytes {
            Some(bytes) => indexed(&bytes),
            None => Value::Array(self.elements.into_iter().map(Out::into_value).collect()),
        }))
    }
}

impl ser::SerializeTuple for List {
    type Ok = Out;
    type Error = Failure;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        ser::SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Result<Out, Failure> {
        ser::SerializeSeq::end(self)
    }
}

struct Entries {
    writer: Writer,
    key: String,
    entries: Map<String, Value>,
}

impl ser::SerializeMap for Entries {
    type Ok = Out;
    type Error = Failure;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Failure> {
        let key = key.serialize(self.writer)?.into_value();
        self.key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        let value = value.serialize(self.writer)?.into_value();
        self.entries.insert(std::mem::take(&mut self.key), value);
        Ok(())
    }

    fn end(self) -> Result<Out, Failure> {
        Ok(if self.entries.is_empty() { Out::Empty } else { Out::Plain(Value::Object(self.entries)) })
    }
}

struct Fields {
    writer: Writer,
    fields: Vec<(String, Value)>,
}

impl ser::SerializeStruct for Fields {
    type Ok = Out;
    type Error = Failure;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Failure> {
        match value.serialize(self.writer)? {
            Out::Absent | Out::Empty => {}
            Out::Choice(name, value) => self.fields.push((name, value)),
            out @ (Out::Byte(_) | Out::Fields(_) | Out::Plain(_)) => self.fields.push((camel(key), out.into_value())),
        }
        Ok(())
    }

    fn end(self) -> Result<Out, Failure> {
        Ok(Out::Fields(self.fields))
    }
}

#[cfg(test)]
mod tests {
    use waproto::buffa::MessageField;
    use waproto::whatsapp as wa;

    use super::*;

    #[test]
    fn a_message_looks_as_clients_know_it() {
        let image = wa::message::ImageMessage {
            mimetype: Some("image/jpeg".to_owned()),
            media_key: Some(vec![17, 203]),
            jpeg_thumbnail: Some(Vec::new()),
            file_length: Some(5_000_000_000),
            file_sha256: Some(vec![1]),
            media_key_timestamp: Some(-1),
            context_info: MessageField::some(wa::ContextInfo {
                mentioned_jid: vec!["1@s.whatsapp.net".to_owned()],
                ..wa::ContextInfo::default()
            }),
            ..wa::message::ImageMessage::default()
        };
        let message = wa::Message { image_message: MessageField::some(image), ..wa::Message::default() };
        assert_eq!(
            value(&message).unwrap(),
            json!({ "imageMessage": {
                "mimetype": "image/jpeg",
                "mediaKey": { "0": 17, "1": 203 },
                "jpegThumbnail": {},
                "fileLength": { "low": 705_032_704, "high": 1, "unsigned": true },
                "fileSha256": { "0": 1 },
                "mediaKeyTimestamp": { "low": -1, "high": -1, "unsigned": false },
                "contextInfo": { "mentionedJid": ["1@s.whatsapp.net"] },
            }})
        );
    }

    #[test]
    fn a_choice_stands_under_its_own_name_and_enums_are_numbers() {
        let edit = wa::message::ProtocolMessage {
            r#type: Some(wa::message::protocol_message::Type::MESSAGE_EDIT),
            ..wa::message::ProtocolMessage::default()
        };
        assert_eq!(value(&edit).unwrap(), json!({ "type": 14 }));
    }

    #[test]
    fn names_come_back_from_generated_ones() {
        for (generated, name) in
            [("file_enc_sha256", "fileEncSha256"), ("conversation", "conversation"), ("ptv_message", "ptvMessage")]
        {
            assert_eq!(camel(generated), name);
        }
    }
}
