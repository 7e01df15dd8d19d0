//! Leases: who owns which instances, by one row for each node.
//!
//! An instance belongs to the node that `lease_node` of its session names, for as long as that node's row has not expired by the database's
//! clock. Whoever takes an instance from another node holds that node's row while it looks at the expiry and until the instance is its
//! own; a renewal changes the row first and reads what it owns afterwards. So of a takeover and a renewal that comes late one is first,
//! and the other knows.
//!
//! Nobody waits in a circle: rows of nodes are held before those of sessions and in the order of their names; a renewal waits for its own row
//! alone; and what takes many sessions at once passes over those that somebody else holds.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use futures_util::future::join_all;
use holdfast_core::id::InstanceId;
use holdfast_core::tenancy::{Share, Survey};

use super::standing::{AsItIs, AsItStays, has_not_joined, in_use, is_present, note_unknown, stand, standing, words};
use super::{Conn, Database, Lane, Tx, dialect};
use crate::failpoint::reach;
use crate::ports::leases::{Leases, Node, Owner, Profile, Whereabouts};
use crate::ports::store::StoreError;
use crate::store::failure::{Failure, unavailable};
use crate::store::member::Member;
use crate::store::schema::{holdfast_node, holdfast_session, instance};

/// How long an instance may be without an owner before it is overdue.
const OVERDUE_MS: i64 = 10_000;
/// How long a node is remembered that is gone.
const REMEMBERED_MS: i64 = 24 * 60 * 60 * 1000;
/// Rows among our own that are made at once for instances that another program has created.
const NEWCOMERS: i64 = 500;

/// Takes a place that is free, that was the same process's before, or whose owner is gone.
const JOIN: &str = "\
    INSERT INTO holdfast_node (client_name, name, home, incarnation, url, version, joined_ms, seen_ms, expires_ms, draining) \
    VALUES ($1, $2, $3, $4, $5, $6, NOW_MS, NOW_MS, EXPIRY, FALSE) \
    ON CONFLICT (client_name, name) DO UPDATE SET home = excluded.home, incarnation = excluded.incarnation, url = excluded.url, \
      version = excluded.version, joined_ms = excluded.joined_ms, seen_ms = excluded.seen_ms, expires_ms = excluded.expires_ms, \
      draining = excluded.draining \
      WHERE holdfast_node.home = excluded.home OR holdfast_node.expires_ms <= NOW_MS";

/// Holds the leases for another while. One that comes late revives them, if nobody has taken the place.
const RENEW: &str = "\
    UPDATE holdfast_node SET seen_ms = NOW_MS, expires_ms = EXPIRY \
    WHERE client_name = $1 AND name = $2 AND incarnation = $3";

/// Makes rows among our own for instances that another program has created.
const WELCOME: &str = r#"
    INSERT INTO holdfast_session (instance_id)
    SELECT i."id" FROM "Instance" i WHERE i."clientName" = $1
      AND NOT EXISTS (SELECT 1 FROM holdfast_session s WHERE s.instance_id = i."id")
    ORDER BY i."id" LIMIT $2 PASSING_OVER ON CONFLICT DO NOTHING"#;

/// Finds what can be taken, what has waited longest first. What never had an owner has waited longest of all.
const TAKEABLE: &str = r#"
    SELECT s.instance_id FROM holdfast_session s JOIN "Instance" i ON i."id" = s.instance_id
    LEFT JOIN holdfast_node n ON n.client_name = $1 AND n.name = s.lease_node
    WHERE i."clientName" = $1 AND (s.lease_node IS NULL OR s.lease_node IN (DEAD))
    ORDER BY coalesce(s.lease_ended_at, n.expires_ms, 0), s.instance_id LIMIT $3 PASSING_OVER"#;

