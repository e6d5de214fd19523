//! Many hosts at once.

use dc_lab::wait::{Look, until};
use dc_operator::board::Board;
use dc_types::Epoch;
use tonic::{Code, Status};

use super::agent::{Line, hello, join};
use super::running::{DEADLINE, Place};
use super::{host, place, upserts, volume};

/// Each is told its own, and none is forgotten.
#[tokio::test]
async fn three_hundred_hosts_are_served_by_one_process() {
    let place = place().await;
    let operator = place.operator().await;
    let parts = operator.leading().await;
    let names: Vec<String> = (0..300).map(|n| format!("h{n}")).collect();
    for name in &names {
        place.make_host(name).await;
    }
    parts.board.complete();
    let one = |n: usize| {
        let (place, board) = (&place, &parts.board);
        let name = &names[n];
        async move { serve_one(place, board, name, n as u128).await }
    };
    futures::future::join_all((0..names.len()).map(one)).await;
    assert_eq!(parts.observed.connected(), 0);
    operator.stop().await;
}

async fn dial<T>(what: &str, attempt: impl AsyncFn() -> Result<T, Status>) -> T {
    let look = async || match attempt().await {
        Ok(value) => Look::Holds(value),
        Err(status) if status.code() == Code::Unknown || status.code() == Code::Unavailable => {
            Look::NotYet(status.to_string())
        }
        Err(status) => Look::Never(status.into()),
    };
    until(what, DEADLINE, look).await.unwrap()
}

async fn serve_one(place: &Place, board: &Board, name: &str, n: u128) {
    let token = place.token(name).await;
    // As agents do: three hundred handshakes at once are more than a busy machine gets through
    // before the operator hangs up on those that take too long.
    let credentials = dial(&format!("{name} to join"), async || {
        join(&token, name).await
    })
    .await;
    let say_hello = async || credentials.session(hello(name, vec![])).await;
    let mut line: Line = dial(&format!("{name} to be heard"), say_hello).await;
    line.next().await.unwrap();
    let item = volume(n, Epoch::default());
    board.set(&host(name), item.clone());
    let plan = line.next().await.unwrap();
    assert_eq!(upserts(&plan.says), [item.key], "{name}");
    line.finish().await;
}
