//! The tables, as `diesel print-schema` would show them, with names in Rust's style: one description for all databases.

diesel::table! {
    use diesel::sql_types::{Integer, Nullable, Text, Timestamp};
    use crate::store::columns::{ConnectionStatus, Json};

    #[sql_name = "Instance"]
    instance (id) {
        id -> Text,
        name -> Text,
        #[sql_name = "connectionStatus"]
        connection_status -> ConnectionStatus,
        #[sql_name = "ownerJid"]
        owner_jid -> Nullable<Text>,
        #[sql_name = "profileName"]
        profile_name -> Nullable<Text>,
        #[sql_name = "profilePicUrl"]
        profile_pic_url -> Nullable<Text>,
        integration -> Nullable<Text>,
        number -> Nullable<Text>,
        #[sql_name = "businessId"]
        business_id -> Nullable<Text>,
        token -> Nullable<Text>,
        #[sql_name = "clientName"]
        client_name -> Nullable<Text>,
        #[sql_name = "disconnectionReasonCode"]
        disconnection_reason_code -> Nullable<Integer>,
        #[sql_name = "disconnectionObject"]
        disconnection_object -> Nullable<Json>,
        #[sql_name = "disconnectionAt"]
        disconnection_at -> Nullable<Timestamp>,
        #[sql_name = "createdAt"]
        created_at -> Nullable<Timestamp>,
        #[sql_name = "updatedAt"]
        updated_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    #[sql_name = "Session"]
    session (id) {
        id -> Text,
        #[sql_name = "sessionId"]
        session_id -> Text,
        creds -> Nullable<Text>,
        #[sql_name = "createdAt"]
        created_at -> Timestamp,
    }
}

diesel::table! {
    use diesel::sql_types::{Bool, Nullable, Text, Timestamp};
    use crate::store::columns::Json;

    #[sql_name = "Webhook"]
    webhook (id) {
        id -> Text,
        url -> Text,
        headers -> Nullable<Json>,
        enabled -> Nullable<Bool>,
        events -> Nullable<Json>,
        #[sql_name = "webhookByEvents"]
        webhook_by_events -> Nullable<Bool>,
        #[sql_name = "webhookBase64"]
        webhook_base64 -> Nullable<Bool>,
        #[sql_name = "createdAt"]
        created_at -> Nullable<Timestamp>,
        #[sql_name = "updatedAt"]
        updated_at -> Timestamp,
        #[sql_name = "instanceId"]
        instance_id -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::{Bool, Integer, Nullable, Text, Timestamp};
    use crate::store::columns::Json;

    #[sql_name = "Chatwoot"]
    chatwoot (id) {
        id -> Text,
        enabled -> Nullable<Bool>,
        #[sql_name = "accountId"]
        account_id -> Nullable<Text>,
        token -> Nullable<Text>,
        url -> Nullable<Text>,
        #[sql_name = "nameInbox"]
        name_inbox -> Nullable<Text>,
        #[sql_name = "signMsg"]
        sign_msg -> Nullable<Bool>,
        #[sql_name = "signDelimiter"]
        sign_delimiter -> Nullable<Text>,
        number -> Nullable<Text>,
        #[sql_name = "reopenConversation"]
        reopen_conversation -> Nullable<Bool>,
        #[sql_name = "conversationPending"]
        conversation_pending -> Nullable<Bool>,
        #[sql_name = "mergeBrazilContacts"]
        merge_brazil_contacts -> Nullable<Bool>,
        #[sql_name = "importContacts"]
        import_contacts -> Nullable<Bool>,
        #[sql_name = "importMessages"]
        import_messages -> Nullable<Bool>,
        #[sql_name = "daysLimitImportMessages"]
        days_limit_import_messages -> Nullable<Integer>,
        organization -> Nullable<Text>,
        logo -> Nullable<Text>,
        #[sql_name = "ignoreJids"]
        ignore_jids -> Nullable<Json>,
        #[sql_name = "createdAt"]
        created_at -> Nullable<Timestamp>,
        #[sql_name = "updatedAt"]
        updated_at -> Timestamp,
        #[sql_name = "instanceId"]
        instance_id -> Text,
    }
}

diesel::table! {
    #[sql_name = "Proxy"]
    proxy (id) {
        id -> Text,
        enabled -> Bool,
        host -> Text,
        port -> Text,
        protocol -> Text,
        username -> Text,
        password -> Text,
        #[sql_name = "createdAt"]
        created_at -> Nullable<Timestamp>,
        #[sql_name = "updatedAt"]
        updated_at -> Timestamp,
        #[sql_name = "instanceId"]
        instance_id -> Text,
    }
}

diesel::table! {
    #[sql_name = "Setting"]
    setting (id) {
        id -> Text,
        #[sql_name = "rejectCall"]
        reject_call -> Bool,
        #[sql_name = "msgCall"]
        msg_call -> Nullable<Text>,
        #[sql_name = "groupsIgnore"]
        groups_ignore -> Bool,
        #[sql_name = "alwaysOnline"]
        always_online -> Bool,
        #[sql_name = "readMessages"]
        read_messages -> Bool,
        #[sql_name = "readStatus"]
        read_status -> Bool,
        #[sql_name = "syncFullHistory"]
        sync_full_history -> Bool,
        #[sql_name = "wavoipToken"]
        wavoip_token -> Nullable<Text>,
        #[sql_name = "createdAt"]
        created_at -> Nullable<Timestamp>,
        #[sql_name = "updatedAt"]
        updated_at -> Timestamp,
        #[sql_name = "instanceId"]
        instance_id -> Text,
    }
}

diesel::table! {
    holdfast_session (instance_id) {
        instance_id -> Text,
        desired -> Text,
        paired -> Bool,
        revision -> BigInt,
        epoch -> BigInt,
        lease_node -> Nullable<Text>,
        lease_ended_at -> Nullable<BigInt>,
        last_online_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    holdfast_session_value (instance_id, category, key) {
        instance_id -> Text,
        category -> Text,
        key -> Text,
        value -> Binary,
        expires_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    holdfast_accepted (instance_id, chat, sender, message_id) {
        instance_id -> Text,
        chat -> Text,
        sender -> Text,
        message_id -> Text,
        accepted_at -> BigInt,
    }
}

diesel::table! {
    holdfast_unrecovered (instance_id, chat, sender, message_id) {
        instance_id -> Text,
        chat -> Text,
        sender -> Text,
        message_id -> Text,
        why -> Text,
        since_ms -> BigInt,
        times -> Integer,
        given_up_ms -> Nullable<BigInt>,
    }
}

diesel::table! {
    holdfast_outbox (seq) {
        seq -> BigInt,
        event_id -> Text,
        instance_id -> Text,
        instance_name -> Text,
        token -> Nullable<Text>,
        owner_jid -> Nullable<Text>,
        sink -> Text,
        event -> Text,
        data -> Text,
        at_ms -> BigInt,
        attempts -> Integer,
        due_ms -> BigInt,
        state -> Text,
        why -> Nullable<Text>,
        dead_ms -> Nullable<BigInt>,
        url -> Text,
        headers -> Nullable<Text>,
        by_events -> Bool,
        tries -> Integer,
        waiting_ms -> BigInt,
        deleted_by -> Nullable<Text>,
        client_name -> Nullable<Text>,
    }
}

diesel::table! {
    holdfast_archive (id) {
        id -> BigInt,
        instance_id -> Text,
        archived_at -> BigInt,
        reason -> Text,
        category -> Text,
        key -> Text,
        value -> Binary,
    }
}

diesel::table! {
    holdfast_send (instance_id, key) {
        instance_id -> Text,
        key -> Text,
        fingerprint -> Binary,
        message_id -> Text,
        may_have_left -> Bool,
        status -> Nullable<Integer>,
        answer -> Nullable<Text>,
        created_at -> BigInt,
    }
}

diesel::table! {
    holdfast_node (client_name, name) {
        client_name -> Text,
        name -> Text,
        home -> Text,
        incarnation -> Text,
        url -> Nullable<Text>,
        version -> Text,
        joined_ms -> BigInt,
        seen_ms -> BigInt,
        expires_ms -> BigInt,
        draining -> Bool,
    }
}

diesel::table! {
    holdfast_meta (key) {
        key -> Text,
        value -> Binary,
    }
}

diesel::joinable!(session -> instance (session_id));
diesel::joinable!(webhook -> instance (instance_id));
diesel::joinable!(chatwoot -> instance (instance_id));
diesel::joinable!(proxy -> instance (instance_id));
diesel::joinable!(setting -> instance (instance_id));
diesel::joinable!(holdfast_session -> instance (instance_id));
diesel::joinable!(holdfast_session_value -> instance (instance_id));
diesel::allow_tables_to_appear_in_same_query!(
    instance,
    session,
    webhook,
    chatwoot,
    proxy,
    setting,
    holdfast_session,
    holdfast_session_value,
    holdfast_accepted
);
