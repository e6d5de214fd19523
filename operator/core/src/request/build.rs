//! What is built of a granted request: objects that are not there are made, those that are
//! otherwise are changed, once, and each is marked with the grant.

use dc_crds::GRANT;
use dc_crds::request::{Template, TemplateKind};
use serde_json::{Value, json};

use super::content::{Difference, differences, name_of, spec_of};
use super::judge::Judgement;
use super::{Readiness, Seen, grant};

/// One object to write.
#[derive(Clone, Debug, PartialEq)]
pub enum Build {
    Make {
        kind: TemplateKind,
        name: String,
        object: Value,
    },
    /// A merge patch.
    Change {
        kind: TemplateKind,
        name: String,
        patch: Value,
    },
}

/// How far the building is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Built,
    /// These are not there yet, or not ready.
    Waiting {
        objects: Vec<String>,
    },
}

/// How one template stands against what is there.
enum Stand {
    Absent,
    /// There, for another grant or none.
    Other,
    /// Built for this grant.
    Ours(Vec<Difference>, Readiness),
}

fn stand(seen: &Seen<'_>, template: &Template, mark: &str) -> Stand {
    let Some(live) = (seen.live)(template.kind, &template.name) else {
        return Stand::Absent;
    };
    let wanted = spec_of(template, seen.request.spec.lease.as_ref());
    let different = differences(&wanted, &live.spec);
    match live.grant.as_deref() == Some(mark) {
        true => Stand::Ours(different, live.readiness),
        false => Stand::Other,
    }
}

/// Systems and subnets before what is in them.
fn in_order<'a>(seen: &Seen<'a>) -> Vec<&'a Template> {
    let mut templates: Vec<&Template> = seen.request.spec.objects.iter().collect();
    templates.sort_by_key(|template| template.kind);
    templates
}

/// What to write next; nothing unless it may be built.
#[must_use]
pub fn builds(seen: &Seen<'_>, judgement: &Judgement) -> Vec<Build> {
    // What was provisioned once and is gone now was taken away by somebody.
    if !judgement.may_build() || judgement.phase != dc_crds::request::Phase::Granted {
        return Vec::new();
    }
    let mark = grant(seen.me, &judgement.hash);
    let mut builds = Vec::new();
    for template in in_order(seen) {
        let spec = spec_of(template, seen.request.spec.lease.as_ref());
        let (kind, name) = (template.kind, template.name.clone());
        match stand(seen, template, &mark) {
            Stand::Absent => builds.push(Build::Make {
                kind,
                object: json!({
                    "apiVersion": format!("{}/{}", dc_crds::GROUP, dc_crds::VERSION),
                    "kind": format!("{kind:?}"),
                    "metadata": {
                        "name": name, "namespace": seen.me.namespace,
                        "annotations": {GRANT: mark},
                    },
                    "spec": spec,
                }),
                name,
            }),
            Stand::Other => builds.push(Build::Change {
                kind,
                name,
                patch: json!({"metadata": {"annotations": {GRANT: mark}}, "spec": spec}),
            }),
            Stand::Ours(..) => {}
        }
    }
    builds
}

#[must_use]
pub fn progress(seen: &Seen<'_>, judgement: &Judgement) -> Progress {
    let mark = grant(seen.me, &judgement.hash);
    let waiting = in_order(seen).into_iter().filter(|template| {
        !matches!(
            stand(seen, template, &mark),
            Stand::Ours(_, Readiness::Ready)
        )
    });
    let objects: Vec<String> = waiting.map(name_of).collect();
    match objects.is_empty() {
        true => Progress::Built,
        false => Progress::Waiting { objects },
    }
}

/// What was built for this grant and is otherwise now, field by field.
#[must_use]
pub fn strayed(seen: &Seen<'_>, judgement: &Judgement) -> Vec<String> {
    let mark = grant(seen.me, &judgement.hash);
    let mut lines = Vec::new();
    for template in in_order(seen) {
        if let Stand::Ours(different, _) = stand(seen, template, &mark) {
            lines.extend(different.iter().map(|d| line(template, d)));
        }
    }
    lines
}

/// What would be otherwise than it is if this were granted, for those who decide.
#[must_use]
pub fn changes(seen: &Seen<'_>) -> Vec<String> {
    /// As many as a status holds in good order.
    const SHOWN: usize = 64;
    let mut lines = Vec::new();
    for template in in_order(seen) {
        match (seen.live)(template.kind, &template.name) {
            None => lines.push(format!("{}: new", name_of(template))),
            Some(live) => {
                let wanted = spec_of(template, seen.request.spec.lease.as_ref());
                let different = differences(&wanted, &live.spec);
                lines.extend(different.iter().map(|d| line(template, d)));
            }
        }
    }
    let more = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

fn line(template: &Template, difference: &Difference) -> String {
    let Difference { path, is, wanted } = difference;
    format!("{}: {path}: {is} → {wanted}", name_of(template))
}