/// Lists nodes, and beside them how many instances each owns; in one statement, so that it is true of one moment.
const ROSTER: &str = r#"
    SELECT n.name AS node, n.url, n.version, n.joined_ms, n.seen_ms, n.expires_ms, NOW_MS AS now_ms, n.draining,
      0 AS instances, 0 AS overdue FROM holdfast_node n WHERE n.client_name = $1
    UNION ALL
    SELECT s.lease_node, NULL, NULL, 0, 0, 0, NOW_MS, FALSE, count(*),
      count(CASE WHEN coalesce(s.lease_ended_at, 0) <= NOW_MS - $2 THEN 1 END)
    FROM "Instance" i LEFT JOIN holdfast_session s ON s.instance_id = i."id" WHERE i."clientName" = $1 GROUP BY s.lease_node"#;

/// Forgets nodes that are gone and own nothing.
const FORGET: &str = "\
    DELETE FROM holdfast_node WHERE client_name = $1 AND name IN (\
      SELECT n.name FROM holdfast_node n WHERE n.client_name = $1 AND n.name <> $2 AND n.expires_ms <= NOW_MS - $3 \
        AND NOT EXISTS (SELECT 1 FROM holdfast_session s WHERE s.lease_node = n.name) PASSING_OVER)";

const WHEREABOUTS: &str = r#"
    SELECT i."id" AS instance_id, s.lease_node AS node, n.url, coalesce(n.expires_ms > NOW_MS, FALSE) AS alive
    FROM "Instance" i LEFT JOIN holdfast_session s ON s.instance_id = i."id"
    LEFT JOIN holdfast_node n ON n.client_name = $1 AND n.name = s.lease_node
    WHERE i."name" = $2 AND i."clientName" = $1"#;

#[derive(QueryableByName)]
struct InstanceRow {
    #[diesel(sql_type = Text)]
    instance_id: String,
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct RosterRow {
    #[diesel(sql_type = Nullable<Text>)]
    node: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    url: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    version: Option<String>,
    #[diesel(sql_type = BigInt)]
    joined_ms: i64,
    #[diesel(sql_type = BigInt)]
    seen_ms: i64,
    #[diesel(sql_type = BigInt)]
    expires_ms: i64,
    #[diesel(sql_type = BigInt)]
    now_ms: i64,
    #[diesel(sql_type = Bool)]
    draining: bool,
    #[diesel(sql_type = BigInt)]
    instances: i64,
    #[diesel(sql_type = BigInt)]
    overdue: i64,
}

#[derive(QueryableByName)]
struct WhereaboutsRow {
    #[diesel(sql_type = Text)]
    instance_id: String,
    #[diesel(sql_type = Nullable<Text>)]
    node: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    url: Option<String>,
    #[diesel(sql_type = Bool)]
    alive: bool,
}

#[async_trait]
impl Leases for Database {
    fn lease_ttl(&self) -> Option<Duration> {
        dialect::SHARED.then_some(self.member.ttl)
    }

    async fn join(&self, profile: Profile) -> Result<(), StoreError> {
        const DOING: &str = "joining the fleet";
        if profile.node != self.member.node {
            return Err(unavailable(DOING, "the store was opened for another node"));
        }
        let (member, asked) = (self.member.clone(), profile.clone());
        self.lease(DOING, move |tx| join(tx, &member, &asked)).await?;
        self.member.join(Some(profile));
        // What the dead leave behind may be ours to deliver from now on.
        self.appended.notify_one();
        Ok(())
    }

    async fn renew(&self) -> Result<Vec<InstanceId>, StoreError> {
        let member = self.member.clone();
        self.lease("renewing the leases", move |tx| renew(tx, &member)).await
    }

    async fn survey(&self) -> Result<Survey, StoreError> {
        let member = self.member.clone();
        self.lease("looking at who owns what", move |tx| Ok(survey(&member, roster(tx.conn, &member)?))).await
    }

    async fn adopt(&self, most: u32, abandoned: bool) -> Result<Vec<InstanceId>, StoreError> {
        const DOING: &str = "adopting instances";
        let member = self.member.clone();
        self.lease(DOING, move |tx| welcome(tx, &member)).await?;
        let member = self.member.clone();
        let adopted = self.lease(DOING, move |tx| adopt(tx, &member, most, abandoned)).await?;
        if !adopted.is_empty() {
            // What waits for their webhooks is ours to deliver now.
            self.appended.notify_one();
        }
        Ok(adopted)
    }

