//! The OpenAPI 3.1 document, made from the same table as the routes and from the types of the
//! bodies. `docs/openapi.json` is this document; a test proves it current.

use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder};
use utoipa::openapi::path::{ParameterIn, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AdditionalProperties, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ArrayBuilder, ComponentsBuilder, Content, ContentBuilder, HeaderBuilder, InfoBuilder,
    ObjectBuilder, OpenApi, OpenApiBuilder, PathsBuilder, Ref, RefOr, Required, ResponseBuilder,
    Schema,
};
use utoipa::{PartialSchema, ToSchema};

use crate::page::{DEFAULT_LIMIT, LARGEST_LIMIT};
use crate::problem::ProblemBody;
use crate::resources::catalogue::{self, CatalogueView};
use crate::resources::departments::DepartmentView;
use crate::resources::events::EventView;
use crate::resources::policies::{self, PolicyView};
use crate::resources::protection::{self, ProtectionView};
use crate::resources::showback::{self, Showback};
use crate::resources::{self, Change, Create, Kind, Table};
use crate::serve::{ROOT, follow, list_path, object_path};

const NAME: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";
const SIGN_IN: &str = "oidc";

#[derive(Default)]
struct Document {
    paths: Vec<(String, HttpMethod, Operation)>,
    schemas: Vec<(String, RefOr<Schema>)>,
}

/// The document, as it is served.
#[must_use]
pub fn document() -> OpenApi {
    let mut document = Document::default();
    document.refer::<ProblemBody>();
    document.departments();
    document.catalogue();
    resources::all(&mut document);
    document.events();
    document.showback();
    document.policies();
    document.protection();
    document.changes();
    let Document { paths, schemas } = document;
    let mut all = PathsBuilder::new();
    for (path, method, operation) in paths {
        all = all.path(path, PathItem::new(method, operation));
    }
    let scheme = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("An ID token of the province's single sign-on."))
        .build();
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme(SIGN_IN, SecurityScheme::Http(scheme))
        .build();
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("The departments' API of the data centre")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "What belongs to a department, read and changed by its own officers. What you \
                     may not see is answered as what is not there.",
                ))
                .build(),
        )
        .paths(all.build())
        .components(Some(components))
        .security(Some([SecurityRequirement::new(SIGN_IN, [""; 0])]))
        .build()
}

