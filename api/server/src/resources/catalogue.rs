//! The catalogue: what a department may choose from when it asks for something. It is the same for
//! all, and everybody who may list machine classes may see it.

use axum::extract::{Extension, State};
use axum::http::Uri;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use dc_crds::{BackupPolicy, BackupRepository, Image, MachineClass, StoragePool, Zone};
use kube::{Client, ResourceExt};
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use crate::app::App;
use crate::cache::Cache;
use crate::door::{Caller, body};
use crate::problem::Problem;
use crate::rights::reviews::Answer;
use crate::rights::{Question, Resource, Verb};
use crate::serve::read::Nothing;
use crate::serve::{Answered, ROOT};

/// Caches of what platform administrators offer.
pub struct Catalogue {
    classes: Cache<MachineClass>,
    images: Cache<Image>,
    pools: Cache<StoragePool>,
    zones: Cache<Zone>,
    repositories: Cache<BackupRepository>,
    /// Shown to each department as far as they are for it.
    pub policies: Cache<BackupPolicy>,
}

impl Catalogue {
    #[must_use]
    pub fn start(client: &Client) -> Self {
        Self {
            classes: Cache::start(client.clone(), drop),
            images: Cache::start(client.clone(), drop),
            pools: Cache::start(client.clone(), drop),
            zones: Cache::start(client.clone(), drop),
            repositories: Cache::start(client.clone(), drop),
            policies: Cache::start(client.clone(), drop),
        }
    }

    #[must_use]
    pub fn read(&self) -> [watch::Receiver<bool>; 6] {
        let Self {
            classes,
            images,
            pools,
            zones,
            repositories,
            policies,
        } = self;
        [
            classes.read(),
            images.read(),
            pools.read(),
            zones.read(),
            repositories.read(),
            policies.read(),
        ]
    }
}

/// What there is to choose from.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Catalogue)]
pub struct CatalogueView {
    pub classes: Vec<ClassView>,
    pub images: Vec<ImageView>,
    pub pools: Vec<PoolView>,
    pub zones: Vec<ZoneView>,
    pub repositories: Vec<RepositoryView>,
}

/// How much a machine gets.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MachineClass)]
pub struct ClassView {
    pub name: String,
    pub vcpus: u32,
    /// Such as 4Gi.
    pub memory: String,
}

/// A disk that volumes are made from.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Image)]
pub struct ImageView {
    pub name: String,
    /// Of the disk inside; absent until it was read.
    pub size: Option<String>,
    /// Where it is.
    pub pools: Vec<String>,
}

/// Where volumes are.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = StoragePool)]
pub struct PoolView {
    pub name: String,
    /// As quotas count it, such as standard.
    pub class: String,
}

/// Where subnets are.
#[derive(Serialize, ToSchema)]
#[schema(as = Zone)]
pub struct ZoneView {
    pub name: String,
}

/// Where backups lie.
#[derive(Serialize, ToSchema)]
#[schema(as = BackupRepository)]
pub struct RepositoryView {
    pub name: String,
}

pub fn path() -> String {
    format!("{ROOT}/catalogue")
}

pub fn routes(app: &App) -> Router {
    Router::new()
        .route(&path(), get(whole))
        .with_state(app.clone())
}

async fn whole(State(app): State<App>, Extension(caller): Extension<Caller>, uri: Uri) -> Answered {
    let Nothing {} = body::query(&uri)?;
    Ok(Json(see(&app, &caller).await?).into_response())
}

/// The catalogue, if the caller may see it.
pub async fn see(app: &App, caller: &Caller) -> Result<CatalogueView, Problem> {
    let question = Question {
        verb: Verb::List,
        resource: Resource {
            group: dc_crds::GROUP,
            plural: "machineclasses",
        },
        department: None,
        name: None,
    };
    if app.reviews.ask(&caller.person, question).await? == Answer::No {
        return Err(Problem::NotFound);
    }
    let Catalogue {
        classes,
        images,
        pools,
        zones,
        repositories,
        policies: _,
    } = &app.catalogue;
    // They are platform administrators' own, and few.
    let most = usize::MAX - 1;
    let classes = classes.page("", None, most, |_| true).0;
    let images = images.page("", None, most, |_| true).0;
    let pools = pools.page("", None, most, |_| true).0;
    let repositories = repositories.page("", None, most, |_| true).0;
    let zones = zones.page("", None, most, |_| true).0;
    let mut classes: Vec<ClassView> = classes.iter().map(|class| class_view(class)).collect();
    classes.sort_by_key(|class| class.vcpus);
    Ok(CatalogueView {
        classes,
        images: images.iter().map(|image| image_view(image)).collect(),
        pools: pools.iter().map(|pool| pool_view(pool)).collect(),
        zones: zones.iter().map(|zone| zone_view(zone)).collect(),
        repositories: repositories
            .iter()
            .map(|one| repository_view(one))
            .collect(),
    })
}

fn class_view(class: &MachineClass) -> ClassView {
    ClassView {
        name: class.name_any(),
        vcpus: class.spec.vcpus,
        memory: class.spec.memory.clone(),
    }
}

fn image_view(image: &Image) -> ImageView {
    let status = image.status.as_ref();
    ImageView {
        name: image.name_any(),
        size: status.and_then(|status| status.virtual_size.clone()),
        pools: image.spec.pools.clone(),
    }
}

fn pool_view(pool: &StoragePool) -> PoolView {
    PoolView {
        name: pool.name_any(),
        class: pool.spec.class.clone(),
    }
}

fn zone_view(zone: &Zone) -> ZoneView {
    ZoneView {
        name: zone.name_any(),
    }
}

fn repository_view(repository: &BackupRepository) -> RepositoryView {
    RepositoryView {
        name: repository.name_any(),
    }
}