    async fn let_go(&self, ids: Vec<InstanceId>) -> Result<(), StoreError> {
        // Each in its lane: after everything that its actor has still written.
        let lettings = ids.into_iter().map(|id| {
            let member = self.member.clone();
            self.write("letting an instance go", Lane::of(&id), move |tx| let_go(tx, &member, &id))
        });
        join_all(lettings).await.into_iter().collect()
    }

    async fn retire(&self) -> Result<(), StoreError> {
        let member = self.member.clone();
        let retire = move |tx: &mut Tx<'_>| {
            let Some(own) = own_row(&member) else { return Ok(()) };
            diesel::update(own).set(holdfast_node::draining.eq(true)).execute(tx.conn)?;
            Ok(())
        };
        self.lease("saying that this node stops", retire).await
    }

    async fn leave(&self) -> Result<(), StoreError> {
        let member = self.member.clone();
        self.lease("leaving the fleet", move |tx| leave(tx, &member)).await?;
        self.member.join(None);
        Ok(())
    }

    async fn whereabouts(&self, name: &str) -> Result<Option<Whereabouts>, StoreError> {
        let (member, name) = (self.member.clone(), name.to_owned());
        self.look("finding the owner of an instance", move |conn| whereabouts(conn, &member, &name)).await
    }

    async fn owners(&self) -> Result<HashMap<InstanceId, String>, StoreError> {
        let member = self.member.clone();
        self.look("finding the owners of all instances", move |conn| owners(conn, &member)).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        let member = self.member.clone();
        let nodes = move |tx: &mut Tx<'_>| {
            forget(tx.conn, &member)?;
            Ok(nodes(roster(tx.conn, &member)?))
        };
        self.lease("listing the nodes", nodes).await
    }
}

fn join(tx: &mut Tx<'_>, member: &Member, profile: &Profile) -> Result<(), Failure> {
    let joined = diesel::sql_query(words(JOIN, member))
        .bind::<Text, _>(&member.client_name)
        .bind::<Text, _>(&member.node)
        .bind::<Text, _>(&profile.home)
        .bind::<Text, _>(&profile.incarnation)
        .bind::<Nullable<Text>, _>(&profile.url)
        .bind::<Text, _>(&profile.version)
        .execute(tx.conn)?;
    if joined == 0 {
        return Err(in_use(member));
    }
    reach!("join.written");
    Ok(())
}

fn renew(tx: &mut Tx<'_>, member: &Member) -> Result<Vec<InstanceId>, Failure> {
    let Some(profile) = member.joined() else { return Err(has_not_joined("renewing the leases")) };
    let renewed = diesel::sql_query(words(RENEW, member))
        .bind::<Text, _>(&member.client_name)
        .bind::<Text, _>(&member.node)
        .bind::<Text, _>(&profile.incarnation)
        .execute(tx.conn)?;
    if renewed == 0 {
        if standing(tx.conn, member, &member.node, AsItIs)?.is_some() {
            return Err(in_use(member));
        }
        // It was away for so long that the others have forgotten it.
        join(tx, member, &profile)?;
    }
    // A statement of its own: it sees what was taken while this one waited for its row.
    let owned: Vec<String> = holdfast_session::table
        .inner_join(instance::table)
        .filter(instance::client_name.eq(&member.client_name))
        .filter(holdfast_session::lease_node.eq(&member.node))
        .select(holdfast_session::instance_id)
        .load(tx.conn)?;
    Ok(owned.into_iter().map(InstanceId::new).collect())
}

fn welcome(tx: &mut Tx<'_>, member: &Member) -> Result<(), Failure> {
    let new = diesel::sql_query(WELCOME.replace("PASSING_OVER", dialect::STANDING_INSTANCES))
        .bind::<Text, _>(&member.client_name)
        .bind::<BigInt, _>(NEWCOMERS)
        .execute(tx.conn)?;
    if new > 0 {
        tracing::info!(instances = new, "Instances that another program has created can be adopted");
    }
    Ok(())
}

