//! The pages for people, by hand: what a browser would not do. What one does is in
//! [`super::clicks`].

use anyhow::{Context, Result, ensure};
use dc_lab::wait::Look;
use libtest_mimic::Trial;
use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};

use super::Make;
use super::desk::{
    ADMINISTRATOR, DEADLINE, DEPUTY, Desk, NOBODYS, OPERATOR, OURS, THEIRS, new_volume,
};

pub fn trials(trial: Make<'_>) -> Vec<Trial> {
    vec![
        trial("pages_are_for_those_who_have_signed_in", signed_in),
        trial("a_form_of_another_site_changes_nothing", foreign_forms),
        trial("a_form_sent_twice_is_done_once", twice),
        trial(
            "a_volume_is_kept_by_forms_that_say_what_is_wrong_and_refuse_who_may_not",
            volume_forms,
        ),
        trial("pages_show_nothing_of_others", others),
        trial(
            "a_session_ends_when_it_is_left_or_its_user_is_removed",
            ends,
        ),
    ]
}

/// Without following anybody anywhere.
fn plain(desk: &Desk) -> Result<Client> {
    let ca = reqwest::Certificate::from_pem(&std::fs::read(&desk.dex.ca)?)?;
    let builder = Client::builder().no_proxy().tls_certs_only([ca]);
    let builder = builder.redirect(reqwest::redirect::Policy::none());
    Ok(builder.timeout(DEADLINE).build()?)
}

/// The cookies of an answer as the next request sends them.
fn cookies(headers: &HeaderMap) -> Vec<String> {
    let all = headers.get_all(SET_COOKIE).iter();
    let all = all.filter_map(|line| line.to_str().ok());
    let pairs = all.filter_map(|line| line.split(';').next());
    pairs.map(str::to_owned).collect()
}

fn location(answer: &Response) -> Result<String> {
    let location = answer.headers().get(LOCATION);
    let location = location.with_context(|| format!("no Location: {answer:?}"))?;
    Ok(location.to_str()?.to_owned())
}

/// A session as a browser has it, and the token of its forms.
struct Session {
    client: Client,
    base: String,
    cookie: String,
    csrf: String,
}

impl Session {
    /// Goes the way of the browser: to us, to the provider, and back.
    async fn begin(desk: &Desk, login: &str) -> Result<Self> {
        let (client, base) = (plain(desk)?, desk.url());
        let login = desk.dex.login(login)?;
        let begun = client.get(format!("{base}/auth/login?next=/language%3Fto%3Den"));
        let begun = begun.send().await?;
        let own = cookies(begun.headers()).join("; ");
        let mut at = location(&begun)?;
        ensure!(at.contains("code_challenge_method=S256"), "{at}");
        let dex = desk.dex.issuer.trim_end_matches("/dex").to_owned();
        // The provider leads to its form, which is sent there and leads back here.
        for _ in 0..8 {
            if at.starts_with(&base) {
                break;
            }
            let url = match at.starts_with('/') {
                true => format!("{dex}{at}"),
                false => at.clone(),
            };
            let mut answer = client.get(&url).send().await?;
            if answer.status() == StatusCode::OK {
                let mut form = form_urlencoded::Serializer::new(String::new());
                form.append_pair("login", &login.email);
                form.append_pair("password", &login.password);
                let sent = client.post(&url).body(form.finish());
                let kind = "application/x-www-form-urlencoded";
                answer = sent.header("content-type", kind).send().await?;
            }
            at = location(&answer)?;
        }
        let came = client.get(&at).header("cookie", &own).send().await?;
        let next = location(&came)?;
        ensure!(next == "/language?to=en", "{next}");
        let cookie = cookies(came.headers());
        let cookie = cookie.into_iter().find(|one| one.contains("dc-session"));
        let mut session = Self {
            client,
            base,
            cookie: cookie.context("no session")?,
            csrf: String::new(),
        };
        let page = session.get(&format!("/departments/{OURS}")).await?;
        let after = page.split("name=\"csrf\" value=\"").nth(1);
        let token = after.and_then(|after| after.split('"').next());
        session.csrf = token
            .with_context(|| format!("no token in {page}"))?
            .to_owned();
        Ok(session)
    }

    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        request.header("cookie", &self.cookie)
    }

    /// The text of a page, whatever its status.
    async fn get(&self, path: &str) -> Result<String> {
        Ok(self.ask(Method::GET, path).send().await?.text().await?)
    }

    fn post(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let mut form = form_urlencoded::Serializer::new(String::new());
        for (name, value) in fields {
            form.append_pair(name, value);
        }
        let kind = "application/x-www-form-urlencoded";
        let request = self.ask(Method::POST, path).header("content-type", kind);
        request.body(form.finish())
    }
}

