//! Requests to the API, and what its problems are to people.

use std::path::Path;

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use uuid::Uuid;

pub struct Api {
    http: Client,
    root: String,
    token: String,
    language: &'static str,
}

/// A client that trusts the given CA, or the system's.
pub fn http(ca: Option<&Path>) -> Result<Client> {
    let mut builder = Client::builder();
    if let Some(path) = ca {
        let pem =
            std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let ca = reqwest::Certificate::from_pem_bundle(&pem)?;
        builder = builder.no_proxy().tls_certs_only(ca);
    }
    Ok(builder.build()?)
}

pub fn encoded(fields: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        form.append_pair(name, value);
    }
    form.finish()
}

impl Api {
    pub fn new(at: &str, ca: Option<&Path>, token: String, language: &'static str) -> Result<Self> {
        Ok(Self {
            http: http(ca)?,
            root: format!("{}/api/v1", at.trim_end_matches('/')),
            token,
            language,
        })
    }

    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.root));
        let request = request.bearer_auth(&self.token);
        request.header("accept-language", self.language)
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        send(self.ask(Method::GET, path)).await
    }

    /// An answer that is no JSON, such as a table.
    pub async fn text(&self, path: &str) -> Result<String> {
        receive(self.ask(Method::GET, path)).await
    }

    /// All pages of a list.
    pub async fn all(&self, path: &str, filters: &[(&str, &str)]) -> Result<Vec<Value>> {
        let (mut found, mut token) = (Vec::new(), None::<String>);
        loop {
            let mut fields = filters.to_vec();
            fields.push(("limit", "500"));
            if let Some(token) = &token {
                fields.push(("continue", token));
            }
            let mut page = self.get(&format!("{path}?{}", encoded(&fields))).await?;
            if let Some(items) = page["items"].as_array_mut() {
                found.append(items);
            }
            match page["continue"].as_str() {
                Some(next) => token = Some(next.to_owned()),
                None => return Ok(found),
            }
        }
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let key = Uuid::new_v4().to_string();
        let request = self.ask(Method::POST, path).header("idempotency-key", key);
        send(request.json(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value> {
        send(self.ask(Method::PATCH, path).json(body)).await
    }

    /// Accepted: it is gone once hosts have given back what it holds.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let key = Uuid::new_v4().to_string();
        let request = self.ask(Method::DELETE, path);
        receive(request.header("idempotency-key", key))
            .await
            .map(drop)
    }
}

/// The body of a success, or the problem in words.
async fn receive(request: RequestBuilder) -> Result<String> {
    let answer = request.send().await.context("the API does not answer")?;
    let status = answer.status();
    let text = answer.text().await?;
    if status.is_success() {
        return Ok(text);
    }
    let body: Value =
        serde_json::from_str(&text).with_context(|| format!("{status}, and no JSON"))?;
    bail!("{}", problem(&body))
}

async fn send(request: RequestBuilder) -> Result<Value> {
    let text = receive(request).await?;
    let body: Value = match text.as_str() {
        "" => Value::Null,
        text => serde_json::from_str(text).context("the answer is no JSON")?,
    };
    Ok(body)
}

/// A problem in the words of the API.
fn problem(body: &Value) -> String {
    let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    let mut said = format!("{}. {} ({})", text("title"), text("detail"), text("code"));
    for fault in body["errors"].as_array().into_iter().flatten() {
        let text = |field: &str| fault[field].as_str().unwrap_or_default();
        said.push_str(&format!("\n  {}: {}", text("field"), text("message")));
    }
    said.push_str(&format!("\n  requestId: {}", text("requestId")));
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_problem_is_told_with_each_field_that_is_wrong() {
        let told = problem(&json!({"title": "Not valid", "detail": "See errors.",
            "code": "invalid", "requestId": "r-1",
            "errors": [{"field": "spec.size", "message": "from 1Mi"}]}));
        for word in ["Not valid", "invalid", "spec.size: from 1Mi", "r-1"] {
            assert!(told.contains(word), "{told}");
        }
    }
}