fn adopt(tx: &mut Tx<'_>, member: &Member, most: u32, abandoned: bool) -> Result<Vec<InstanceId>, Failure> {
    use holdfast_session::{epoch, lease_ended_at, lease_node};
    stand(tx.conn, member, AsItStays)?;
    let dead = if abandoned { hold_the_dead(tx.conn, member)? } else { Vec::new() };
    let takeable =
        TAKEABLE.replace("DEAD", &dialect::texts("$2")).replace("PASSING_OVER", dialect::PASSING_OVER_SESSIONS);
    let takeable: Vec<InstanceRow> = diesel::sql_query(takeable)
        .bind::<Text, _>(&member.client_name)
        .bind::<Text, _>(serde_json::json!(dead).to_string())
        .bind::<BigInt, _>(i64::from(most))
        .load(tx.conn)?;
    let ids: Vec<String> = takeable.into_iter().map(|row| row.instance_id).collect();
    let taken = (epoch.eq(epoch + 1), lease_node.eq(&member.node), lease_ended_at.eq(None::<i64>));
    let rows = holdfast_session::table.filter(holdfast_session::instance_id.eq_any(&ids));
    diesel::update(rows).set(taken).execute(tx.conn)?;
    Ok(ids.into_iter().map(InstanceId::new).collect())
}

/// Finds the nodes that are dead, and lets none of them revive before this transaction has ended.
fn hold_the_dead(conn: &mut Conn, member: &Member) -> Result<Vec<String>, Failure> {
    note_unknown(conn, member)?;
    let dead = if dialect::SHARED {
        "SELECT name FROM holdfast_node WHERE client_name = $1 AND name <> $2 AND expires_ms <= NOW_MS ORDER BY name FOR SHARE"
    } else {
        // The lock on the data directory says so.
        "SELECT name FROM holdfast_node WHERE client_name = $1 AND name <> $2"
    };
    let dead: Vec<Name> = diesel::sql_query(words(dead, member))
        .bind::<Text, _>(&member.client_name)
        .bind::<Text, _>(&member.node)
        .load(conn)?;
    Ok(dead.into_iter().map(|row| row.name).collect())
}

fn let_go(tx: &mut Tx<'_>, member: &Member, id: &InstanceId) -> Result<(), Failure> {
    // A process whose place was taken owns nothing any more, also under its name.
    if dialect::SHARED && !is_present(tx.conn, member)? {
        return Ok(());
    }
    let own = holdfast_session::table.find(id.as_str()).filter(holdfast_session::lease_node.eq(&member.node));
    let free = (holdfast_session::lease_node.eq(None::<String>), holdfast_session::lease_ended_at.eq(now()));
    diesel::update(own).set(free).execute(tx.conn)?;
    Ok(())
}

fn leave(tx: &mut Tx<'_>, member: &Member) -> Result<(), Failure> {
    let Some(own) = own_row(member) else { return Ok(()) };
    let held: i64 = holdfast_session::table
        .inner_join(instance::table)
        .filter(instance::client_name.eq(&member.client_name))
        .filter(holdfast_session::lease_node.eq(&member.node))
        .count()
        .get_result(tx.conn)?;
    if held == 0 {
        diesel::update(own).set(holdfast_node::expires_ms.eq(0)).execute(tx.conn)?;
    }
    Ok(())
}

fn whereabouts(conn: &mut Conn, member: &Member, name: &str) -> Result<Option<Whereabouts>, Failure> {
    let row: Option<WhereaboutsRow> = diesel::sql_query(words(WHEREABOUTS, member))
        .bind::<Text, _>(&member.client_name)
        .bind::<Text, _>(name)
        .get_result(conn)
        .optional()?;
    Ok(row.map(|WhereaboutsRow { instance_id, node, url, alive }| Whereabouts {
        id: InstanceId::new(instance_id),
        owner: node.map(|node| Owner { node, url, alive }),
    }))
}