/// As text that ends with a newline.
#[must_use]
pub fn text() -> String {
    let mut text = document().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

impl Document {
    /// The schema's place among the components.
    fn refer<T: ToSchema + PartialSchema>(&mut self) -> RefOr<Schema> {
        let name = T::name().into_owned();
        let mut all = Vec::new();
        T::schemas(&mut all);
        all.push((name.clone(), T::schema()));
        for (name, schema) in all {
            match self.schemas.iter().find(|(known, _)| *known == name) {
                // Two types of one name would make the document say what is not so.
                Some((_, known)) => debug_assert!(
                    serde_json::to_value(known).ok() == serde_json::to_value(&schema).ok(),
                    "two types are called {name}"
                ),
                None => self.schemas.push((name, schema)),
            }
        }
        RefOr::Ref(Ref::from_schema_name(name))
    }

    fn add(&mut self, path: String, method: HttpMethod, operation: OperationBuilder) {
        self.paths.push((path, method, operation.build()));
    }

    fn departments(&mut self) {
        let item = self.refer::<DepartmentView>();
        let list = operation("departments.list", "The departments you have rights in")
            .parameters(Some(pages()))
            .response("200", ok("A page, by name", list_of(item.clone())));
        self.add(format!("{ROOT}/departments"), HttpMethod::Get, list);
        let one = operation("departments.get", "One department")
            .parameter(in_path("department"))
            .response("200", ok("The department", content(item)));
        let path = format!("{ROOT}/departments/{{department}}");
        self.add(path, HttpMethod::Get, one);
    }

    fn catalogue(&mut self) {
        let whole = self.refer::<CatalogueView>();
        let get = operation("catalogue.get", "What there is to choose from")
            .response("200", ok("The catalogue", content(whole)));
        self.add(catalogue::path(), HttpMethod::Get, get);
    }

    fn events(&mut self) {
        let item = self.refer::<EventView>();
        let object = in_query("object", "The name of an object", named());
        let list = operation("events.list", "What happened in the last hour")
            .parameter(in_path("department"))
            .parameters(Some(pages()))
            .parameter(object)
            .response("200", ok("A page", list_of(item)));
        self.add(list_path("events"), HttpMethod::Get, list);
    }

    fn showback(&mut self) {
        let whole = self.refer::<Showback>();
        let day = || plain(Type::String);
        let get = operation(
            "showback.get",
            "What each system held, by day, and what it is worth",
        )
        .parameter(in_path("department"))
        .parameter(in_query(
            "from",
            "The first day, as 2026-11-01; of this month",
            day(),
        ))
        .parameter(in_query("to", "The last day; today", day()))
        .parameter(in_query("format", "json, or csv for a table", day()))
        .response("200", ok("Totals and lines", content(whole)));
        self.add(list_path(showback::PATH), HttpMethod::Get, get);
    }

    fn policies(&mut self) {
        let plural = policies::RESOURCE.plural;
        let item = self.refer::<PolicyView>();
        let list = operation(
            "backuppolicies.list",
            "Backup policies that are for machines of the department, and how these stand",
        )
        .parameter(in_path("department"))
        .parameters(Some(pages()))
        .response("200", ok("A page, by name", list_of(item.clone())));
        self.add(list_path(plural), HttpMethod::Get, list);
        let one = operation("backuppolicies.get", "One of the backuppolicies")
            .parameters(Some([in_path("department"), in_path("name")]))
            .response("200", ok("The policy", content(item)));
        self.add(object_path(plural), HttpMethod::Get, one);
    }

    fn protection(&mut self) {
        let item = self.refer::<ProtectionView>();
        let meant = in_query(
            "protected",
            "Only what a policy backs up, or only what none does",
            plain(Type::Boolean),
        );
        let list = operation(
            "protection.list",
            "Which volumes are backed up, when last, and why the others are not",
        )
        .parameter(in_path("department"))
        .parameters(Some(pages()))
        .parameter(meant)
        .response("200", ok("A page, by volume", list_of(item)));
        self.add(list_path(protection::PATH), HttpMethod::Get, list);
    }

    fn changes(&mut self) {
        let summary = "Changes as they come, as server-sent events";
        let text = ContentBuilder::new()
            .schema(Some(plain(Type::String)))
            .build();
        let stream = ResponseBuilder::new()
            .description(
                "Events `open`, `changed` and `deleted` (data: resource and object), `reset` (some \
                 were missed: read the lists again), `end`.",
            )
            .content("text/event-stream", text);
        let follow = operation("changes.follow", summary)
            .parameter(in_path("department"))
            .response("200", stream);
        self.add(follow::path(), HttpMethod::Get, follow);
    }
}

impl Table for Document {
    fn read<K: Kind>(&mut self) {
        let plural = K::RESOURCE.plural;
        let item = self.refer::<K::View>();
        let list = operation(
            &format!("{plural}.list"),
            &format!("The department's {plural}"),
        )
        .parameter(in_path("department"))
        .parameters(Some(pages()))
        .parameters(Some([
            in_query("system", "Only what belongs to this system", named()),
            in_query("state", "Only what is in this state", plain(Type::String)),
            in_query("ready", "Only what stands so", verdicts()),
            in_query("virtualMachine", "Only what is of this machine", named()),
        ]))
        .response("200", ok("A page, by name", list_of(item.clone())));
        self.add(list_path(plural), HttpMethod::Get, list);
        let not_modified = ResponseBuilder::new().description("As you have it");
        let one = operation(&format!("{plural}.get"), &format!("One of the {plural}"))
            .parameters(Some([in_path("department"), in_path("name")]))
            .parameter(in_header("If-None-Match", "The ETag of what you have"))
            .response("200", with_etag(ok("The object", content(item))))
            .response("304", not_modified);
        self.add(object_path(plural), HttpMethod::Get, one);
    }

    fn create<K: Create>(&mut self) {
        let plural = K::RESOURCE.plural;
        let (new, view) = (self.refer::<K::New>(), self.refer::<K::View>());
        let location = HeaderBuilder::new()
            .schema(Some(plain(Type::String)))
            .build();
        let created = with_etag(ok("It was made", content(view))).header("Location", location);
        let create = operation(
            &format!("{plural}.create"),
            &format!("Make one of the {plural}"),
        )
        .parameter(in_path("department"))
        .parameter(idempotency())
        .request_body(Some(sent(new)))
        .response("201", created);
        self.add(list_path(plural), HttpMethod::Post, create);
    }

    fn change<K: Change>(&mut self) {
        let plural = K::RESOURCE.plural;
        let (change, view) = (self.refer::<K::Change>(), self.refer::<K::View>());
        let changed = with_etag(ok("As it is wanted now", content(view)));
        let summary = format!("Change one of the {plural}");
        let change = operation(&format!("{plural}.change"), &summary)
            .parameters(Some([in_path("department"), in_path("name")]))
            .parameters(Some([
                idempotency(),
                in_header("If-Match", "Change only this state"),
            ]))
            .request_body(Some(sent(change)))
            .response("200", changed);
        self.add(object_path(plural), HttpMethod::Patch, change);
    }

    fn delete<K: Kind>(&mut self) {
        let plural = K::RESOURCE.plural;
        let accepted = "It is being deleted: gone once hosts have given back what it holds";
        let summary = format!("Delete one of the {plural}");
        let delete = operation(&format!("{plural}.delete"), &summary)
            .parameters(Some([in_path("department"), in_path("name")]))
            .parameters(Some([
                idempotency(),
                in_header("If-Match", "Delete only this state"),
            ]))
            .response("202", ResponseBuilder::new().description(accepted));
        self.add(object_path(plural), HttpMethod::Delete, delete);
    }
}

/// With the answers that every operation may give.
fn operation(id: &str, summary: &str) -> OperationBuilder {
    let tag = id.split('.').next().unwrap_or_default();
    let problem = || Ref::from_schema_name(ProblemBody::name());
    let mut operation = OperationBuilder::new()
        .operation_id(Some(id))
        .summary(Some(summary))
        .tag(tag)
        .parameter(in_header("Accept-Language", "`vi` or `en`, for problems"));
    for (status, description) in PROBLEMS {
        let content = Content::new(Some(problem()));
        let response = ResponseBuilder::new()
            .description(description)
            .content("application/problem+json", content);
        operation = operation.response(status, response);
    }
    operation
}

const PROBLEMS: [(&str, &str); 13] = [
    ("400", "The request cannot be read"),
    ("401", "Not signed in"),
    ("403", "You may see it, and may not do that"),
    ("404", "It is not there, or you may not see it"),
    ("408", "The body came too slowly"),
    (
        "409",
        "The name is taken, it was decided on, or the same request is under way",
    ),
    ("412", "It has changed since you read it"),
    ("413", "The body is too large"),
    ("415", "The body is not JSON"),
    ("422", "What is asked for is not valid"),
    ("429", "Too many requests: see Retry-After"),
    ("500", "A mistake of the system"),
    ("503", "Not available at present"),
];

fn plain(kind: Type) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(SchemaType::new(kind))
        .build()
        .into()
}

