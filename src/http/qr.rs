//! QR codes: the text that a phone scans as a picture, and the object in which the contract hands both out.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use png::{BitDepth, ColorType, Compression, Encoder};
use qrcode::{EcLevel, QrCode};
use serde_json::{Value, json};

use crate::ports::board::PairingView;

/// Light modules around the code.
const MARGIN: usize = 3;
/// Pixels per module.
const SCALE: usize = 4;

/// A colour, written `#rrggbb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color([u8; 3]);

impl Default for Color {
    fn default() -> Self {
        Self([0x19, 0x87, 0x54])
    }
}

impl FromStr for Color {
    type Err = InvalidColor;

    fn from_str(text: &str) -> Result<Self, InvalidColor> {
        let is_hex = |digits: &&str| digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digits = text.trim().strip_prefix('#').filter(is_hex).ok_or(InvalidColor)?;
        let mut color = [0; 3];
        for (byte, at) in color.iter_mut().zip([0, 2, 4]) {
            *byte = digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or(InvalidColor)?;
        }
        Ok(Self(color))
    }
}

/// The text is no colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidColor;

impl fmt::Display for InvalidColor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a colour is written #rrggbb")
    }
}

impl std::error::Error for InvalidColor {}

/// Draws a QR code as a PNG and returns it as a data URL; `None` if the text is too long for one.
pub fn data_url(text: &str, dark: Color) -> Option<String> {
    let png = png(text, dark)?;
    Some(format!("data:image/png;base64,{}", STANDARD.encode(png)))
}

/// Returns what is to be scanned or typed now: `{pairingCode, code, base64, count}`, or the count alone while there is nothing.
pub(super) fn object(shown: &PairingView, dark: Color) -> Value {
    let mut object = json!({ "count": shown.count });
    if shown.qr.is_none() && shown.code.is_none() {
        return object;
    }
    object["pairingCode"] = json!(shown.code);
    if let Some(text) = &shown.qr {
        object["code"] = json!(text);
        if let Some(picture) = data_url(text, dark) {
            object["base64"] = json!(picture);
        }
    }
    object
}

/// Draws with a palette of two colours, one bit for each pixel: a tenth of the size of a picture in full colour.
fn png(text: &str, Color(dark): Color) -> Option<Vec<u8>> {
    let code = QrCode::with_error_correction_level(text, EcLevel::H).ok()?;
    let (modules, width) = (code.to_colors(), code.width());
    let side = (width + 2 * MARGIN) * SCALE;
    let row_bytes = side.div_ceil(8);
    let mut pixels = vec![0_u8; row_bytes * side];
    for (y, row) in pixels.chunks_exact_mut(row_bytes).enumerate() {
        for x in 0..side {
            let place = |pixel: usize| (pixel / SCALE).checked_sub(MARGIN).filter(|module| *module < width);
            let (Some(column), Some(line)) = (place(x), place(y)) else { continue };
            if modules.get(line * width + column) == Some(&qrcode::Color::Dark)
                && let Some(byte) = row.get_mut(x / 8)
            {
                *byte |= 0x80 >> (x % 8);
            }
        }
    }
    let side = u32::try_from(side).ok()?;
    let [red, green, blue] = dark;
    let mut png = Vec::new();
    let mut encoder = Encoder::new(&mut png, side, side);
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(BitDepth::One);
    encoder.set_palette(vec![0xff, 0xff, 0xff, red, green, blue]);
    encoder.set_compression(Compression::Fast);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&pixels).ok()?;
    writer.finish().ok()?;
    Some(png)
}

#[cfg(test)]
mod tests {
    use super::{Color, MARGIN, SCALE, data_url, object, png};
    use crate::ports::board::PairingView;

    #[test]
    fn the_picture_has_margin_scale_level_and_colour() {
        let text = "2@ref,noise,identity,secret";
        let file = png(text, Color::default()).unwrap();
        let mut decoder = png::Decoder::new(std::io::Cursor::new(file));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let picture = reader.next_frame(&mut pixels).unwrap();
        let code = qrcode::QrCode::with_error_correction_level(text, qrcode::EcLevel::H).unwrap();
        let side = (code.width() + 2 * MARGIN) * SCALE;
        assert_eq!(
            (picture.width as usize, picture.height as usize, picture.color_type),
            (side, side, png::ColorType::Rgb)
        );
        for (at, pixel) in pixels.chunks_exact(3).enumerate() {
            let module = |at: usize| (at / SCALE).wrapping_sub(MARGIN);
            let (x, y) = (module(at % side), module(at / side));
            let dark = x < code.width() && y < code.width() && code[(x, y)] == qrcode::Color::Dark;
            assert_eq!(pixel, if dark { [0x19, 0x87, 0x54] } else { [255, 255, 255] }, "{x} {y}");
        }
    }

    #[test]
    fn a_text_that_fits_no_code_has_no_picture() {
        assert!(data_url(&"x".repeat(5_000), Color::default()).is_none());
    }

    #[test]
    fn colours_are_read_strictly() {
        assert_eq!("#198754".parse(), Ok(Color::default()));
        assert_eq!(" #FF0000 ".parse(), Ok(Color([255, 0, 0])));
        for wrong in ["", "198754", "#19875", "#1987545", "#19875g", "#ééé", "red", "#+1+1+1"] {
            assert!(wrong.parse::<Color>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_object_shows_nothing_but_the_count_when_there_is_nothing_to_show() {
        let mut shown = PairingView::default();
        assert_eq!(object(&shown, Color::default()), serde_json::json!({ "count": 0 }));
        shown = PairingView { qr: Some("2@abc".into()), count: 2, ..PairingView::default() };
        let value = object(&shown, Color::default());
        assert_eq!(value["code"], "2@abc");
        assert_eq!(value["pairingCode"], serde_json::Value::Null);
        assert_eq!(value["count"], 2);
        assert!(value["base64"].as_str().unwrap().starts_with("data:image/png;base64,iVBOR"));
        shown.code = Some("ABCD1234".into());
        assert_eq!(object(&shown, Color::default())["pairingCode"], "ABCD1234");
    }
}
