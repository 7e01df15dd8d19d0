//! Rows of settings: one for each instance.

use diesel::prelude::*;
use holdfast_core::id::InstanceId;

use super::instances::require;
use super::{Conn, Tx};
use crate::ports::store::{SettingRow, Settings, SettingsSpec};
use crate::store::columns::{self, clip, column_time};
use crate::store::cuid::cuid;
use crate::store::failure::Failure;
use crate::store::rows::Setting;
use crate::store::schema::setting;

/// Reads the settings of an instance.
pub(super) fn read(conn: &mut Conn, id: &InstanceId) -> Result<Option<SettingRow>, Failure> {
    let found = find(conn, id)?;
    if found.is_none() {
        require(conn, id)?;
    }
    Ok(found)
}

fn find(conn: &mut Conn, id: &InstanceId) -> Result<Option<SettingRow>, Failure> {
    let found: Option<Setting> = setting::table
        .filter(setting::instance_id.eq(id.as_str()))
        .select(Setting::as_select())
        .first(conn)
        .optional()?;
    Ok(found.map(Into::into))
}

/// Writes those of a new instance.
pub(super) fn insert(tx: &mut Tx<'_>, id: &InstanceId, settings: &Settings) -> Result<(), Failure> {
    write(tx, id, settings)
}

/// Creates or replaces them. A text that is not given stays as it is.
pub(super) fn set(tx: &mut Tx<'_>, id: &InstanceId, spec: &SettingsSpec) -> Result<SettingRow, Failure> {
    let before = read(tx.conn, id)?.map(|row| row.settings).unwrap_or_default();
    let settings = Settings {
        reject_call: spec.reject_call,
        msg_call: spec.msg_call.clone().unwrap_or(before.msg_call),
        groups_ignore: spec.groups_ignore,
        always_online: spec.always_online,
        read_messages: spec.read_messages,
        read_status: spec.read_status,
        sync_full_history: spec.sync_full_history,
        wavoip_token: spec.wavoip_token.clone().unwrap_or(before.wavoip_token),
    };
    write(tx, id, &settings)?;
    find(tx.conn, id)?.ok_or_else(|| diesel::result::Error::NotFound.into())
}

fn write(tx: &mut Tx<'_>, id: &InstanceId, settings: &Settings) -> Result<(), Failure> {
    let time = column_time(tx.now);
    let columns = (
        setting::reject_call.eq(settings.reject_call),
        setting::msg_call.eq(clip(&settings.msg_call, columns::SHORT)),
        setting::groups_ignore.eq(settings.groups_ignore),
        setting::always_online.eq(settings.always_online),
        setting::read_messages.eq(settings.read_messages),
        setting::read_status.eq(settings.read_status),
        setting::sync_full_history.eq(settings.sync_full_history),
        setting::wavoip_token.eq(clip(&settings.wavoip_token, columns::SHORT)),
        setting::updated_at.eq(time),
    );
    let created = (setting::id.eq(cuid()?), setting::created_at.eq(time), setting::instance_id.eq(id.as_str()));
    diesel::insert_into(setting::table)
        .values((columns.clone(), created))
        .on_conflict(setting::instance_id)
        .do_update()
        .set(columns)
        .execute(tx.conn)?;
    Ok(())
}
