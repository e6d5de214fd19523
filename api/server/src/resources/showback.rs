//! Showback: what each system of a department held, by day, and what that is worth where the
//! province has set prices.
//!
//! The records are the operator's, one for each month, and are not cached here: they are large and
//! seldom asked for. What is held just now is added up to now.

mod lines;
mod prices;

use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{Uri, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use dc_crds::usage::days::{self, Month};
use dc_crds::{DEPARTMENT_LABEL, UsageRecord};
use jiff::Timestamp;
use jiff::civil::Date;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::ListParams;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::door::{Caller, body};
use crate::problem::{Part, Problem};
use crate::rights::{Resource, Verb};
use crate::serve::read::see;
use crate::serve::{Answered, Place, list_path};

pub use lines::{Line, Total};
use prices::Prices;

/// What a role names; the objects themselves are the cluster's, and outlive the department.
pub const RESOURCE: Resource = Resource {
    group: dc_crds::GROUP,
    plural: "usagerecords",
};
/// The last part of its address.
pub const PATH: &str = "showback";
/// Days that are told at once.
const LONGEST: i32 = 366;
/// A request waits no longer for what it needs.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the systems of a department held from one day to another.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Showback {
    pub department: String,
    /// The first day, as 2026-11-01.
    pub from: String,
    /// The last day.
    pub to: String,
    /// In which days begin and end.
    pub time_zone: String,
    /// Up to when it is told, RFC 3339 in UTC: now, if the last day is not over.
    pub until: String,
    pub prices: PricesState,
    /// By system and resource.
    pub totals: Vec<Total>,
    /// By day, system and resource.
    pub lines: Vec<Line>,
}

/// Whether amounts have a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum PricesState {
    /// The province has set none.
    None,
    Applied,
    /// They are there and do not read, so nothing has a price.
    Unreadable,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    from: Option<String>,
    to: Option<String>,
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Csv,
}

/// The first and the last day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: Date,
    pub to: Date,
}

impl Span {
    /// This month up to today, where nothing else is said.
    pub fn parse(from: Option<&str>, to: Option<&str>, today: Date) -> Result<Self, Problem> {
        let read = |field: &str, text: Option<&str>, or: Date| {
            let parsed = text.map_or(Ok(or), str::parse);
            parsed.map_err(|_| Problem::unreadable(field, "a day, as 2026-11-27"))
        };
        let to = read("to", to, today)?;
        let from = read("from", from, to.first_of_month())?;
        let days = (to - from).get_days();
        if !(0..LONGEST).contains(&days) {
            let wrong = format!("from a day before `to`, at most {LONGEST} days");
            return Err(Problem::unreadable("from", wrong));
        }
        Ok(Self { from, to })
    }
}

pub fn routes(app: &App) -> Router {
    Router::new()
        .route(&list_path(PATH), get(show))
        .with_state(app.clone())
}