fn signed_in(desk: &Desk) -> Result<()> {
    desk.run(async {
        let (client, base) = (plain(desk)?, desk.url());
        let get = async |path: &str| client.get(format!("{base}{path}")).send().await;
        let first = get("/").await?;
        ensure!(first.status() == 200, "{first:?}");
        let policy = first.headers()["content-security-policy"]
            .to_str()?
            .to_owned();
        ensure!(policy.starts_with("default-src 'none'"), "{policy}");
        ensure!(!policy.contains("unsafe"), "{policy}");
        ensure!(first.headers()["x-frame-options"] == "DENY");
        ensure!(first.text().await?.contains("lang=\"vi\""));
        for path in [
            "",
            "/requests",
            "/requests/new",
            "/machines/web-1",
            "/volumes/data",
        ] {
            let path = format!("/departments/{OURS}{path}");
            let sent = get(&path).await?;
            ensure!(sent.status() == 303, "{path}: {sent:?}");
            let to = location(&sent)?;
            ensure!(to.starts_with("/auth/login?next=%2Fdepartments"), "{to}");
        }
        let bare = client.post(format!("{base}/departments/{OURS}/machines/web-1/power"));
        ensure!(bare.send().await?.status() == 401);
        // Nobody is let in by a code that nobody asked for, or led elsewhere.
        let forged = get("/auth/callback?code=x&state=y").await?;
        ensure!(forged.status() == 401, "{forged:?}");
        let begun = get("/auth/login?next=//evil.example").await?;
        let cookie = begun.headers()[SET_COOKIE].to_str()?.to_owned();
        for word in ["__Host-", "Secure", "HttpOnly", "SameSite=Lax"] {
            ensure!(cookie.contains(word), "{cookie}");
        }
        let forged = client
            .get(format!("{base}/auth/callback?code=x&state=y"))
            .header("cookie", cookies(begun.headers()).join("; "));
        ensure!(forged.send().await?.status() == 401);
        let switched = get("/language?to=en&next=https://evil.example").await?;
        ensure!(location(&switched)? == "/", "{switched:?}");
        // A session is no token of the API, and a token none of the pages.
        let session = Session::begin(desk, ADMINISTRATOR).await?;
        let api = session
            .ask(Method::GET, "/api/v1/departments")
            .send()
            .await?;
        ensure!(api.status() == 401, "{api:?}");
        let page = get_with_token(desk, &client, &base).await?;
        ensure!(page == 303, "{page}");
        Ok(())
    })
}

async fn get_with_token(desk: &Desk, client: &Client, base: &str) -> Result<StatusCode> {
    let page = client.get(format!("{base}/departments/{OURS}"));
    let page = page.bearer_auth(desk.token(ADMINISTRATOR).await?);
    Ok(page.send().await?.status())
}

