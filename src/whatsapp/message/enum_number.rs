//! The numbers of enum values, which the library serialises by name.
//!
//! A derived serialisation tells the position of a value in its declaration. Where the numbers have gaps, or do not begin at 0,
//! the protocol's definition says which they are; the test compares them with the library's own.

/// Returns the number of the value at `position` of enum `name`, in a field of message `owner`.
pub(super) fn number(owner: &str, name: &str, position: u32) -> i32 {
    let position = usize::try_from(position).unwrap_or(usize::MAX);
    let listed = match (owner, name) {
        ("ProtocolMessage", "Type") => PROTOCOL_MESSAGE_TYPE,
        (_, "BotMetricsEntryPoint") => BOT_METRICS_ENTRY_POINT,
        (_, "BotFeedbackKindMultipleNegative") => {
            return 1_i32.checked_shl(u32::try_from(position).unwrap_or(0)).unwrap_or(0);
        }
        (_, "FontType") => FONT_TYPE,
        (_, "PreviewType") => PREVIEW_TYPE,
        ("BotReminderMetadata", "ReminderFrequency")
        | ("ForwardedNewsletterMessageInfo", "ContentType")
        | (
            _,
            "BotMetricsThreadEntryPoint"
            | "BotFeedbackKindMultiplePositive"
            | "OrientationType"
            | "ReminderAction"
            | "DataSharingFlags"
            | "WebviewPresentationType"
            | "StatusLinkType"
            | "CalendarType"
            | "DayOfWeekType"
            | "OrderStatus"
            | "OrderSurface"
            | "GalaxyFlowActionType"
            | "HistorySyncChunkRetryResponseCode"
            | "StatusQuotedMessageType"
            | "MessageAddonExpiryType"
            | "ChatStartMode",
        ) => return counted(position) + 1,
        _ => return counted(position),
    };
    listed.get(position).copied().unwrap_or_else(|| counted(position))
}

fn counted(position: usize) -> i32 {
    i32::try_from(position).unwrap_or(i32::MAX)
}

const PROTOCOL_MESSAGE_TYPE: &[i32] =
    &[0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 34, 35];

const BOT_METRICS_ENTRY_POINT: &[i32] = &[
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
    31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 45, 46, 47, 54, 55, 56,
];

const FONT_TYPE: &[i32] = &[0, 1, 2, 6, 7, 8, 9, 10];

const PREVIEW_TYPE: &[i32] = &[0, 1, 4, 5, 6, 7];

#[cfg(test)]
mod tests {
    use waproto::buffa::Enumeration;
    use waproto::whatsapp as wa;

    use super::*;

    fn same<E: Enumeration + 'static>(owner: &str, name: &str) {
        for (position, value) in (0_u32..).zip(E::values()) {
            assert_eq!(number(owner, name, position), value.to_i32(), "{owner}.{name} {}", value.proto_name());
        }
    }

    #[test]
    fn the_numbers_are_those_of_the_definition() {
        same::<wa::message::protocol_message::Type>("ProtocolMessage", "Type");
        same::<wa::BotMetricsEntryPoint>("BotMetricsMetadata", "BotMetricsEntryPoint");
        same::<wa::BotMetricsThreadEntryPoint>("BotMetricsMetadata", "BotMetricsThreadEntryPoint");
        same::<wa::message::extended_text_message::FontType>("ExtendedTextMessage", "FontType");
        same::<wa::message::extended_text_message::PreviewType>("ExtendedTextMessage", "PreviewType");
        same::<wa::message::order_message::OrderStatus>("OrderMessage", "OrderStatus");
        same::<wa::context_info::forwarded_newsletter_message_info::ContentType>(
            "ForwardedNewsletterMessageInfo",
            "ContentType",
        );
        same::<wa::message::extended_text_message::InviteLinkGroupType>("ExtendedTextMessage", "InviteLinkGroupType");
        same::<wa::message::list_message::ListType>("ListMessage", "ListType");
        same::<wa::disappearing_mode::Initiator>("DisappearingMode", "Initiator");
    }
}
