//! The page in a real browser: a real demo's contest is followed from open to paid, and what people need of a page is checked.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod access;
mod demo;
#[path = "../support/mod.rs"]
mod support;
mod webdriver;

use std::time::Duration;

use agon_node::api::types::Leaderboard;
use agon_node::client::Client;
use agon_protocol::digest::CompetitionId;
use demo::Demo;
use serde_json::{Value, json};
use support::World;
use webdriver::{Browser, ENTER, TAB};

/// A title that runs when it becomes markup: 120 bytes at most.
const HOSTILE: &str =
    "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script>{{7*7}}";

/// The demo gives its competitors as long as this machine needs, which may be busy.
const CONTEST: Duration = Duration::from_secs(900);

#[test]
fn a_contest_is_followed_from_open_to_paid_in_a_real_browser() {
    if webdriver::is_left_out() {
        eprintln!(
            "no chromedriver: nothing of the page was tested; {}",
            webdriver::INSTALL
        );
        return;
    }
    let world = World::new();
    let mut demo = Demo::start(&world);
    let browser = Browser::start();
    browser.open(&demo.page);
    browser.until("document.querySelector('#connection').dataset.state === 'live'");
    let competition = follows_the_contest(&browser);
    demo.wait_for_line("The network stays up until Ctrl-C: ");

    let client = demo.client();
    let board = client.leaderboard(&competition).unwrap();
    shows_the_leaderboard(&browser, &board);
    shows_the_scores(&browser, board.entries.len());
    shows_the_payments(&browser, &board);
    browser.click("section[data-key='proofs'] tbody a[href^='/submissions/']");
    shows_an_accepted_submission(&browser, &world);
    not_reloaded(&browser);

    let (hostile, refused) = shows_why_a_proof_is_refused(&browser, &demo);
    hostile_texts_do_not_run(&browser, &demo, hostile);

    let pages = pages(
        &demo,
        &client,
        competition,
        hostile,
        refused.to_string().as_str(),
    );
    access::by_keyboard_alone(&browser, &demo.page);
    for page in &pages {
        access::has_a_structure(&browser, page);
        access::fits_a_phone(&browser, page);
        access::has_contrast(&browser, page);
    }
    access::takes_colours_from_the_system_and_from_its_switch(&browser, &demo.page);
    says_what_is_missing(&browser, &demo.page);
    // the browser itself writes what is not there, and the markup that it was asked to refuse, to the console
    let complaints = browser.complaints();
    let asked_for = ["status of 404", "TrustedHTML"];
    let own = complaints
        .iter()
        .filter(|line| !asked_for.iter().any(|words| line.contains(words)));
    assert_eq!(own.count(), 0, "{complaints:#?}");

    polls_when_there_is_no_stream(&browser, &demo.page);
    browser.open(&demo.page);
    browser.until("document.querySelector('#connection').dataset.state === 'live'");
    assert_eq!(demo.interrupt(), Some(0), "the demo ends in order");
    says_that_the_node_is_gone(&browser);
}

/// Every kind of page, with something on it.
fn pages(
    demo: &Demo<'_>,
    client: &Client,
    paid: CompetitionId,
    running: CompetitionId,
    refused: &str,
) -> Vec<String> {
    let winner = client.leaderboard(&paid).unwrap().entries[0].competitor;
    [
        String::new(),
        format!("competitions/{paid}"),
        format!("competitions/{running}"),
        format!("submissions/{refused}"),
        "network".into(),
        "accounts".into(),
        format!("accounts/{winner}"),
    ]
    .iter()
    .map(|path| format!("{}{path}", demo.page))
    .collect()
}

/// Waits for the competition on the list, goes to its page, and stays there until the prize is paid.
fn follows_the_contest(browser: &Browser) -> CompetitionId {
    // gone after a reload
    browser.run("window.since = 'the beginning'");
    browser.until("[...document.querySelectorAll('.competition h3')].some(h => h.innerText === 'Handwritten digits')");
    browser.click(".competition h3 a");
    browser.until("document.querySelector('h1')?.innerText === 'Handwritten digits'");
    let path = browser.run("return location.pathname");
    let id = path
        .as_str()
        .unwrap()
        .strip_prefix("/competitions/")
        .unwrap();
    let id = id.parse().unwrap();
    // every phase that is shown, and everything that a screen reader is told
    browser.run(
        "window.phases = []; window.told = [];
         const look = () => {
           const phase = document.querySelector('.head .badge')?.innerText;
           if (phase && phases.at(-1) !== phase) phases.push(phase);
           const words = document.querySelector('#announcer').innerText;
           if (words && told.at(-1) !== words) told.push(words);
         };
         look();
         new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });",
    );
    browser.until("document.querySelector('.next .left time[data-until]')?.innerText");
    browser.until_within(
        CONTEST,
        "document.querySelector('.head .badge').innerText === 'Paid'",
    );
    let phases = browser.run("return window.phases");
    let phases: Vec<&str> = phases
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let place = |phase| phases.iter().position(|shown| *shown == phase);
    assert!(place("Open for registration").is_some(), "{phases:?}");
    assert!(
        place("Open for registration") < place("Proving"),
        "{phases:?}"
    );
    assert!(place("Proving") < place("Paid"), "{phases:?}");
    let told = browser.run("return window.told").to_string();
    for words in ["Now: Proving", "leads with", "Now: Paid"] {
        assert!(told.contains(words), "{words} is not in {told}");
    }
    not_reloaded(browser);
    id
}

