//! Rows of proxies. Evolution reads and writes the same table, so nothing in it is encrypted.

use diesel::prelude::*;
use holdfast_core::id::InstanceId;

use super::instances::require;
use super::{Conn, Tx};
use crate::ports::store::{ProxyRow, ProxySpec};
use crate::store::columns::column_time;
use crate::store::cuid::cuid;
use crate::store::failure::Failure;
use crate::store::rows::Proxy;
use crate::store::schema::proxy;

/// Creates or replaces it, and tells whether anything is different from before. Switched off and never set are alike.
pub(super) fn set(tx: &mut Tx<'_>, id: &InstanceId, spec: &ProxySpec) -> Result<bool, Failure> {
    require(tx.conn, id)?;
    let before = match read(tx.conn, id) {
        Ok(row) => row.map(|row| ProxyRow::from(row).spec),
        // What cannot be read is replaced: this is the way to get rid of it.
        Err(diesel::result::Error::DeserializationError(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let ProxySpec { enabled, host, port, protocol, username, password } = spec;
    let time = column_time(tx.now);
    let columns = (
        proxy::enabled.eq(enabled),
        proxy::host.eq(host),
        proxy::port.eq(port),
        proxy::protocol.eq(protocol),
        proxy::username.eq(username),
        proxy::password.eq(password),
        proxy::updated_at.eq(time),
    );
    let created = (proxy::id.eq(cuid()?), proxy::created_at.eq(time), proxy::instance_id.eq(id.as_str()));
    diesel::insert_into(proxy::table)
        .values((columns, created))
        .on_conflict(proxy::instance_id)
        .do_update()
        .set(columns)
        .execute(tx.conn)?;
    let used = |spec: &ProxySpec| spec.enabled.then(|| spec.clone());
    Ok(before.as_ref().and_then(used) != used(spec))
}

fn read(conn: &mut Conn, id: &InstanceId) -> QueryResult<Option<Proxy>> {
    proxy::table.filter(proxy::instance_id.eq(id.as_str())).select(Proxy::as_select()).first(conn).optional()
}
