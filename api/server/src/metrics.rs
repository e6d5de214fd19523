//! What Prometheus reads of the API. All labels are from closed sets.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    /// The route, with its parameters' names; never what a client wrote.
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReviewLabels {
    from: Review,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Review {
    Asked,
    Remembered,
}

/// Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Histogram,
    reviews: Family<ReviewLabels, Counter>,
    streams: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("dc_api");
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register("requests", "Requests answered", requests.clone());
        // From a cache's answer to one that waited for the control plane.
        let seconds = Histogram::new([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]);
        registry.register(
            "request_duration_seconds",
            "From the head of a request to the head of its answer",
            seconds.clone(),
        );
        let reviews = Family::<ReviewLabels, Counter>::default();
        registry.register(
            "access_reviews",
            "Questions of access, by where the answer came from",
            reviews.clone(),
        );
        let streams = Gauge::default();
        registry.register("streams", "Clients that follow changes", streams.clone());
        Self {
            inner: Arc::new(Inner {
                registry,
                requests,
                seconds,
                reviews,
                streams,
            }),
        }
    }
}

impl Metrics {
    pub fn request(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let labels = RequestLabels {
            method,
            route: route.to_owned(),
            status,
        };
        self.inner.requests.get_or_create(&labels).inc();
        self.inner.seconds.observe(took.as_secs_f64());
    }

    pub fn review(&self, from: Review) {
        let labels = ReviewLabels { from };
        self.inner.reviews.get_or_create(&labels).inc();
    }

    #[must_use]
    pub fn streams(&self) -> &Gauge {
        &self.inner.streams
    }

    /// In the OpenMetrics text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.inner.registry) {
            Ok(()) => text,
            // A text grows without failing.
            Err(_) => "# EOF\n".to_owned(),
        }
    }
}