fn not_reloaded(browser: &Browser) {
    assert_eq!(browser.run("return window.since"), "the beginning");
}

/// The cells of a part's table, row by row.
fn rows(browser: &Browser, part: &str) -> Vec<Vec<String>> {
    let script = format!(
        "return [...document.querySelectorAll('section[data-key={part}] tbody tr')]
           .map(row => [...row.children].map(cell => cell.innerText))"
    );
    serde_json::from_value(browser.run(&script)).unwrap()
}

/// The lines are the API's, in its order, and the prize is the winner's.
fn shows_the_leaderboard(browser: &Browser, board: &Leaderboard) {
    assert_eq!(board.entries.len(), 3);
    browser
        .until("document.querySelectorAll('section[data-key=leaderboard] tbody tr').length === 3");
    for (row, entry) in rows(browser, "leaderboard").iter().zip(&board.entries) {
        assert_eq!(row[0], entry.rank.to_string());
        assert_eq!(row[1], entry.competitor.short());
        let correct = format!("{} of {} correct", entry.correct.unwrap(), entry.samples);
        assert!(row[2].contains(&correct), "{row:?}");
        assert!(
            row[3].contains(&format!("block {}", entry.height)),
            "{row:?}"
        );
        let paid = entry.prize.unwrap();
        assert!(
            row[4].replace(',', "").starts_with(&paid.to_string()),
            "{row:?}"
        );
    }
    let ties = board
        .entries
        .windows(2)
        .any(|pair| pair[0].tally == pair[1].tally);
    let explained = browser.run("return document.querySelector('section[data-key=leaderboard]').innerText.includes('SET-2')");
    assert_eq!(
        explained,
        json!(ties),
        "ties are explained when there are some"
    );
}

/// One point for each proof, within the chart, and a line of the best.
fn shows_the_scores(browser: &Browser, proofs: usize) {
    let inside = browser.run(
        "const chart = document.querySelector('section[data-key=scores] svg.chart');
         const frame = chart.getBoundingClientRect();
         return [...chart.querySelectorAll('.point')].map(point => {
           const box = point.getBoundingClientRect();
           return box.width > 4 && box.left >= frame.left && box.right <= frame.right && box.top >= frame.top && box.bottom <= frame.bottom;
         })",
    );
    assert_eq!(inside, json!(vec![true; proofs]));
    let line = browser.run(
        "return document.querySelector('section[data-key=scores] path.best').getTotalLength()",
    );
    assert!(line.as_f64().unwrap() > 100.0, "{line}");
    let label = browser.run("return document.querySelector('section[data-key=scores] svg.chart').getAttribute('aria-label')");
    assert!(
        label
            .as_str()
            .unwrap()
            .starts_with(&format!("Scores of {proofs} submissions")),
        "{label}"
    );
    for row in rows(browser, "proofs") {
        assert_eq!(row[1], "Accepted", "{row:?}");
        assert!(
            row[4].contains("validators") && row[4].contains("this node in"),
            "{row:?}"
        );
        assert!(row[5].contains("KiB"), "{row:?}");
    }
    assert_eq!(rows(browser, "proofs").len(), proofs);
}

fn shows_the_payments(browser: &Browser, board: &Leaderboard) {
    let payments = rows(browser, "prize-and-payout");
    let winner = board.entries[0].competitor.short();
    assert!(
        payments
            .iter()
            .any(|row| row[0] == winner && row[1].starts_with("prize") && row[2] == "1,000"),
        "{payments:?}"
    );
    assert!(
        payments
            .iter()
            .any(|row| row[1].starts_with("bond returned")),
        "{payments:?}"
    );
    assert_eq!(
        payments
            .iter()
            .filter(|row| row[1].starts_with("deposit returned"))
            .count(),
        3
    );
}

