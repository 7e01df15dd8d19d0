//! QR codes: the text that a phone scans as a picture, and the object in which the contract hands both out.

use std::fmt;
use std::io::Cursor;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
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
        let digits = text.trim().strip_prefix('#').filter(|digits| digits.len() == 6 && digits.is_ascii()).ok_or(InvalidColor)?;
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

fn png(text: &str, Color(dark): Color) -> Option<Vec<u8>> {
    let code = QrCode::with_error_correction_level(text, EcLevel::H).ok()?;
    let (modules, width) = (code.to_colors(), code.width());
    let side = (width + 2 * MARGIN) * SCALE;
    let mut pixels = vec![0xff; side * side * 3];
    for (at, pixel) in pixels.chunks_exact_mut(3).enumerate() {
        let place = |pixel: usize| (pixel / SCALE).checked_sub(MARGIN).filter(|module| *module < width);
        let (Some(x), Some(y)) = (place(at % side), place(at / side)) else { continue };
        if modules.get(y * width + x) == Some(&qrcode::Color::Dark) {
            pixel.copy_from_slice(&dark);
        }
    }
    let mut png = Cursor::new(Vec::new());
    let side = u32::try_from(side).ok()?;
    PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::NoFilter)
        .write_image(&pixels, side, side, ExtendedColorType::Rgb8)
        .ok()?;
    Some(png.into_inner())
}

#[cfg(test)]
mod tests {
    use super::{Color, MARGIN, SCALE, data_url, object, png};
    use crate::ports::board::PairingView;

    #[test]
    fn the_picture_has_margin_scale_level_and_colour() {
        let text = "2@ref,noise,identity,secret";
        let picture = image::load_from_memory(&png(text, Color::default()).unwrap()).unwrap().to_rgb8();
        let code = qrcode::QrCode::with_error_correction_level(text, qrcode::EcLevel::H).unwrap();
        let side = (code.width() + 2 * MARGIN) * SCALE;
        assert_eq!(picture.dimensions(), (side as u32, side as u32));
        for (x, y, pixel) in picture.enumerate_pixels() {
            let module = |at: u32| (at as usize / SCALE).wrapping_sub(MARGIN);
            let inside = module(x) < code.width() && module(y) < code.width();
            let dark = inside && code[(module(x), module(y))] == qrcode::Color::Dark;
            assert_eq!(pixel.0, if dark { [0x19, 0x87, 0x54] } else { [255, 255, 255] }, "{x} {y}");
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
        let mut shown = PairingView { qr: None, code: None, count: 0 };
        assert_eq!(object(&shown, Color::default()), serde_json::json!({ "count": 0 }));
        shown = PairingView { qr: Some("2@abc".into()), code: None, count: 2 };
        let value = object(&shown, Color::default());
        assert_eq!(value["code"], "2@abc");
        assert_eq!(value["pairingCode"], serde_json::Value::Null);
        assert_eq!(value["count"], 2);
        assert!(value["base64"].as_str().unwrap().starts_with("data:image/png;base64,iVBOR"));
        shown.code = Some("ABCD1234".into());
        assert_eq!(object(&shown, Color::default())["pairingCode"], "ABCD1234");
    }
}
