//! A real browser: Chromium without a window, driven by its own driver as a person would.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dc_lab::apt::{self, Packages};
use dc_lab::process::{self, Spec};
use dc_lab::wait::{self, Look};
use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use reqwest::Url;
use serde_json::{Value, json};

use super::apart::{self, Apart};
use super::desk::{DEADLINE, Desk};

const DRIVER: &str = "chromedriver";
/// In its own network, where nobody else listens.
const DRIVER_PORT: u16 = 9515;
/// Where pictures of the pages are put, when somebody wants to look at them.
const PICTURES: &str = "DC_PAGES_PICTURES";
/// How long an element is looked for before the page itself is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// The screen of whoever reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    Desktop,
    Phone,
}

impl Screen {
    fn name(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Phone => "phone",
        }
    }
}

/// One window with cookies of its own.
pub struct Browser {
    client: Client,
    screen: Screen,
    base: String,
}

/// Starts the driver in a network of its own, or keeps the one that runs; gives its address. It ends
/// with the lab.
async fn driver(desk: &Desk) -> Result<String> {
    apt::ensure(Packages::Browser)?;
    let (program, args) = apart::command("/usr/bin/chromedriver");
    let spec = Spec::new(DRIVER, program).args(args);
    let spec = spec.arg(format!("--port={DRIVER_PORT}"));
    let pid = process::ensure(desk.plane.lab(), &spec)?.pid();
    let mut door = desk.browser_door.lock().await;
    let port = match *door {
        Some((known, port)) if known == pid => port,
        _ => {
            let apart = Apart::of(pid).await?;
            for url in [desk.url(), desk.dex.issuer.clone()] {
                let port = Url::parse(&url)?.port().context("no port")?;
                apart.way_out(port).await?;
            }
            let port = apart.way_in(DRIVER_PORT).await?;
            *door = Some((pid, port));
            port
        }
    };
    Ok(format!("http://127.0.0.1:{port}"))
}

fn wishes(screen: Screen) -> serde_json::Map<String, Value> {
    let mut options = json!({ "args": [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--no-proxy-server", "--hide-scrollbars", "--window-size=1280,1400",
    ] });
    if screen == Screen::Phone {
        options["mobileEmulation"] =
            json!({ "deviceMetrics": { "width": 390, "height": 1400, "pixelRatio": 1.0 } });
    }
    let mut wishes = serde_json::Map::new();
    wishes.insert("browserName".to_owned(), json!("chrome"));
    // The lab's own CA.
    wishes.insert("acceptInsecureCerts".to_owned(), json!(true));
    wishes.insert("goog:chromeOptions".to_owned(), options);
    wishes
}

impl Browser {
    pub async fn open(desk: &Desk, screen: Screen) -> Result<Self> {
        let at = driver(desk).await?;
        let wishes = wishes(screen);
        let client = wait::until("a browser to open", DEADLINE, async || {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            let opened = builder.capabilities(wishes.clone()).connect(&at).await;
            Look::from_attempt(opened.map_err(anyhow::Error::from))
        });
        Ok(Self {
            client: client.await?,
            screen,
            base: desk.url(),
        })
    }

    pub async fn close(self) -> Result<()> {
        Ok(self.client.close().await?)
    }

    /// By the provider's own page.
    pub async fn sign_in(&self, desk: &Desk, login: &str) -> Result<()> {
        let login = desk.dex.login(login)?;
        self.client.goto(&self.base).await?;
        self.click("a.button").await?;
        self.fill("[name=login]", &login.email).await?;
        self.fill("[name=password]", &login.password).await?;
        self.click("button[type=submit]").await?;
        let seen = self.text(".user").await?;
        ensure!(seen == login.email, "{seen} is signed in");
        Ok(())
    }

    /// For a terminal that shows the address with its code.
    pub async fn enter_code(&self, desk: &Desk, address: &str, login: &str) -> Result<()> {
        let login = desk.dex.login(login)?;
        self.client.goto(address).await?;
        self.find("[name=user_code]").await?;
        self.click("button[type=submit]").await?;
        self.fill("[name=login]", &login.email).await?;
        self.fill("[name=password]", &login.password).await?;
        self.click("button[type=submit]").await?;
        let said = wait::until(
            "the provider to say that it is done",
            DEADLINE,
            async || match self.all_text().await {
                Ok(text) if text.contains("Successful") => Look::Holds(()),
                other => Look::NotYet(format!("{other:?}")),
            },
        );
        said.await
    }

    pub async fn go(&self, path: &str) -> Result<()> {
        Ok(self.client.goto(&format!("{}{path}", self.base)).await?)
    }