/// The verdict, the reason of the rank, and commands that do what the page says.
fn shows_an_accepted_submission(browser: &Browser, world: &World) {
    browser.until("document.querySelector('h1')?.innerText.startsWith('Submission ')");
    assert_eq!(browser.text(".verdict h2"), "Accepted: the score is proven");
    assert!(
        browser
            .text("section[data-key=why-this-rank]")
            .contains("Rank ")
    );
    let line = browser.text("section[data-key=verify-it-yourself] .command code");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[..2], ["agon", "explain"], "{line}");
    let explained = world.run(&words[1..]);
    explained.succeeds();
    assert!(explained.stdout.contains("rule"), "{explained:?}");
}

/// A proof that is none, of a competition with a hostile title: the page says which rule refused it and why.
fn shows_why_a_proof_is_refused(
    browser: &Browser,
    demo: &Demo<'_>,
) -> (CompetitionId, agon_protocol::digest::TransactionId) {
    let competition = demo.open_competition(HOSTILE, &format!("{HOSTILE}\n\n{HOSTILE}"));
    let registration = demo.register_nothing(competition);
    demo.release_key(competition);
    let transaction = demo.submit_nonsense(registration);
    browser.open(&format!("{}competitions/{competition}", demo.page));
    browser.until("document.querySelector('section[data-key=proofs] .badge.bad')");
    let row = &rows(browser, "proofs")[0];
    assert!(
        row[1].starts_with("Refused") && row[1].contains("SUB-9"),
        "{row:?}"
    );
    browser.until("document.querySelector('section[data-key=leaderboard] .note')");
    browser.click("section[data-key='proofs'] tbody a[href^='/submissions/']");
    browser.until("document.querySelector('.verdict h2')?.innerText === 'Refused'");
    let verdict = browser.text(".verdict p");
    assert!(
        verdict.contains("Rule SUB-9") && verdict.len() > 60,
        "{verdict}"
    );
    (competition, transaction)
}

/// What a host writes is text, wherever it is shown, and nothing on the page can make markup of it.
fn hostile_texts_do_not_run(browser: &Browser, demo: &Demo<'_>, competition: CompetitionId) {
    for path in [String::new(), format!("competitions/{competition}")] {
        browser.open(&format!("{}{path}", demo.page));
        browser.until(&format!(
            "document.querySelector('main').innerText.includes({})",
            json!(HOSTILE)
        ));
        assert_eq!(
            browser.run("return document.querySelectorAll('main img, main script').length"),
            0
        );
        assert_eq!(browser.run("return window.hacked ?? null"), Value::Null);
    }
    assert!(
        browser
            .run("return document.title")
            .as_str()
            .unwrap()
            .starts_with(HOSTILE)
    );
    let error = browser.fails(&format!(
        "document.querySelector('main').innerHTML = {}",
        json!(HOSTILE)
    ));
    assert!(error.contains("TrustedHTML"), "{error}");
}

fn says_what_is_missing(browser: &Browser, page: &str) {
    browser.open(&format!("{page}competitions/{}", "ab".repeat(32)));
    assert_eq!(browser.text("h1"), "Not found");
    assert!(browser.text(".note.error").contains("What to do next: "));
    browser.click(".note.error a[href='/']");
    browser.until("document.querySelector('.competition')");
    // an account is looked for by its name, and what is none is told so
    browser.open(&format!("{page}accounts"));
    browser.click(".find button");
    assert!(
        browser
            .text(".find-message")
            .contains("64 hexadecimal digits")
    );
}

/// Without the stream of events, the page asks again and again, and shows the blocks all the same.
fn polls_when_there_is_no_stream(browser: &Browser, page: &str) {
    browser.command("Network.enable", &json!({}));
    browser.command("Network.setBlockedURLs", &json!({"urls": ["*/v1/events*"]}));
    browser.open(page);
    browser.until("document.querySelector('#connection').dataset.state === 'polling'");
    let height = "document.querySelector('.tile:last-child dd').firstChild.nodeValue";
    let before = browser.until(height);
    browser.until(&format!("{height} !== {before}"));
    browser.command("Network.setBlockedURLs", &json!({"urls": []}));
}

fn says_that_the_node_is_gone(browser: &Browser) {
    browser.until("document.querySelector('#connection').dataset.state === 'disconnected'");
    assert!(browser.text("#disconnected").contains("What to do"));
    // what was shown stays
    assert!(browser.text(".competition h3").len() > 3);
}

/// Presses a key again and again until an expression holds: how often.
fn press_until(browser: &Browser, key: &str, expression: &str) -> usize {
    for count in 1..60 {
        browser.press(&[key]);
        if browser.run(&format!("return Boolean({expression})")) == json!(true) {
            return count;
        }
    }
    panic!("{expression} is not reached by the keyboard");
}

/// Presses Tab until an element has the focus, then Enter.
fn go_to(browser: &Browser, selector: &str) {
    press_until(
        browser,
        TAB,
        &format!("document.activeElement.matches({})", json!(selector)),
    );
    browser.press(&[ENTER]);
}