fn foreign_forms(desk: &Desk) -> Result<()> {
    desk.run(async {
        let session = Session::begin(desk, ADMINISTRATOR).await?;
        let stop = format!("/departments/{OURS}/machines/web-1/power");
        let good = [("csrf", session.csrf.as_str()), ("to", "stop")];
        let other = Session::begin(desk, DEPUTY).await?;
        let refused = [
            session.post(&stop, &[("to", "stop")]),
            session.post(&stop, &[("to", "stop"), ("csrf", "")]),
            session.post(&stop, &[("to", "stop"), ("csrf", &other.csrf)]),
            session
                .post(&stop, &good)
                .header("origin", "https://evil.example"),
            session.post(&stop, &good).header("origin", "null"),
            session
                .post(&stop, &good)
                .header("sec-fetch-site", "cross-site"),
            session
                .post(&stop, &good)
                .header("sec-fetch-site", "same-site"),
            session.post("/auth/logout", &[]),
        ];
        for request in refused {
            let answer = request.send().await?;
            ensure!(answer.status() == 403, "{answer:?}");
        }
        // As text, so that no browser asks before it sends it.
        let text = session
            .ask(Method::POST, &stop)
            .header("content-type", "text/plain");
        let text = text.body(format!("csrf={}&to=stop", session.csrf));
        ensure!(text.send().await?.status() == 403);
        let there = desk.get(ADMINISTRATOR, &format!("{OURS}/virtualmachines/web-1"));
        ensure!(there.await?.expect(200)?["power"] == "Running");
        let got = session.ask(Method::GET, &stop).send().await?;
        ensure!(got.status() == 405, "{got:?}");
        let own = session.post(&stop, &[good[0], ("to", "start")]);
        let own = own.header("origin", &session.base);
        let own = own.header("sec-fetch-site", "same-origin").send().await?;
        ensure!(own.status() == 303, "{own:?}");
        Ok(())
    })
}

fn twice(desk: &Desk) -> Result<()> {
    let page = format!("/departments/{OURS}/requests/sent-twice");
    let session = desk.run(async {
        let session = Session::begin(desk, DEPUTY).await?;
        let send = async |size: &str| {
            let fields = [
                ("csrf", session.csrf.as_str()),
                ("once", "one-page"),
                ("name", "sent-twice"),
                ("wanted", "Submitted"),
                ("reason", "a click too many"),
                ("system", "a01"),
                ("v0-name", "sent-twice"),
                ("v0-pool", "san-1"),
                ("v0-size", size),
            ];
            let form = session.post(&format!("/departments/{OURS}/requests"), &fields);
            form.send().await
        };
        for _ in 0..2 {
            let sent = send("1").await?;
            ensure!(sent.status() == 303, "{sent:?}");
            ensure!(location(&sent)? == page);
        }
        let other = send("2").await?;
        ensure!(other.status() == 422, "{other:?}");
        Ok(session)
    })?;
    // Who wrote it is not asked for an answer, and refused when he gives one.
    let path = format!("{OURS}/resourcerequests/sent-twice");
    let there = desk.until("the request to be submitted", async || {
        match desk.get(DEPUTY, &path).await {
            Ok(answer) if answer.body["state"] == "Submitted" => Look::Holds(answer.body),
            other => Look::NotYet(format!("{other:?}")),
        }
    })?;
    desk.run(async {
        let shown = session.get(&page).await?;
        ensure!(shown.contains("không ai tự duyệt"), "{shown}");
        ensure!(!shown.contains("value=\"Approve\""), "{shown}");
        let text = |field: &str| there[field].as_str().unwrap_or_default().to_owned();
        let (uid, hash) = (text("uid"), text("hash"));
        let fields = [
            ("csrf", session.csrf.as_str()),
            ("uid", &uid),
            ("hash", &hash),
            ("role", "Leader"),
            ("verdict", "Approve"),
        ];
        let given = session
            .post(&format!("{page}/answer"), &fields)
            .send()
            .await?;
        ensure!(given.status() == 403, "{given:?}");
        let told = given.text().await?;
        ensure!(
            told.contains("Không ai tự duyệt yêu cầu của mình"),
            "{told}"
        );
        Ok(())
    })
}

