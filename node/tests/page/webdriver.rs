//! A browser, driven over WebDriver's HTTP: no more of it than these tests need.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::PATIENCE;

/// What a person types to get the browser.
pub(crate) const INSTALL: &str = "install Debian's packages chromium and chromium-driver \
     (apt-get install -y chromium chromium-driver)";
/// An element's name in WebDriver's answers.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Keys of WebDriver's own.
pub(crate) const TAB: &str = "\u{e004}";
pub(crate) const ENTER: &str = "\u{e007}";

/// Chromium and its driver, both ended when dropped.
pub(crate) struct Browser {
    driver: Child,
    /// Address of the session.
    session: String,
    agent: ureq::Agent,
    /// The browser's own files; its processes name the folder.
    profile: tempfile::TempDir,
}

/// Whether this machine has no browser and may do without: a fresh one needs Rust and a C compiler only. CI must have it: there
/// a missing browser is a failure.
pub(crate) fn is_left_out() -> bool {
    let needed = std::env::var_os("CI").is_some() || std::env::var_os("AGON_BROWSER").is_some();
    let driver = Command::new("chromedriver").arg("--version").output();
    !needed && driver.is_err()
}

impl Browser {
    pub(crate) fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("chromedriver does not start ({error}): {INSTALL}"));
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            let line = line.unwrap();
            let port = line.split("on port ").nth(1)?;
            let port = port.trim_end_matches('.').parse::<u16>();
            // its first line repeats the 0 that it was given
            port.ok().filter(|port| *port != 0)
        });
        // what it says later is read too, so that it never waits for a reader
        std::thread::spawn(move || lines.count());
        let config = ureq::Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build();
        let mut browser = Self {
            session: format!("http://127.0.0.1:{}/session", port.expect("a port")),
            driver,
            agent: ureq::Agent::new_with_config(config),
            profile: tempfile::tempdir().unwrap(),
        };
        let profile = browser.profile.path().display();
        let arguments = [
            "--headless=new".to_owned(),
            // the tests run as root in CI, where the sandbox does not; they open their own node alone
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-proxy-server".to_owned(),
            // it talks to the node under test and to nobody else
            "--no-first-run".to_owned(),
            "--disable-quic".to_owned(),
            "--disable-sync".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--window-size=1280,900".to_owned(),
            format!("--user-data-dir={profile}"),
        ];
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments},
        }}});
        let answer = browser.call("POST", "", &capabilities);
        let session = answer.unwrap_or_else(|error| panic!("no browser ({error}): {INSTALL}"));
        let id = session["sessionId"].as_str().unwrap();
        browser.session = format!("{}/{id}", browser.session);
        browser
    }

    /// A command of the protocol: its value, or its error.
    fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, Value> {
        let url = format!("{}{path}", self.session);
        let body = serde_json::to_vec(body).unwrap();
        let answer = match method {
            "POST" => self
                .agent
                .post(&url)
                .content_type("application/json")
                .send(&body[..]),
            "DELETE" => self.agent.delete(&url).call(),
            _ => self.agent.get(&url).call(),
        };
        let mut answer = answer.map_err(|error| json!(error.to_string()))?;
        let text = answer.body_mut().with_config().limit(64 << 20);
        let mut value: Value = serde_json::from_slice(&text.read_to_vec().unwrap()).unwrap();
        match answer.status().is_success() {
            true => Ok(value["value"].take()),
            false => Err(value["value"].take()),
        }
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.call("POST", path, body);
        answer.unwrap_or_else(|error| panic!("{path} {body}: {error}"))
    }

    /// Loads an address.
    pub(crate) fn open(&self, url: &str) {
        self.post("/url", &json!({"url": url}));
    }

    /// What a function's body returns in the page.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Why a script fails in the page.
    #[track_caller]
    pub(crate) fn fails(&self, script: &str) -> String {
        let body = json!({"script": script, "args": []});
        let error = self.call("POST", "/execute/sync", &body).unwrap_err();
        error["message"].as_str().unwrap().to_owned()
    }

    /// Waits until an expression is neither false nor empty: its value.
    #[track_caller]
    pub(crate) fn until(&self, expression: &str) -> Value {
        self.until_within(PATIENCE, expression)
    }

    /// The same, for what takes its time.
    #[track_caller]
    pub(crate) fn until_within(&self, patience: Duration, expression: &str) -> Value {
        let start = Instant::now();
        loop {
            let value = self.run(&format!("return ({expression})"));
            if !matches!(&value, Value::Null | Value::Bool(false)) && value != "" && value != 0 {
                return value;
            }
            let page = || self.run("return document.body.innerText.slice(0, 3000)");
            assert!(
                start.elapsed() < patience,
                "never happened: {expression}\n{}",
                page()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The text of the first element that a selector finds, as it is shown.
    #[track_caller]
    pub(crate) fn text(&self, selector: &str) -> String {
        let text = self.until(&format!(
            "document.querySelector({})?.innerText",
            json!(selector)
        ));
        text.as_str().unwrap().to_owned()
    }

    /// Clicks as a mouse does: what lies below something else cannot be clicked.
    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        self.until(&format!("!!document.querySelector({})", json!(selector)));
        let found = self.post(
            "/element",
            &json!({"using": "css selector", "value": selector}),
        );
        let element = found[ELEMENT].as_str().unwrap();
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Presses and releases keys, wherever the focus is.
    pub(crate) fn press(&self, keys: &[&str]) {
        let strokes: Vec<Value> = keys
            .iter()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key})))
            .collect();
        let body = json!({"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]});
        self.post("/actions", &body);
    }

    /// A command of the browser's own protocol.
    pub(crate) fn command(&self, name: &str, parameters: &Value) -> Value {
        self.post(
            "/goog/cdp/execute",
            &json!({"cmd": name, "params": parameters}),
        )
    }

    /// The width of the window, as that of a phone or a desk.
    pub(crate) fn width(&self, width: u32) {
        let size =
            json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500});
        self.command("Emulation.setDeviceMetricsOverride", &size);
    }

    /// What the system prefers, by the name of the media feature.
    pub(crate) fn prefers(&self, feature: &str, value: &str) {
        let media = json!({"features": [{"name": feature, "value": value}]});
        self.command("Emulation.setEmulatedMedia", &media);
    }

    /// The console's errors and warnings since the last look.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({"type": "browser"}));
        let entries = log.as_array().unwrap().iter();
        entries
            .filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING")
            .map(Value::to_string)
            .collect()
    }

    /// Ids of the browser's processes.
    fn processes(&self) -> BTreeSet<i32> {
        processes_that_name(self.profile.path())
    }
}

fn processes_that_name(folder: &Path) -> BTreeSet<i32> {
    let needle = folder.to_str().unwrap().as_bytes();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let id = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        // a process may end while we look
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if let Some(id) = id
            && line.windows(needle.len()).any(|part| part == needle)
        {
            found.insert(id);
        }
    }
    found
}

impl Drop for Browser {
    fn drop(&mut self) {
        // ends the browser; what does not end by itself is ended by its id
        let _ = self.call("DELETE", "", &json!({}));
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) && !self.processes().is_empty() {
            std::thread::sleep(Duration::from_millis(50));
        }
        for id in self.processes() {
            if let Some(id) = Pid::from_raw(id) {
                let _ = kill_process(id, Signal::KILL);
            }
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