async fn show(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answered {
    let Path(department) = path.map_err(|_| Problem::NotFound)?;
    let place = Place::list(department)?;
    let Asked { from, to, format } = body::query(&uri)?;
    let shown = get_showback(&app, &caller, &place, from.as_deref(), to.as_deref()).await?;
    match format.unwrap_or_default() {
        Format::Json => Ok(Json(shown).into_response()),
        Format::Csv => shown.table(),
    }
}

impl Showback {
    /// The lines as a file to keep: one for each, with the names of the columns in the first.
    pub fn table(&self) -> Answered {
        let name = format!("{}-{}-{}.csv", self.department, self.from, self.to);
        let headers = [
            (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
            (
                header::CONTENT_DISPOSITION,
                format!("attachment; filename=\"{name}\""),
            ),
        ];
        let text = lines::csv(&self.department, &self.lines).ok_or(Problem::Internal)?;
        Ok((headers, text).into_response())
    }
}

/// What a caller who may see it is told.
pub async fn get_showback(
    app: &App,
    caller: &Caller,
    place: &Place,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<Showback, Problem> {
    see(app, caller, Verb::List, RESOURCE, place).await?;
    let read = async {
        let (records, prices) = tokio::join!(records(app, place), prices(app));
        Ok::<_, kube::Error>((records?, prices?))
    };
    let read = tokio::time::timeout(DEADLINE, read).await;
    let Ok(Ok((records, prices))) = read else {
        tracing::warn!(
            department = place.department,
            "usage cannot be read: {read:?}"
        );
        return Err(Problem::Unavailable(Part::Kubernetes));
    };
    let now = Timestamp::now();
    let newest = records.last();
    let zone_name = newest.map_or("UTC", |record| record.spec.time_zone.as_str());
    let zone = days::zone(zone_name).ok_or(Problem::Internal)?;
    let span = Span::parse(from, to, now.to_zoned(zone.clone()).date())?;
    let months = months(&records, &zone, now);
    let until = months.last().and_then(Month::until).unwrap_or(now);
    let (prices, state) = match prices {
        None => (Prices::default(), PricesState::None),
        Some(Ok(prices)) => (prices, PricesState::Applied),
        Some(Err(error)) => {
            tracing::error!(%error, "the ConfigMap {} cannot be read", prices::CONFIG_MAP);
            (Prices::default(), PricesState::Unreadable)
        }
    };
    let lines = lines::lines(&months, span, &prices);
    Ok(Showback {
        department: place.department.clone(),
        from: span.from.to_string(),
        to: span.to.to_string(),
        time_zone: zone_name.to_owned(),
        until: until.to_string(),
        prices: state,
        totals: lines::totals(&lines),
        lines,
    })
}

/// All records of a department, by month.
async fn records(app: &App, place: &Place) -> Result<Vec<UsageRecord>, kube::Error> {
    let api: Api<UsageRecord> = Api::all(app.client.clone());
    let label = format!("{DEPARTMENT_LABEL}={}", place.department);
    let found = api.list(&ListParams::default().labels(&label)).await?;
    let mut records = found.items;
    records.sort_by(|one, other| one.spec.month.cmp(&other.spec.month));
    Ok(records)
}

/// The records with what has been held since the last one was written.
fn months(records: &[UsageRecord], zone: &jiff::tz::TimeZone, now: Timestamp) -> Vec<Month> {
    let mut months: Vec<Month> = Vec::new();
    for record in records {
        if let Some(status) = &record.status {
            months.push(Month {
                month: record.spec.month.clone(),
                status: status.clone(),
            });
        }
    }
    if let Some(last) = months.pop() {
        months.extend(last.carried_on(zone, now));
    }
    months
}

async fn prices(app: &App) -> Result<Option<Result<Prices, serde_norway::Error>>, kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(app.client.clone(), &app.namespace);
    let map = api.get_opt(prices::CONFIG_MAP).await?;
    let text = map.and_then(|map| map.data?.remove(prices::FILE));
    Ok(text.map(|text| Prices::parse(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn without_days_it_is_this_month_up_to_today() {
        let span = Span::parse(None, None, day("2026-11-27")).unwrap();
        assert_eq!((span.from, span.to), (day("2026-11-01"), day("2026-11-27")));
        let before = Span::parse(None, Some("2026-02-28"), day("2026-11-27")).unwrap();
        assert_eq!(before.from, day("2026-02-01"));
    }

    #[test]
    fn what_is_no_day_or_too_much_is_refused_by_name() {
        let today = day("2026-11-27");
        for (from, to, field) in [
            (Some("yesterday"), None, "from"),
            (None, Some("2026-13-01"), "to"),
            (Some("2026-12-01"), None, "from"),
            (Some("2020-01-01"), None, "from"),
        ] {
            let Err(Problem::Unreadable(fault)) = Span::parse(from, to, today) else {
                panic!("{from:?} {to:?} passed");
            };
            assert_eq!(fault.field, field);
        }
    }
}