fn others(desk: &Desk) -> Result<()> {
    desk.run(async {
        let session = Session::begin(desk, ADMINISTRATOR).await?;
        for path in [
            "",
            "/requests",
            "/requests/new",
            "/requests/theirs",
            "/requests/no-such-object",
            "/approvals",
            "/machines",
            "/machines/web-1",
            "/machines/no-such-object",
            "/volumes/data",
            "/snapshots/no-such-object",
            "/backups",
            "/backups?machine=web-1",
            "/backups/theirs",
            "/backups/no-such-object",
            "/restores/theirs",
            "/proofs/no-such-object",
        ] {
            let mut seen = Vec::new();
            for department in [THEIRS, NOBODYS] {
                let path = format!("/departments/{department}{path}");
                let asked = session.ask(Method::GET, &path);
                let answer = asked.header("x-request-id", "same").send().await?;
                let status = answer.status();
                ensure!(status == 404, "{path}: {answer:?}");
                seen.push(answer.text().await?.replace(department, "-"));
            }
            ensure!(seen[0] == seen[1], "{path}: {seen:?}");
        }
        let csrf = ("csrf", session.csrf.as_str());
        for department in [THEIRS, NOBODYS] {
            let at = |rest: &str| format!("/departments/{department}{rest}");
            for request in [
                session.post(&at("/machines/web-1/power"), &[csrf, ("to", "stop")]),
                session.post(&at("/requests"), &[csrf, ("name", "x")]),
                session.post(&at("/volumes/data/size"), &[csrf, ("size", "9")]),
                session.post(&at("/volumes/data/delete"), &[csrf, ("confirm", "data")]),
                session.post(&at("/volumes/data/snapshots"), &[csrf, ("snapshot", "x")]),
                session.post(&at("/machines/web-1/snapshots"), &[csrf, ("snapshot", "x")]),
                session.post(&at("/snapshots/x/delete"), &[csrf]),
                session.post(
                    &at("/backups"),
                    &[
                        csrf,
                        ("backup", "x"),
                        ("machine", "web-1"),
                        ("repository", "main"),
                    ],
                ),
                session.post(&at("/backups/theirs/restores"), &[csrf, ("name", "x")]),
                session.post(&at("/restores/theirs/stop"), &[csrf]),
                session.post(
                    &at("/requests/theirs/wanted"),
                    &[csrf, ("wanted", "Withdrawn")],
                ),
                session.post(
                    &at("/requests/theirs/answer"),
                    &[csrf, ("role", "Leader"), ("verdict", "Approve")],
                ),
            ] {
                let answer = request.send().await?;
                ensure!(answer.status() == 404, "{answer:?}");
            }
        }
        // Who may not, is not offered it, and is refused when he tries.
        let session = Session::begin(desk, OPERATOR).await?;
        let page = session.get(&format!("/departments/{OURS}")).await?;
        ensure!(!page.contains("/requests/new"), "{page}");
        let blank = format!("/departments/{OURS}/requests/new");
        let blank = session.ask(Method::GET, &blank).send().await?;
        ensure!(blank.status() == 403, "{blank:?}");
        Ok(())
    })
}

fn ends(desk: &Desk) -> Result<()> {
    let here = format!("/departments/{OURS}");
    let removed = desk.dex.login(DEPUTY)?.email.clone();
    desk.run(async {
        let session = Session::begin(desk, ADMINISTRATOR).await?;
        let left = session.post("/auth/logout", &[("csrf", &session.csrf)]);
        ensure!(left.send().await?.status() == 303);
        let after = session.ask(Method::GET, &here).send().await?;
        ensure!(after.status() == 303, "{after:?}");
        Ok(())
    })?;
    let session = desk.run(Session::begin(desk, DEPUTY))?;
    desk.remove_people(&[&removed])?;
    let gone = desk.until("the removed user to be refused", async || {
        match session.ask(Method::GET, &here).send().await {
            Ok(answer) if answer.status() == 401 => Look::Holds(()),
            other => Look::NotYet(format!("{other:?}")),
        }
    });
    desk.remove_people(&[])?;
    gone
}