    pub async fn path(&self) -> Result<String> {
        Ok(self.client.current_url().await?.path().to_owned())
    }

    pub async fn find(&self, css: &str) -> Result<Element> {
        let begun = Instant::now();
        loop {
            let wait = self.client.wait().at_most(LOOK);
            let found = wait.every(Duration::from_millis(50));
            let error = match found.for_element(Locator::Css(css)).await {
                Ok(element) => return Ok(element),
                Err(error) => error,
            };
            let text = self.all_text().await.unwrap_or_default();
            if begun.elapsed() >= DEADLINE {
                let at = self.client.current_url().await?;
                return Err(error).with_context(|| format!("no {css} at {at}: {text}"));
            }
        }
    }

    pub async fn click(&self, css: &str) -> Result<()> {
        Ok(self.find(css).await?.click().await?)
    }

    /// A click that leads to another page, or to the same one anew; waits until that is there.
    pub async fn click_away(&self, css: &str) -> Result<()> {
        self.run("window.here = true").await?;
        self.click(css).await?;
        let there = "return window.here !== true && document.readyState === 'complete'";
        wait::until("the next page", DEADLINE, async || {
            match self.run(there).await {
                Ok(Value::Bool(true)) => Look::Holds(()),
                other => Look::NotYet(format!("{other:?}")),
            }
        })
        .await
    }

    pub async fn fill(&self, css: &str, text: &str) -> Result<()> {
        let field = self.find(css).await?;
        field.clear().await?;
        Ok(field.send_keys(text).await?)
    }

    /// Of fields that the browser has a widget of its own for.
    pub async fn set(&self, id: &str, value: &str) -> Result<()> {
        let script = "const field = document.getElementById(arguments[0]); \
                      field.value = arguments[1]; field.dispatchEvent(new Event('change'));";
        self.client
            .execute(script, vec![json!(id), json!(value)])
            .await?;
        Ok(())
    }

    pub async fn choose(&self, css: &str, value: &str) -> Result<()> {
        Ok(self.find(css).await?.select_by_value(value).await?)
    }

    pub async fn text(&self, css: &str) -> Result<String> {
        Ok(self.find(css).await?.text().await?)
    }

    pub async fn all_text(&self) -> Result<String> {
        self.text_of("body").await
    }

    async fn text_of(&self, css: &str) -> Result<String> {
        Ok(self.client.find(Locator::Css(css)).await?.text().await?)
    }

    pub async fn run(&self, script: &str) -> Result<Value> {
        Ok(self.client.execute(script, Vec::new()).await?)
    }

    /// Until the page says so, by itself or because it was loaded again.
    pub async fn until_says(&self, css: &str, text: &str) -> Result<()> {
        wait::until(&format!("{css} to say {text}"), DEADLINE, async || {
            self.client.refresh().await.ok();
            match self.text_of(css).await {
                Ok(seen) if seen.contains(text) => Look::Holds(()),
                Ok(seen) => Look::NotYet(seen),
                Err(error) => Look::NotYet(error.to_string()),
            }
        })
        .await
    }

    /// What every page has to be: in one column that fits the screen, named, with one heading, and
    /// with a name for each field. Takes a picture of it where pictures are wanted.
    pub async fn inspect(&self, name: &str) -> Result<()> {
        let found = self
            .run(
                "const unnamed = [...document.querySelectorAll('input:not([type=hidden]), select, \
                 textarea')].filter((field) => field.labels.length === 0).map((field) => field.name);
                 const heads = document.querySelectorAll('h1').length;
                 const doubles = [...document.querySelectorAll('[id]')].map((one) => one.id)
                   .filter((id, at, all) => all.indexOf(id) !== at);
                 return { unnamed, heads, doubles, lang: document.documentElement.lang,
                   title: document.title !== '', inline: document.querySelectorAll(
                   '[style], style, script:not([src]), [onclick]').length,
                   wide: document.documentElement.scrollWidth - document.documentElement.clientWidth };",
            )
            .await?;
        let wanted = json!({ "unnamed": [], "heads": 1, "doubles": [], "lang": found["lang"],
                             "title": true, "inline": 0, "wide": 0 });
        self.picture(name).await?;
        ensure!(found == wanted, "{name} on {:?}: {found}", self.screen);
        Ok(())
    }

    async fn picture(&self, name: &str) -> Result<()> {
        let Some(folder) = std::env::var_os(PICTURES) else {
            return Ok(());
        };
        let picture = self.client.screenshot().await?;
        let file = format!("{}-{name}.png", self.screen.name());
        std::fs::create_dir_all(&folder)?;
        std::fs::write(PathBuf::from(folder).join(file), picture)?;
        Ok(())
    }
}