fn owners(conn: &mut Conn, member: &Member) -> Result<HashMap<InstanceId, String>, Failure> {
    let rows: Vec<(String, Option<String>)> = holdfast_session::table
        .inner_join(instance::table.on(instance::id.eq(holdfast_session::instance_id)))
        .filter(instance::client_name.eq(&member.client_name))
        .filter(holdfast_session::lease_node.is_not_null())
        .select((holdfast_session::instance_id, holdfast_session::lease_node))
        .load(conn)?;
    Ok(rows.into_iter().filter_map(|(id, node)| Some((InstanceId::new(id), node?))).collect())
}

fn forget(conn: &mut Conn, member: &Member) -> Result<(), Failure> {
    diesel::sql_query(words(FORGET, member).replace("PASSING_OVER", dialect::PASSING_OVER))
        .bind::<Text, _>(&member.client_name)
        .bind::<Text, _>(&member.node)
        .bind::<BigInt, _>(REMEMBERED_MS)
        .execute(conn)?;
    Ok(())
}

fn roster(conn: &mut Conn, member: &Member) -> Result<Vec<RosterRow>, Failure> {
    let rows = diesel::sql_query(words(ROSTER, member))
        .bind::<Text, _>(&member.client_name)
        .bind::<BigInt, _>(OVERDUE_MS)
        .load(conn)?;
    Ok(rows)
}

/// Sums a roster up: the nodes by name, and what each owns.
fn nodes(roster: Vec<RosterRow>) -> Vec<Node> {
    let mut nodes = BTreeMap::new();
    let mut owned = Vec::new();
    for row in roster {
        let Some(name) = row.node else { continue };
        let Some(version) = row.version else {
            owned.push((name, count(row.instances)));
            continue;
        };
        let silent_ms = u64::try_from(row.now_ms - row.seen_ms).unwrap_or_default();
        let node = Node {
            name: name.clone(),
            url: row.url,
            version,
            since: DateTime::from_timestamp_millis(row.joined_ms).unwrap_or_default(),
            silent_for: Duration::from_millis(silent_ms),
            alive: row.expires_ms > row.now_ms,
            draining: row.draining,
            instances: 0,
        };
        nodes.insert(name, node);
    }
    for (name, instances) in owned {
        if let Some(node) = nodes.get_mut(&name) {
            node.instances = instances;
        }
    }
    nodes.into_values().collect()
}

fn survey(member: &Member, roster: Vec<RosterRow>) -> Survey {
    let (mut free, mut overdue, mut owned) = (0, 0, 0);
    for row in &roster {
        match (&row.node, &row.version) {
            (None, _) => (free, overdue) = (count(row.instances), count(row.overdue)),
            (Some(_), None) => owned += count(row.instances),
            (Some(_), Some(_)) => {}
        }
    }
    let nodes: Vec<Share> = nodes(roster)
        .into_iter()
        .filter(|node| node.alive)
        .map(|Node { name, draining, instances, .. }| Share {
            own: name == member.node,
            node: name,
            draining,
            instances,
        })
        .collect();
    let alive: u32 = nodes.iter().map(|share| share.instances).sum();
    Survey { free, overdue, abandoned: owned - alive, nodes }
}

fn count(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Forgets who was alive: where the data directory is locked, nobody is but this process.
pub(super) fn begin(conn: &mut Conn) -> Result<(), Failure> {
    if !dialect::SHARED {
        diesel::delete(holdfast_node::table).execute(conn)?;
    }
    Ok(())
}

/// Returns the moment by the database's clock.
pub(super) fn now() -> diesel::expression::SqlLiteral<Nullable<BigInt>> {
    diesel::dsl::sql(dialect::NOW_MS)
}

type OwnRow = diesel::dsl::Filter<
    diesel::dsl::Find<holdfast_node::table, (String, String)>,
    diesel::dsl::Eq<holdfast_node::incarnation, String>,
>;

/// Returns this process's row.
fn own_row(member: &Member) -> Option<OwnRow> {
    let profile = member.joined()?;
    let row = holdfast_node::table.find((member.client_name.clone(), member.node.clone()));
    Some(row.filter(holdfast_node::incarnation.eq(profile.incarnation)))
}
