//! Who is believed.

use anyhow::{Result, ensure};
use dc_lab::dex::{self, OTHER_CLIENT};
use dc_lab::wait::Look;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::Make;
use super::desk::{ADMINISTRATOR, Answer, CENTRE, Desk, OURS, send};

pub fn trials(trial: Make<'_>) -> Vec<Trial> {
    vec![
        trial(
            "nobody_is_served_without_a_token_and_is_told_so_in_their_language",
            no_token,
        ),
        trial("a_token_for_another_application_is_refused", other_audience),
        trial("a_token_that_was_touched_is_refused", touched),
        trial(
            "a_removed_user_is_refused_however_long_their_token_lasts",
            removed,
        ),
    ]
}

pub fn trials_that_restart_the_provider(trial: Make<'_>) -> Vec<Trial> {
    vec![trial(
        "keys_may_rotate_at_any_time_and_withdrawn_ones_are_worth_nothing",
        rotated,
    )]
}

async fn with(desk: &Desk, token: &str) -> Result<Answer> {
    let url = format!("{}/api/v1/departments/{OURS}/virtualmachines", desk.url());
    send(desk.client.get(url).bearer_auth(token)).await
}

fn no_token(desk: &Desk) -> Result<()> {
    desk.run(async {
        let url = format!("{}/api/v1/departments", desk.url());
        let vi = send(desk.client.get(&url)).await?;
        let en = send(desk.client.get(&url).header("accept-language", "en")).await?;
        let (vi_body, en_body) = (
            vi.expect_problem(401, "not-signed-in")?,
            en.expect_problem(401, "not-signed-in")?,
        );
        ensure!(vi_body["title"] == "Chưa đăng nhập", "{vi_body}");
        ensure!(en_body["title"] == "Not signed in", "{en_body}");
        ensure!(vi.header("content-language") == "vi");
        ensure!(vi.header("www-authenticate").starts_with("Bearer"));
        ensure!(vi.header("x-request-id") == vi_body["requestId"]);
        Ok(())
    })
}

fn other_audience(desk: &Desk) -> Result<()> {
    desk.run(async {
        let token = desk.fresh_token(ADMINISTRATOR, OTHER_CLIENT).await?;
        let answer = with(desk, &token).await?;
        answer
            .expect_problem(401, "token-of-another-audience")
            .map(drop)
    })
}

fn touched(desk: &Desk) -> Result<()> {
    desk.run(async {
        let good = desk.token(ADMINISTRATOR).await?;
        with(desk, &good).await?.expect(200)?;
        let parts: Vec<&str> = good.split('.').collect();
        let [head, claims, signature] = parts[..] else {
            anyhow::bail!("a token has three parts");
        };
        let unsigned = encode(&json!({"alg": "none", "typ": "JWT"}));
        let shared = encode(&json!({"alg": "HS256", "typ": "JWT"}));
        let somebody = desk.dex.login(CENTRE)?.email.clone();
        let others = json!({"iss": desk.dex.issuer, "aud": "dc-api", "exp": 4_000_000_000_u64,
                            "email": somebody, "email_verified": true});
        let others = encode(&others);
        for token in [
            format!("{unsigned}.{claims}."),
            format!("{unsigned}.{claims}.{signature}"),
            format!("{unsigned}.{others}."),
            format!("{shared}.{claims}.{signature}"),
            format!("{head}.{others}.{signature}"),
            format!("{head}.{claims}."),
            format!("{head}.{claims}"),
            format!("{good}x"),
            "x".repeat(20_000),
            "..".to_owned(),
        ] {
            let answer = with(desk, &token).await?;
            answer.expect_problem(401, "token-invalid")?;
        }
        Ok(())
    })
}

/// JSON as a part of a token: base64url without padding.
fn encode(part: &Value) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in part.to_string().as_bytes().chunks(3) {
        let bits = three
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for place in 0..=three.len() {
            let index = bits >> (18 - 6 * place) & 63;
            text.push(char::from(LETTERS[index as usize]));
        }
    }
    text
}

fn removed(desk: &Desk) -> Result<()> {
    let email = desk.dex.login(ADMINISTRATOR)?.email.clone();
    desk.remove_people(&[&email])?;
    desk.until("the removed user to be refused", async || {
        let asked = desk
            .get(ADMINISTRATOR, &format!("{OURS}/virtualmachines"))
            .await;
        Look::from_attempt(asked.and_then(|a| a.expect_problem(401, "user-removed").map(drop)))
    })?;
    desk.remove_people(&[])?;
    desk.until("the user to be served again", async || {
        let asked = desk
            .get(ADMINISTRATOR, &format!("{OURS}/virtualmachines"))
            .await;
        Look::from_attempt(asked.and_then(|answer| answer.expect(200).map(drop)))
    })
}

fn rotated(desk: &Desk) -> Result<()> {
    let old = desk.run(desk.token(ADMINISTRATOR))?;
    desk.run(async { with(desk, &old).await?.expect(200).map(drop) })?;
    // Its keys are in its memory.
    dex::stop(desk.plane.lab())?;
    desk.run(async { dex::ensure(&desk.plane).await.map(drop) })?;
    desk.forget_tokens();
    desk.until("a token of the new key to be believed", async || {
        let asked = desk
            .get(ADMINISTRATOR, &format!("{OURS}/virtualmachines"))
            .await;
        Look::from_attempt(asked.and_then(|answer| answer.expect(200).map(drop)))
    })?;
    desk.run(async {
        let answer = with(desk, &old).await?;
        answer.expect_problem(401, "token-invalid").map(drop)
    })
}