/// Sends what a page of a volume sends, and what no page would.
fn volume_forms(desk: &Desk) -> Result<()> {
    desk.run(async {
        let made = desk.post(
            ADMINISTRATOR,
            &format!("{OURS}/volumes"),
            &new_volume("forms"),
        );
        made.await?.expect(201)?;
        let session = Session::begin(desk, ADMINISTRATOR).await?;
        let volume = format!("/departments/{OURS}/volumes/forms");
        let send = async |session: &Session, rest: &str, fields: &[(&str, &str)]| {
            let mut all = vec![("csrf", session.csrf.as_str())];
            all.extend_from_slice(fields);
            let answer = session
                .post(&format!("{volume}{rest}"), &all)
                .send()
                .await?;
            let (status, to) = (answer.status(), location(&answer).unwrap_or_default());
            anyhow::Ok((status, to, answer.text().await?))
        };
        // A snapshot that is sent twice from one page is one.
        let take = [("once", "one-page"), ("snapshot", "forms-1")];
        for _ in 0..2 {
            let (status, to, text) = send(&session, "/snapshots", &take).await?;
            ensure!(status == 303, "{text}");
            ensure!(
                to == format!("/departments/{OURS}/snapshots/forms-1"),
                "{to}"
            );
        }
        let other = [("once", "one-page"), ("snapshot", "forms-2")];
        ensure!(send(&session, "/snapshots", &other).await?.0 == 422);
        let taken = [("once", "another-page"), ("snapshot", "forms-1")];
        let (status, _, text) = send(&session, "/snapshots", &taken).await?;
        ensure!(status == 409 && text.contains("role=\"alert\""), "{text}");

        // What is refused is said on the volume's own page, with what was entered.
        let refused = [
            ("/size", "size", "1", "phải lớn hơn dung lượng hiện nay"),
            ("/size", "size", "-1", "số GiB, từ 1 đến 65536"),
            ("/size", "size", "9999999", "số GiB, từ 1 đến 65536"),
            ("/snapshots", "snapshot", "Không dấu", "Tên bản chụp"),
            (
                "/delete",
                "confirm",
                "form",
                "không giống tên của ổ đĩa này",
            ),
            ("/delete", "confirm", "", "không giống tên của ổ đĩa này"),
        ];
        for (rest, field, value, says) in refused {
            let (status, _, text) = send(&session, rest, &[(field, value)]).await?;
            ensure!(
                status == 422 && text.contains(says),
                "{rest} {value}: {text}"
            );
            ensure!(text.contains("<h1>forms</h1>"), "{text}");
        }
        let path = format!("{OURS}/volumes/forms");
        let there = desk.get(ADMINISTRATOR, &path).await?;
        ensure!(there.expect(200)?["size"] == "1Gi", "{there:?}");

        // Who may not is not asked, and is refused all the same.
        let operator = Session::begin(desk, OPERATOR).await?;
        let shown = operator.get(&volume).await?;
        ensure!(
            !shown.contains("name=\"snapshot\"") && !shown.contains("name=\"confirm\""),
            "{shown}"
        );
        let snapshot = format!("/departments/{OURS}/snapshots/forms-1");
        ensure!(!operator.get(&snapshot).await?.contains("class=\"danger\""));
        for (rest, field, value) in [
            ("/snapshots", "snapshot", "theirs"),
            ("/delete", "confirm", "forms"),
        ] {
            let (status, _, text) = send(&operator, rest, &[(field, value)]).await?;
            ensure!(status == 403, "{rest}: {text}");
        }
        let delete = format!("{snapshot}/delete");
        let bare = session.post(&delete, &[]).send().await?;
        ensure!(
            bare.status() == 403,
            "without the token of its form: {bare:?}"
        );
        let theirs = operator.post(&delete, &[("csrf", &operator.csrf)]);
        ensure!(theirs.send().await?.status() == 403);

        let (status, _, text) = send(&session, "/size", &[("size", "2")]).await?;
        ensure!(status == 303, "{text}");
        let there = desk.get(ADMINISTRATOR, &path).await?;
        ensure!(there.expect(200)?["size"] == "2Gi", "{there:?}");
        let own = session.post(&delete, &[("csrf", &session.csrf)]);
        ensure!(own.send().await?.status() == 303);
        let (status, to, text) = send(&session, "/delete", &[("confirm", "forms")]).await?;
        ensure!(
            status == 303 && to == format!("/departments/{OURS}/volumes"),
            "{text}"
        );
        Ok(())
    })?;
    for path in ["volumes/forms", "volumesnapshots/forms-1"] {
        let path = format!("{OURS}/{path}");
        desk.until("what was deleted to be gone", async || {
            match desk.get(ADMINISTRATOR, &path).await {
                Ok(answer) if answer.status == 404 => Look::Holds(()),
                other => Look::NotYet(format!("{other:?}")),
            }
        })?;
    }
    Ok(())
}
