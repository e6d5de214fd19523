//! Changes as they come.

use anyhow::{Context, Result, bail, ensure};
use dc_lab::wait::Look;
use libtest_mimic::Trial;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::Make;
use super::desk::{ADMINISTRATOR, DEADLINE, Desk, NEIGHBOUR, OURS, STRANGER, THEIRS, new_volume};

pub fn trials(trial: Make<'_>) -> Vec<Trial> {
    vec![
        trial(
            "a_follower_is_told_of_their_own_changes_and_of_nobody_elses",
            own,
        ),
        trial("the_stream_of_a_removed_user_ends", removed),
    ]
}

struct Stream {
    answer: Response,
    text: String,
}

impl Stream {
    async fn open(desk: &Desk, login: &'static str, department: &str) -> Result<Self> {
        let asked = desk.ask(login, Method::GET, &format!("{department}/changes"));
        let answer = asked.await?.send().await?;
        ensure!(answer.status() == 200, "{answer:?}");
        let mut stream = Self {
            answer,
            text: String::new(),
        };
        let (event, _) = stream.next().await?;
        ensure!(event == "open", "{event}");
        Ok(stream)
    }

    /// The next event and its data; comments are passed over.
    async fn next(&mut self) -> Result<(String, Value)> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = block.lines();
                    lines
                        .find_map(|line| line.strip_prefix(name))
                        .map(str::trim)
                };
                let event = field("event:").map(str::to_owned);
                let data = field("data:").map(serde_json::from_str::<Value>);
                self.text = rest.to_owned();
                if let (Some(event), Some(data)) = (event, data) {
                    return Ok((event, data?));
                }
                continue;
            }
            let chunk = tokio::time::timeout(DEADLINE, self.answer.chunk());
            match chunk.await.context("nothing came")?? {
                Some(chunk) => self.text.push_str(std::str::from_utf8(&chunk)?),
                None => bail!("the stream has ended; left: {:?}", self.text),
            }
        }
    }
}

fn own(desk: &Desk) -> Result<()> {
    desk.run(async {
        let mut stream = Stream::open(desk, ADMINISTRATOR, OURS).await?;
        // First theirs: if it were told to us, it would come first.
        let theirs = desk.post(
            STRANGER,
            &format!("{THEIRS}/volumes"),
            &new_volume("theirs-1"),
        );
        theirs.await?.expect(201)?;
        let ours = desk.post(
            ADMINISTRATOR,
            &format!("{OURS}/volumes"),
            &new_volume("ours-1"),
        );
        ours.await?.expect(201)?;
        loop {
            let (event, data) = stream.next().await?;
            ensure!(data["object"]["department"] == OURS, "{data}");
            if event == "changed" && data["object"]["name"] == "ours-1" {
                ensure!(data["resource"] == "volumes", "{data}");
                break;
            }
        }
        desk.delete(ADMINISTRATOR, &format!("{OURS}/volumes/ours-1"))
            .await?
            .expect(202)?;
        loop {
            let (event, data) = stream.next().await?;
            if event == "deleted" && data["object"]["name"] == "ours-1" {
                break;
            }
        }
        desk.delete(STRANGER, &format!("{THEIRS}/volumes/theirs-1"))
            .await?
            .expect(202)?;
        Ok(())
    })
}

fn removed(desk: &Desk) -> Result<()> {
    let email = desk.dex.login(STRANGER)?.email.clone();
    desk.run(async {
        let mut stream = Stream::open(desk, STRANGER, THEIRS).await?;
        desk.remove_people(&[&email])?;
        loop {
            let (event, _) = stream.next().await?;
            if event == "end" {
                break;
            }
        }
        // A change made now reaches nobody by this stream: it is closed.
        let path = format!("{THEIRS}/virtualmachines/web-1");
        let changed = desk.patch(NEIGHBOUR, &path, &json!({"restart": "after the end"}));
        changed.await?.expect(200)?;
        ensure!(stream.next().await.is_err(), "the stream goes on");
        Ok(())
    })?;
    desk.remove_people(&[])?;
    desk.until("the user to be served again", async || {
        let asked = desk.get(STRANGER, &format!("{THEIRS}/volumes")).await;
        Look::from_attempt(asked.and_then(|answer| answer.expect(200).map(drop)))
    })
}