fn named() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .pattern(Some(NAME))
        .max_length(Some(63))
        .build()
        .into()
}

fn verdicts() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .enum_values(Some(["True", "False", "Unknown"]))
        .build()
        .into()
}

fn parameter(name: &str, place: ParameterIn, about: &str, schema: RefOr<Schema>) -> Parameter {
    let required = match place {
        ParameterIn::Path => Required::True,
        _ => Required::False,
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(about))
        .schema(Some(schema))
        .build()
}

fn in_path(name: &str) -> Parameter {
    let about = format!("The {name}, or the name of it");
    parameter(name, ParameterIn::Path, &about, named())
}

fn in_query(name: &str, about: &str, schema: RefOr<Schema>) -> Parameter {
    parameter(name, ParameterIn::Query, about, schema)
}

fn in_header(name: &str, about: &str) -> Parameter {
    parameter(name, ParameterIn::Header, about, plain(Type::String))
}

fn idempotency() -> Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .pattern(Some("^[!-~]{1,128}$"))
        .build();
    let about = "New for each request: sent again with the same request, it gives the same answer";
    parameter("Idempotency-Key", ParameterIn::Header, about, schema.into())
}

fn pages() -> [Parameter; 2] {
    let limit = ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::Integer))
        .minimum(Some(1))
        .maximum(Some(LARGEST_LIMIT as i64))
        .default(Some(DEFAULT_LIMIT.into()));
    [
        in_query("limit", "The largest page", limit.build().into()),
        in_query(
            "continue",
            "`continue` of the page before",
            plain(Type::String),
        ),
    ]
}

fn content(schema: RefOr<Schema>) -> Content {
    ContentBuilder::new().schema(Some(schema)).build()
}

fn list_of(item: RefOr<Schema>) -> Content {
    let items = ArrayBuilder::new().items(item);
    let list = ObjectBuilder::new()
        .property("items", items)
        .property("continue", plain(Type::String))
        .required("items")
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)));
    content(list.build().into())
}

fn ok(description: &str, content: Content) -> ResponseBuilder {
    ResponseBuilder::new()
        .description(description)
        .content("application/json", content)
}

fn with_etag(response: ResponseBuilder) -> ResponseBuilder {
    let etag = HeaderBuilder::new()
        .schema(Some(plain(Type::String)))
        .build();
    response.header("ETag", etag)
}

fn sent(schema: RefOr<Schema>) -> utoipa::openapi::request_body::RequestBody {
    RequestBodyBuilder::new()
        .content("application/json", content(schema))
        .required(Some(Required::True))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_document_of_the_docs_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
        let kept = std::fs::read_to_string(path).unwrap();
        assert!(kept == text(), "run `cargo xtask gen`");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = serde_json::to_value(document()).unwrap();
        let mut open = vec![&document];
        let mut references = 0;
        while let Some(value) = open.pop() {
            if let Some(reference) = value["$ref"].as_str() {
                let place = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(place).is_some(), "{reference}");
                references += 1;
            }
            match value {
                serde_json::Value::Array(items) => open.extend(items),
                serde_json::Value::Object(fields) => open.extend(fields.values()),
                _ => {}
            }
        }
        assert!(references > 100);
        assert_eq!(document["openapi"], "3.1.0");
    }
}
